"""``list_directory``."""

from __future__ import annotations

from functools import partial

import pytest

from omniagents.testing.tools.base import Call, ToolTests, files_in
from omniagents.workspace import Workspace

__all__ = ["ListDirectoryTests"]


class ListDirectoryTests(ToolTests):
    """What one directory holds."""

    @pytest.fixture
    def listing(self, call: Call) -> Call:
        return partial(call, "list_directory")

    def test_directories_come_first_and_everything_is_by_code_point(self, workspace: Workspace, listing: Call) -> None:
        files_in(
            workspace, {"b.txt": b"", "B.txt": b"", "z/x": b"", "a/x": b"", "é": b"", ".hidden": b"", ".dir/x": b""}
        )
        names = [entry["name"] for entry in listing().data["entries"]]
        assert names == [".dir", "a", "z", ".hidden", "B.txt", "b.txt", "é"]
        shown = [line.split(" (")[0] for line in listing().content.splitlines()[1:]]
        assert shown == [".dir/", "a/", "z/", ".hidden", "B.txt", "b.txt", "é"]

    def test_files_have_their_sizes(self, workspace: Workspace, listing: Call) -> None:
        files_in(workspace, {"a.txt": b"12345", "empty": b""})
        assert [(entry["name"], entry["bytes"]) for entry in listing().data["entries"]] == [("a.txt", 5), ("empty", 0)]
        assert "a.txt (5 bytes)" in listing().content

    def test_links_are_shown_with_their_targets_and_broken_ones_say_so(
        self, workspace: Workspace, listing: Call
    ) -> None:
        workspace.write_bytes("dir/a.txt", b"")
        workspace.run("ln -s dir to-dir; ln -s dir/a.txt to-file; ln -s no/where gone; ln -s /etc/hostname outside")
        lines = listing().content.splitlines()
        for line in ("to-dir -> dir", "to-file -> dir/a.txt"):
            assert line in lines
        [broken] = [line for line in lines if line.startswith("gone -> no/where")]
        assert "broken" in broken
        assert any(line.startswith("outside -> /etc/hostname") for line in lines)

    def test_special_files_are_named_as_what_they_are(self, workspace: Workspace, listing: Call) -> None:
        workspace.run("mkfifo pipe")
        assert "pipe (FIFO)".lower() in listing().content.lower()

    def test_the_default_is_the_workspace_and_an_empty_one_says_so(self, listing: Call) -> None:
        assert "empty" in listing().content

    def test_only_this_directory_is_listed(self, workspace: Workspace, listing: Call) -> None:
        files_in(workspace, {"dir/a.txt": b"", "dir/sub/b.txt": b"", "c.txt": b""})
        assert [entry["name"] for entry in listing(path="dir").data["entries"]] == ["sub", "a.txt"]

    def test_names_are_left_out_by_globs_and_counted(self, workspace: Workspace, listing: Call) -> None:
        files_in(workspace, {"a.pyc": b"", "b.py": b"", "build/x": b"", "c.pyc": b""})
        result = listing(ignore=["*.pyc", "build"])
        assert [entry["name"] for entry in result.data["entries"]] == ["b.py"]
        assert "3 " in result.content.splitlines()[-1]
        assert "a.pyc" in result.content.splitlines()[-1]

    def test_what_git_ignores_is_left_out_counted_and_can_be_shown(self, workspace: Workspace, listing: Call) -> None:
        files_in(workspace, {".gitignore": b"*.log\n", "a.log": b"", "b.txt": b""})
        result = listing()
        assert [entry["name"] for entry in result.data["entries"]] == [".gitignore", "b.txt"]
        assert "a.log" in result.content.splitlines()[-1]
        assert "respect_git_ignore" in result.content.splitlines()[-1]
        assert "a.log" in [entry["name"] for entry in listing(respect_git_ignore=False).data["entries"]]

    def test_of_very_many_entries_the_first_thousand_are_shown_and_all_counted(
        self, workspace: Workspace, listing: Call
    ) -> None:
        workspace.run("for i in $(seq -w 1234); do echo > f$i; done")
        result = listing()
        assert [entry["name"] for entry in result.data["entries"]] == [f"f{number:04}" for number in range(1, 1001)]
        assert "1,234" in result.content
        assert result.data["total"] == 1234

    def test_odd_names_are_shown_on_one_line_each(self, workspace: Workspace, listing: Call) -> None:
        files_in(workspace, {"new\nline": b"", "caf\udce9": b"", "tab\t": b"", "\x1b[31mred": b""})
        lines = listing().content.splitlines()
        assert len(lines) == 5
        assert all(line.isprintable() for line in lines)

    def test_a_directory_nobody_may_read_is_refused(self, workspace: Workspace, listing: Call) -> None:
        workspace.run("mkdir sealed; chmod 000 sealed")
        assert listing(path="sealed").error_type == "PERMISSION_DENIED"
