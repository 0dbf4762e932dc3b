"""Whole trees: what a state manager sees of a workspace."""

from __future__ import annotations

import os
import secrets

import pytest

from omniagents.backends.base import Backend
from omniagents.errors import OmniagentsError
from omniagents.records import FileInfo, ImportEntry
from omniagents.testing._support import BackendTests
from omniagents.testing._trees import contents, described, make_rich_tree
from omniagents.workspace import Workspace

__all__ = ["TreeTests"]


def _file(path: str, content: bytes, mode: int = 0o644) -> ImportEntry:
    return ImportEntry(FileInfo(path, "file", len(content), mode, 10**18, 0, 0), [content])


class TreeTests(BackendTests):
    """``scan``, ``export`` and ``import_``."""

    def test_a_scan_lists_everything_parents_first(self, workspace: Workspace) -> None:
        for name in ("b/c", "b/a/x", "a-file", "b.txt", ".hidden/x"):
            workspace.write_bytes(name, b"12")
        workspace.run("ln -s b link; mkfifo fifo; mkdir empty")
        scan = workspace.scan()
        paths = [entry.path for entry in scan.entries]
        assert set(paths) == {
            ".hidden", ".hidden/x", "a-file", "b", "b.txt", "b/a", "b/a/x", "b/c", "empty", "fifo", "link",
        }  # fmt: skip
        assert all(path.rpartition("/")[0] in ["", *paths[:position]] for position, path in enumerate(paths))
        assert scan.left_out == []
        assert abs(scan.started_ns - workspace.stat("b/c").mtime_ns) < 3600 * 10**9

    def test_a_scan_describes_as_stat_does(self, workspace: Workspace) -> None:
        workspace.write_bytes("dir/a.txt", b"12345", mode=0o600)
        workspace.run("ln -s dir link")
        assert workspace.scan().entries == [workspace.stat(name, follow=False) for name in ("dir", "dir/a.txt", "link")]

    def test_a_scan_leaves_out_what_it_is_told_and_says_so(self, workspace: Workspace) -> None:
        for name in ("kept.txt", "a.log", "sub/b.log", "build/x", "sub/build/y", "keep.log"):
            workspace.write_bytes(name, b"")
        workspace.write_bytes(".ignore", b"build/\n# a remark\n!keep.log\n")
        scan = workspace.scan(exclude=["*.log"], exclude_file=".ignore")
        assert [entry.path for entry in scan.entries] == [".ignore", "keep.log", "kept.txt", "sub"]
        assert sorted(left.path for left in scan.left_out) == ["a.log", "build", "sub/b.log", "sub/build"]

    def test_a_scan_of_a_directory_names_paths_from_the_workspace(self, workspace: Workspace) -> None:
        workspace.write_bytes("dir/sub/a.txt", b"x")
        workspace.write_bytes("other.txt", b"x")
        assert [entry.path for entry in workspace.scan("dir").entries] == ["dir/sub", "dir/sub/a.txt"]

    def test_a_scan_of_what_is_missing_or_no_directory_is_an_error(self, workspace: Workspace) -> None:
        workspace.write_bytes("a.txt", b"x")
        with pytest.raises(FileNotFoundError):
            workspace.scan("missing")
        with pytest.raises(NotADirectoryError):
            workspace.scan("a.txt")

    def test_ten_thousand_files_are_scanned(self, workspace: Workspace) -> None:
        workspace.run("for i in 0 1 2 3 4 5 6 7 8 9; do mkdir -p many/$i; (cd many/$i; seq 1000 | xargs touch); done")
        assert len(workspace.scan().entries) == 10_011

    def test_an_export_streams_entries_in_the_order_asked_for(self, workspace: Workspace) -> None:
        workspace.write_bytes("a", b"aaa")
        workspace.write_bytes("dir/b", os.urandom(3 << 20))
        workspace.run("ln -s a link")
        entries = [
            (entry.info.path, entry.info.kind, b"".join(entry.chunks), entry.problem)
            for entry in workspace.export(["dir/b", "link", "dir", "a"])
        ]
        assert entries == [
            ("dir/b", "file", workspace.read_bytes("dir/b"), None),
            ("link", "link", b"", None),
            ("dir", "directory", b"", None),
            ("a", "file", b"aaa", None),
        ]

    def test_an_export_of_what_is_gone_says_so_and_goes_on(self, workspace: Workspace) -> None:
        workspace.write_bytes("a", b"aaa")
        entries = [
            (entry.info.path, b"".join(entry.chunks), entry.problem) for entry in workspace.export(["gone", "a"])
        ]
        assert entries == [("gone", b"", "vanished"), ("a", b"aaa", None)]

    def test_an_export_may_be_left_before_its_end(self, workspace: Workspace) -> None:
        workspace.write_bytes("large", bytes(30 << 20))
        export = workspace.export(["large", "large"])
        assert next(export).info.size == 30 << 20
        export.close()  # type: ignore[attr-defined]  # a generator
        assert workspace.run("echo on").stdout == b"on\n"

    def test_a_tree_goes_out_of_one_workspace_and_into_another_unchanged(
        self, backend: Backend, make_backend: object
    ) -> None:
        make_rich_tree(backend)
        before = described(backend.workspace)
        paths = [entry.path for entry in backend.workspace.scan().entries if entry.kind != "other"]
        assert callable(make_backend)
        with make_backend() as other:
            made = other.workspace.import_(
                ImportEntry(entry.info, entry.chunks) for entry in backend.workspace.export(paths)
            )
            assert described(other.workspace) == before
            assert contents(other.workspace) == contents(backend.workspace)
            assert made == other.workspace.scan().entries or {*made} == {*other.workspace.scan().entries}

    def test_an_import_first_removes_what_it_is_told(self, workspace: Workspace) -> None:
        for name in ("old/a", "old/b", "kept"):
            workspace.write_bytes(name, b"x")
        workspace.import_([_file("old", b"now a file")], remove=["old", "gone already"])
        assert workspace.read_bytes("old") == b"now a file"
        assert workspace.read_bytes("kept") == b"x"

    def test_an_import_replaces_what_stands_in_its_way(self, workspace: Workspace) -> None:
        workspace.run("mkdir -p file/full; touch file/full/x dir; ln -s nowhere link; mkfifo fifo")
        entries = [_file("file", b"1"), _file("dir/inside", b"2"), _file("link", b"3"), _file("fifo", b"4")]
        workspace.import_(entries)
        assert [workspace.read_bytes(entry.info.path) for entry in entries] == [b"1", b"2", b"3", b"4"]

    def test_an_import_never_writes_through_a_link(self, workspace: Workspace) -> None:
        outside = f"/tmp/outside-{secrets.token_hex(8)}"
        workspace.make_dir(outside, outside=True)
        workspace.write_bytes(outside + "/kept", b"x", outside=True)
        workspace.run(["ln", "-s", outside, "dir"])
        workspace.run(["ln", "-s", outside + "/kept", "file"])
        workspace.import_([_file("dir/new", b"1"), _file("file", b"2")], remove=["dir/kept"])
        assert [entry.path for entry in workspace.list(outside, outside=True)] == [outside + "/kept"]
        assert workspace.read_bytes(outside + "/kept", outside=True) == b"x"
        assert (workspace.read_bytes("dir/new"), workspace.read_bytes("file")) == (b"1", b"2")
        workspace.remove(outside, outside=True)

    @pytest.mark.parametrize("path", ["../x", "/etc/x", "a/../../x", "", ".", "a//b", "nul\0x"], ids=ascii)
    def test_an_import_refuses_names_that_lead_out(self, workspace: Workspace, path: str) -> None:
        with pytest.raises((OmniagentsError, OSError, ValueError)):
            workspace.import_([_file(path, b"x")])
        assert not workspace.exists("/tmp/../x", outside=True)
        assert workspace.run("echo on").stdout == b"on\n"

    def test_an_import_whose_source_fails_raises_that_and_the_workspace_can_be_used(self, workspace: Workspace) -> None:
        def failing() -> object:
            yield b"part"
            raise ZeroDivisionError

        entry = ImportEntry(FileInfo("a", "file", 1 << 20, 0o644, 0, 0, 0), failing())  # type: ignore[arg-type]
        with pytest.raises(ZeroDivisionError):
            workspace.import_([_file("before", b"x"), entry])
        assert not workspace.exists("a")
        assert workspace.run("echo on").stdout == b"on\n"
