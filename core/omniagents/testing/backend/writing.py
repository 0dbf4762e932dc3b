"""Writing files: whole, atomically, and only over what was expected."""

from __future__ import annotations

import pytest

from omniagents.errors import WriteConflictError
from omniagents.testing._support import BackendTests
from omniagents.workspace import Workspace

__all__ = ["WritingTests"]


class WritingTests(BackendTests):
    """``write_bytes``."""

    def test_a_write_answers_with_what_is_there_now(self, workspace: Workspace) -> None:
        info = workspace.write_bytes("dir/a.txt", b"12345")
        assert info == workspace.stat("dir/a.txt")
        assert (info.path, info.kind, info.size) == ("dir/a.txt", "file", 5)

    def test_missing_directories_are_made(self, workspace: Workspace) -> None:
        workspace.write_bytes("a/b/c.txt", b"x")
        assert workspace.read_bytes("a/b/c.txt") == b"x"

    def test_missing_directories_are_not_made_if_told_not_to(self, workspace: Workspace) -> None:
        with pytest.raises(FileNotFoundError) as raised:
            workspace.write_bytes("a/b.txt", b"x", make_parents=False)
        assert raised.value.filename == "a/b.txt"
        assert workspace.list() == []

    def test_an_existing_file_is_replaced_whole(self, workspace: Workspace) -> None:
        workspace.write_bytes("a.txt", b"a long content")
        workspace.write_bytes("a.txt", b"short")
        assert workspace.read_bytes("a.txt") == b"short"

    def test_no_other_file_is_left_behind(self, workspace: Workspace) -> None:
        workspace.write_bytes("a.txt", b"x")
        workspace.write_bytes("a.txt", b"y")
        with pytest.raises(WriteConflictError):
            workspace.write_bytes("a.txt", b"z", expected_sha256="absent")
        assert workspace.run("ls -A").stdout == b"a.txt\n"

    def test_an_existing_file_keeps_its_mode_and_another_can_be_given(self, workspace: Workspace) -> None:
        workspace.write_bytes("a.sh", b"x", mode=0o755)
        assert workspace.write_bytes("a.sh", b"y").mode == 0o755
        assert workspace.write_bytes("a.sh", b"z", mode=0o600).mode == 0o600

    def test_a_new_file_is_readable_and_not_executable(self, workspace: Workspace) -> None:
        assert workspace.write_bytes("a.txt", b"x").mode & 0o711 == 0o600

    def test_a_link_is_written_through_to_its_target(self, workspace: Workspace) -> None:
        workspace.write_bytes("file", b"old")
        workspace.run("ln -s file link; ln -s new dangling")
        workspace.write_bytes("link", b"x")
        workspace.write_bytes("dangling", b"y")
        assert (workspace.read_bytes("file"), workspace.read_bytes("new")) == (b"x", b"y")
        assert [workspace.stat(name, follow=False).kind for name in ("link", "dangling")] == ["link", "link"]

    def test_hard_links_stay_linked(self, workspace: Workspace) -> None:
        workspace.write_bytes("one", b"old")
        workspace.run("ln one two")
        workspace.write_bytes("one", b"new")
        assert workspace.read_bytes("two") == b"new"

    def test_a_directory_is_not_written_over(self, workspace: Workspace) -> None:
        workspace.write_bytes("dir/a.txt", b"x")
        for path in ("dir", "."):
            with pytest.raises(IsADirectoryError) as raised:
                workspace.write_bytes(path, b"y")
            assert raised.value.filename == path
        assert workspace.read_bytes("dir/a.txt") == b"x"

    def test_a_file_without_write_permission_is_not_written(self, workspace: Workspace) -> None:
        workspace.write_bytes("a.txt", b"old", mode=0o444)
        with pytest.raises(PermissionError) as raised:
            workspace.write_bytes("a.txt", b"new")
        assert raised.value.filename == "a.txt"
        assert workspace.read_bytes("a.txt") == b"old"

    def test_a_fifo_is_not_written(self, workspace: Workspace) -> None:
        workspace.run("mkfifo fifo")
        with pytest.raises(OSError) as raised:
            workspace.write_bytes("fifo", b"x")
        assert raised.value.filename == "fifo"
        assert workspace.stat("fifo").kind == "other"

    def test_a_write_may_expect_what_is_there(self, workspace: Workspace) -> None:
        workspace.write_bytes("a.txt", b"old")
        workspace.write_bytes("a.txt", b"new", expected_sha256=workspace.sha256(b"old"))
        assert workspace.read_bytes("a.txt") == b"new"

    def test_a_write_that_expected_something_else_changes_nothing(self, workspace: Workspace) -> None:
        workspace.write_bytes("a.txt", b"theirs")
        with pytest.raises(WriteConflictError, match=r"a\.txt"):
            workspace.write_bytes("a.txt", b"ours", expected_sha256=workspace.sha256(b"old"))
        assert workspace.read_bytes("a.txt") == b"theirs"

    def test_a_write_that_expected_a_file_makes_none(self, workspace: Workspace) -> None:
        with pytest.raises(WriteConflictError):
            workspace.write_bytes("sub/a.txt", b"ours", expected_sha256=workspace.sha256(b""))
        assert workspace.list() == []

    def test_a_write_may_expect_that_nothing_is_there(self, workspace: Workspace) -> None:
        workspace.write_bytes("a.txt", b"first", expected_sha256="absent")
        with pytest.raises(WriteConflictError, match="exists already"):
            workspace.write_bytes("a.txt", b"second", expected_sha256="absent")
        assert workspace.read_bytes("a.txt") == b"first"
