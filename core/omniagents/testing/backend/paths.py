"""Paths: what names a file of the workspace, and what leads out of it."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from omniagents.backends.base import Backend
from omniagents.errors import GuestCallError, PathOutsideWorkspaceError
from omniagents.testing._support import ODD_NAMES, BackendTests
from omniagents.workspace import Workspace

__all__ = ["PathTests"]

#: Every call that takes a path, with what else it needs.
_CALLS: dict[str, Callable[[Workspace, str], Any]] = {
    "read_bytes": lambda workspace, path: workspace.read_bytes(path),
    "write_bytes": lambda workspace, path: workspace.write_bytes(path, b"x"),
    "stat": lambda workspace, path: workspace.stat(path),
    "exists": lambda workspace, path: workspace.exists(path),
    "list": lambda workspace, path: workspace.list(path),
    "realpath": lambda workspace, path: workspace.realpath(path),
    "make_dir": lambda workspace, path: workspace.make_dir(path),
    "move from": lambda workspace, path: workspace.move(path, "elsewhere"),
    "move to": lambda workspace, path: workspace.move("here.txt", path),
    "remove": lambda workspace, path: workspace.remove(path),
    "scan": lambda workspace, path: workspace.scan(path),
    "run": lambda workspace, path: workspace.run("true", cwd=path),
}
every_call = pytest.mark.parametrize("call", _CALLS.values(), ids=_CALLS.keys())
# What is below a file, or behind a loop of links, does not exist: that is an answer to ``exists``.
_NEEDING_A_PATH = {name: call for name, call in _CALLS.items() if name != "exists"}
every_call_but_exists = pytest.mark.parametrize("call", _NEEDING_A_PATH.values(), ids=_NEEDING_A_PATH.keys())


class PathTests(BackendTests):
    """Relative and absolute names, odd names, and ways out."""

    @pytest.fixture
    def outside(self, workspace: Workspace) -> Iterator[str]:
        """A directory of the environment beside the workspace, holding ``secret.txt``."""
        path = f"/tmp/outside-{secrets.token_hex(8)}"
        workspace.write_bytes(path + "/secret.txt", b"secret", outside=True)
        yield path
        workspace.remove(path, outside=True, missing_ok=True)

    def test_a_file_has_a_relative_an_absolute_and_a_well_known_name(self, workspace: Workspace) -> None:
        workspace.write_bytes("dir/a.txt", b"x")
        names = ["dir/a.txt", "./dir//a.txt", "dir/../dir/a.txt", workspace.root + "/dir/a.txt", "/workspace/dir/a.txt"]
        assert [workspace.stat(name).path for name in names] == ["dir/a.txt"] * len(names)

    def test_the_root_is_the_directory_commands_run_in(self, workspace: Workspace) -> None:
        assert workspace.run("pwd -P").stdout_text == workspace.root + "\n"
        assert workspace.stat(".").path == "."

    @pytest.mark.parametrize("name", ODD_NAMES, ids=ascii)
    def test_an_odd_name_is_a_name_like_any_other(self, workspace: Workspace, name: str) -> None:
        workspace.write_bytes(f"dir/{name}", b"content")
        assert workspace.read_bytes(f"dir/{name}") == b"content"
        assert [entry.path for entry in workspace.list("dir")] == [f"dir/{name}"]
        assert [entry.path for entry in workspace.scan().entries] == ["dir", f"dir/{name}"]
        assert [b"".join(entry.chunks) for entry in workspace.export([f"dir/{name}"])] == [b"content"]
        workspace.move(f"dir/{name}", f"{name}/{name}")
        workspace.remove(f"{name}/{name}")
        assert workspace.list(name) == []

    def test_names_are_taken_literally(self, workspace: Workspace) -> None:
        for name in ("%41", "*", "$HOME", "~"):
            workspace.write_bytes(name, name.encode())
        workspace.write_bytes("A", b"A")
        assert [workspace.read_bytes(name) for name in ("%41", "*", "$HOME", "~")] == [b"%41", b"*", b"$HOME", b"~"]

    def test_a_tree_of_three_hundred_levels_works(self, workspace: Workspace) -> None:
        deep = "/".join(["d"] * 300)
        workspace.write_bytes(deep + "/a.txt", b"deep")
        assert workspace.read_bytes(deep + "/a.txt") == b"deep"
        assert len(workspace.scan().entries) == 301
        workspace.remove("d")
        assert workspace.list() == []

    @every_call
    def test_a_way_up_and_out_is_refused(self, workspace: Workspace, call: Callable[[Workspace, str], Any]) -> None:
        workspace.write_bytes("here.txt", b"x")
        for path in ("../x", "a/../../x", "/etc", workspace.root + "/../x", workspace.root + "-evil"):
            with pytest.raises(PathOutsideWorkspaceError) as raised:
                call(workspace, path)
            assert path in str(raised.value)
            assert isinstance(raised.value, PermissionError)

    @every_call
    def test_a_link_that_leads_out_is_refused(
        self, workspace: Workspace, outside: str, call: Callable[[Workspace, str], Any]
    ) -> None:
        workspace.write_bytes("here.txt", b"x")
        workspace.run(["ln", "-s", outside, "out"])
        workspace.run(["ln", "-s", "out/..", "chained"])
        for path in ("out/secret.txt", "out/new.txt", "chained/x"):
            with pytest.raises(PathOutsideWorkspaceError):
                call(workspace, path)
        assert workspace.read_bytes(outside + "/secret.txt", outside=True) == b"secret"
        assert [entry.path for entry in workspace.list(outside, outside=True)] == [outside + "/secret.txt"]

    @every_call
    def test_what_cannot_be_a_path_is_refused(
        self, workspace: Workspace, call: Callable[[Workspace, str], Any]
    ) -> None:
        workspace.write_bytes("here.txt", b"x")
        with pytest.raises(GuestCallError) as raised:
            call(workspace, "nul\0inside")
        assert raised.value.code == "INVALID_ARGUMENTS"
        with pytest.raises(OSError, match="too long") as too_long:
            call(workspace, "x" * 300 + "/y")
        assert too_long.value.filename == "x" * 300 + "/y"

    @every_call_but_exists
    def test_a_loop_of_links_is_an_error(self, workspace: Workspace, call: Callable[[Workspace, str], Any]) -> None:
        workspace.write_bytes("here.txt", b"x")
        workspace.run("ln -s one two; ln -s two one")
        with pytest.raises(OSError, match="symbolic links"):
            call(workspace, "one/x")

    @every_call_but_exists
    def test_a_file_used_as_directory_is_an_error(
        self, workspace: Workspace, call: Callable[[Workspace, str], Any]
    ) -> None:
        workspace.write_bytes("here.txt", b"x")
        with pytest.raises(NotADirectoryError) as raised:
            call(workspace, "here.txt/x")
        assert raised.value.filename == "here.txt/x"

    def test_the_rest_of_the_environment_is_there_for_who_asks(self, workspace: Workspace, outside: str) -> None:
        assert workspace.read_bytes(outside + "/secret.txt", outside=True) == b"secret"
        assert workspace.exists(outside, outside=True)
        assert workspace.stat(outside, outside=True).kind == "directory"
        assert workspace.realpath(outside + "/x", outside=True).endswith(outside + "/x")
        assert workspace.make_dir(outside + "/sub", outside=True).kind == "directory"
        workspace.move(outside + "/secret.txt", "inside.txt", outside=True)
        assert workspace.read_bytes("inside.txt") == b"secret"

    def test_every_call_has_an_async_twin(self, backend: Backend) -> None:
        twins = "run read_bytes write_bytes stat exists list realpath make_dir move remove".split()
        assert [name for name in twins if not callable(getattr(backend.workspace, "a" + name, None))] == []
