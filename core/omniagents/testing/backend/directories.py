"""Directories: listing, making, moving and removing."""

from __future__ import annotations

import os

import pytest

from omniagents.testing._support import BackendTests
from omniagents.workspace import Workspace

__all__ = ["DirectoryTests"]


class DirectoryTests(BackendTests):
    """``list``, ``make_dir``, ``move`` and ``remove``."""

    def test_a_directory_lists_its_own_entries_by_code_point(self, workspace: Workspace) -> None:
        for name in ("b", "B", "a.txt", ".hidden", "é", os.fsdecode(b"\xff")):
            workspace.write_bytes(f"dir/{name}", b"12")
        workspace.write_bytes("dir/sub/below", b"x")
        workspace.run("ln -s a.txt dir/link; mkfifo dir/fifo")
        names = [".hidden", "B", "a.txt", "b", "fifo", "link", "sub", "é", os.fsdecode(b"\xff")]
        entries = workspace.list("dir")
        assert [entry.path for entry in entries] == [f"dir/{name}" for name in names]
        kinds = {entry.path: entry.kind for entry in entries if entry.kind != "file"}
        assert kinds == {"dir/fifo": "other", "dir/link": "link", "dir/sub": "directory"}
        assert [(entry.size, entry.target) for entry in entries if entry.path == "dir/a.txt"] == [(2, None)]
        assert [entry.target for entry in entries if entry.kind == "link"] == ["a.txt"]

    def test_a_directory_of_ten_thousand_entries_is_listed(self, workspace: Workspace) -> None:
        workspace.run("mkdir many && cd many && seq 10000 | xargs touch")
        assert len(workspace.list("many")) == 10_000

    def test_listing_what_is_missing_or_no_directory_is_an_error(self, workspace: Workspace) -> None:
        workspace.write_bytes("a.txt", b"x")
        with pytest.raises(FileNotFoundError) as missing:
            workspace.list("missing")
        with pytest.raises(NotADirectoryError) as mistyped:
            workspace.list("a.txt")
        assert (missing.value.filename, mistyped.value.filename) == ("missing", "a.txt")

    def test_a_directory_is_made_with_its_parents(self, workspace: Workspace) -> None:
        info = workspace.make_dir("a/b/c")
        assert (info.path, info.kind) == ("a/b/c", "directory")
        assert workspace.make_dir("a/b/c").kind == "directory"

    def test_a_directory_is_not_made_over_a_file(self, workspace: Workspace) -> None:
        workspace.write_bytes("a.txt", b"x")
        with pytest.raises(FileExistsError) as raised:
            workspace.make_dir("a.txt")
        assert raised.value.filename == "a.txt"

    def test_a_file_is_moved_over_another_into_new_directories(self, workspace: Workspace) -> None:
        workspace.write_bytes("a.txt", b"a")
        workspace.write_bytes("b.txt", b"b")
        workspace.move("a.txt", "b.txt")
        assert workspace.move("b.txt", "new/dir/c.txt").path == "new/dir/c.txt"
        assert workspace.read_bytes("new/dir/c.txt") == b"a"
        assert [entry.path for entry in workspace.list()] == ["new"]

    def test_a_directory_is_moved_with_all_it_holds(self, workspace: Workspace) -> None:
        workspace.write_bytes("a/b/c.txt", b"x")
        workspace.move("a", "z")
        assert workspace.read_bytes("z/b/c.txt") == b"x"

    def test_a_link_is_moved_itself(self, workspace: Workspace) -> None:
        workspace.run("ln -s nowhere link")
        workspace.move("link", "sub/link")
        assert workspace.stat("sub/link", follow=False).target == "nowhere"

    def test_moving_what_is_missing_is_an_error_that_names_it(self, workspace: Workspace) -> None:
        with pytest.raises(FileNotFoundError) as raised:
            workspace.move("missing", "b.txt")
        assert raised.value.filename == "missing"

    def test_a_directory_is_not_moved_into_itself(self, workspace: Workspace) -> None:
        workspace.write_bytes("a/b.txt", b"x")
        with pytest.raises(OSError):
            workspace.move("a", "a/inside")
        assert workspace.read_bytes("a/b.txt") == b"x"

    def test_the_workspace_itself_is_neither_moved_nor_removed(self, workspace: Workspace) -> None:
        for path in (".", workspace.root, "x/..", "/workspace"):
            with pytest.raises(OSError, match="Invalid argument"):
                workspace.remove(path)
            with pytest.raises(OSError, match="Invalid argument"):
                workspace.move(path, "elsewhere")
        assert workspace.stat(".").kind == "directory"

    def test_files_and_whole_directories_are_removed_and_counted(self, workspace: Workspace) -> None:
        for name in ("a.txt", "dir/b.txt", "dir/sub/c.txt", "kept.txt"):
            workspace.write_bytes(name, b"x")
        assert workspace.remove("a.txt", "dir") == 2
        assert [entry.path for entry in workspace.list()] == ["kept.txt"]

    def test_a_link_is_removed_and_not_what_it_points_to(self, workspace: Workspace) -> None:
        workspace.write_bytes("dir/a.txt", b"x")
        workspace.run("ln -s dir link; ln -s nowhere dangling; ln -s loop loop")
        assert workspace.remove("link", "dangling", "loop") == 3
        assert workspace.read_bytes("dir/a.txt") == b"x"

    def test_links_inside_a_removed_directory_are_not_followed(self, workspace: Workspace) -> None:
        workspace.write_bytes("kept/a.txt", b"x")
        workspace.run("mkdir dir; ln -s ../kept dir/link")
        workspace.remove("dir")
        assert workspace.read_bytes("kept/a.txt") == b"x"

    def test_read_only_directories_are_removed_too(self, workspace: Workspace) -> None:
        workspace.run("mkdir -p dir/sub; touch dir/sub/a; chmod 500 dir dir/sub")
        assert workspace.remove("dir") == 1
        assert workspace.list() == []

    def test_removing_what_is_missing_is_an_error_unless_that_is_fine(self, workspace: Workspace) -> None:
        with pytest.raises(FileNotFoundError) as raised:
            workspace.remove("missing")
        assert raised.value.filename == "missing"
        workspace.write_bytes("a.txt", b"x")
        assert workspace.remove("missing", "a.txt", missing_ok=True) == 1
