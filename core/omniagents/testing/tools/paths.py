"""The path rule, which all tools that take a path share."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from typing import Any

import pytest

from omniagents.testing.tools.base import Call, ToolTests
from omniagents.workspace import Workspace

__all__ = ["ToolPathTests"]

#: Tool, parameter of a path to a file, the others.
_FILES: list[tuple[str, str, dict[str, Any]]] = [
    ("write_file", "absolute_path", {"content": "new"}),
    ("read_file", "absolute_path", {}),
    ("replace", "absolute_path", {"old_string": "old", "new_string": "new"}),
    ("search_file_content", "path", {"pattern": "old"}),
]
_MANY: list[tuple[str, str, dict[str, Any]]] = [*_FILES, ("read_many_files", "paths", {})]
#: Likewise of a path to a directory.
_DIRECTORIES: list[tuple[str, str, dict[str, Any]]] = [
    ("list_directory", "path", {}),
    ("glob", "path", {"pattern": "*"}),
    ("search_file_content", "path", {"pattern": "old"}),
    ("run_shell_command", "directory", {"command": "pwd"}),
    ("uv", "directory", {"args": "--version"}),
]
_ALL = [*_MANY, *(row for row in _DIRECTORIES if row[0] != "search_file_content")]


def _each(rows: list[tuple[str, str, dict[str, Any]]]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize(("tool", "parameter", "others"), rows, ids=[row[0] for row in rows])


class ToolPathTests(ToolTests):
    """Inside is reached by any name; outside is refused, whatever it is called."""

    @pytest.fixture
    def inside(self, workspace: Workspace) -> Workspace:
        """A workspace with ``dir/a.txt``, which holds ``old``."""
        workspace.write_bytes("dir/a.txt", b"old\n")
        return workspace

    @pytest.fixture
    def outside(self, inside: Workspace) -> Iterator[str]:
        """A directory beside the workspace with ``a.txt``, which holds ``old``; a link ``out`` leads there."""
        path = f"/tmp/outside-{secrets.token_hex(8)}"
        inside.write_bytes(path + "/a.txt", b"old\n", outside=True)
        inside.run(["ln", "-s", path, "out"])
        inside.run(["ln", "-s", path + "/a.txt", "out.txt"])
        yield path
        assert inside.read_bytes(path + "/a.txt", outside=True) == b"old\n"
        assert [entry.path for entry in inside.list(path, outside=True)] == [path + "/a.txt"]
        inside.remove(path, outside=True)

    @_each(_MANY)
    def test_a_file_is_reached_by_relative_and_absolute_names(
        self, inside: Workspace, call: Call, tool: str, parameter: str, others: dict[str, Any]
    ) -> None:
        for path in (
            "dir/a.txt",
            "./dir//a.txt",
            "dir/../dir/a.txt",
            inside.root + "/dir/a.txt",
            "/workspace/dir/a.txt",
        ):
            inside.write_bytes("dir/a.txt", b"old\n")
            assert call(tool, **{parameter: path}, **others).error_type is None, path

    @_each(_DIRECTORIES[:-1])
    def test_a_directory_is_reached_by_relative_and_absolute_names(
        self, inside: Workspace, call: Call, tool: str, parameter: str, others: dict[str, Any]
    ) -> None:
        for path in ("dir", "./dir/", ".", inside.root, inside.root + "/dir", "/workspace/dir", "/workspace"):
            assert call(tool, **{parameter: path}, **others).error_type is None, path

    @_each(_ALL)
    def test_a_path_outside_is_refused(
        self, outside: str, workspace: Workspace, call: Call, tool: str, parameter: str, others: dict[str, Any]
    ) -> None:
        is_directory = tool in [row[0] for row in _DIRECTORIES] and tool != "search_file_content"
        inner = "" if is_directory else "/a.txt"
        for path in (outside + inner, "../" + outside.lstrip("/") + inner, "dir/../../x", workspace.root + "-evil"):
            result = call(tool, **{parameter: path}, **others)
            assert result.error_type == "PATH_OUTSIDE_WORKSPACE", path
            assert path in result.content

    @_each(_ALL)
    def test_a_link_that_leads_outside_is_refused(
        self, outside: str, call: Call, tool: str, parameter: str, others: dict[str, Any]
    ) -> None:
        is_directory = tool in [row[0] for row in _DIRECTORIES] and tool != "search_file_content"
        for path in ("out", "out/..") if is_directory else ("out/a.txt", "out.txt", "out/new.txt"):
            result = call(tool, **{parameter: path}, **others)
            assert result.error_type == "PATH_OUTSIDE_WORKSPACE", path

    @_each(_ALL)
    def test_a_loop_of_links_is_a_clean_error(
        self, inside: Workspace, call: Call, tool: str, parameter: str, others: dict[str, Any]
    ) -> None:
        inside.run("ln -s one two; ln -s two one")
        for path in ("one", "one/x"):
            assert call(tool, **{parameter: path}, **others).error_type == "NOT_A_REGULAR_FILE", path

    @_each(_ALL)
    def test_a_file_used_as_directory_is_a_clean_error(
        self, inside: Workspace, call: Call, tool: str, parameter: str, others: dict[str, Any]
    ) -> None:
        assert call(tool, **{parameter: "dir/a.txt/x"}, **others).error_type == "NOT_A_DIRECTORY"

    @_each(_ALL)
    def test_what_cannot_be_a_path_is_a_wrong_argument(
        self, inside: Workspace, call: Call, tool: str, parameter: str, others: dict[str, Any]
    ) -> None:
        for path in ("nul\0inside", "x" * 300):
            assert call(tool, **{parameter: path}, **others).error_type in ("INVALID_ARGUMENTS", "FILE_NOT_FOUND"), path

    @_each([row for row in _ALL if row[0] != "write_file"])
    def test_what_is_missing_is_not_found_and_named(
        self, inside: Workspace, call: Call, tool: str, parameter: str, others: dict[str, Any]
    ) -> None:
        result = call(tool, **{parameter: "no-such-thing"}, **others)
        assert result.error_type == "FILE_NOT_FOUND"
        assert "no-such-thing" in result.content

    @_each(_FILES[:-1])
    @pytest.mark.parametrize("path", ["dir", ".", "/workspace"])
    def test_a_directory_is_not_a_file(
        self, inside: Workspace, call: Call, tool: str, parameter: str, others: dict[str, Any], path: str
    ) -> None:
        assert call(tool, **{parameter: path}, **others).error_type == "IS_A_DIRECTORY"

    @_each([row for row in _DIRECTORIES if row[0] != "search_file_content"])
    def test_a_file_is_not_a_directory(
        self, inside: Workspace, call: Call, tool: str, parameter: str, others: dict[str, Any]
    ) -> None:
        assert call(tool, **{parameter: "dir/a.txt"}, **others).error_type == "NOT_A_DIRECTORY"

    @_each(_FILES)
    def test_a_fifo_is_refused_at_once(
        self, inside: Workspace, call: Call, tool: str, parameter: str, others: dict[str, Any]
    ) -> None:
        inside.run("mkfifo fifo")
        assert call(tool, **{parameter: "fifo"}, **others).error_type == "NOT_A_REGULAR_FILE"

    @_each(_MANY)
    def test_tools_take_names_literally(
        self, inside: Workspace, call: Call, tool: str, parameter: str, others: dict[str, Any]
    ) -> None:
        inside.write_bytes("A", b"decoy\n")
        for name in ("%41", "$HOME", "~", "*", "a b", "-n", "it's", "[A]"):
            inside.write_bytes(name, b"old\n")
            assert call(tool, **{parameter: name}, **others).error_type is None, name
        assert inside.read_bytes("A") == b"decoy\n"
