"""Reading files, and what is known about them."""

from __future__ import annotations

import hashlib
import os

import pytest

from omniagents.backends.base import Backend
from omniagents.testing._support import BackendTests, run_python
from omniagents.workspace import Workspace

__all__ = ["ReadingTests"]


class ReadingTests(BackendTests):
    """``read_bytes``, ``stat``, ``exists`` and ``realpath``."""

    @pytest.mark.parametrize(
        "content", [b"", b"\0", b"\r\n\r", bytes(range(256)) * 5000], ids=["empty", "nul", "ends", "binary"]
    )
    def test_bytes_are_read_as_they_were_written(self, workspace: Workspace, content: bytes) -> None:
        workspace.write_bytes("file", content)
        assert workspace.read_bytes("file") == content

    def test_twenty_mebibytes_are_exact(self, workspace: Workspace) -> None:
        content = os.urandom(1 << 20) * 20
        workspace.write_bytes("large", content)
        assert workspace.run("wc -c < large").stdout.split() == [b"%d" % len(content)]
        assert hashlib.sha256(workspace.read_bytes("large")).digest() == hashlib.sha256(content).digest()

    def test_a_part_of_a_file_can_be_read(self, workspace: Workspace) -> None:
        workspace.write_bytes("file", b"0123456789")
        assert workspace.read_bytes("file", offset=3) == b"3456789"
        assert workspace.read_bytes("file", offset=3, limit=4) == b"3456"
        assert workspace.read_bytes("file", limit=0) == b""
        assert workspace.read_bytes("file", offset=10) == b""
        assert workspace.read_bytes("file", offset=99, limit=5) == b""

    def test_a_part_of_a_large_file_is_exact(self, workspace: Workspace) -> None:
        content = os.urandom(3 << 20)
        workspace.write_bytes("file", content)
        assert workspace.read_bytes("file", offset=100_001, limit=2_000_000) == content[100_001:2_100_001]

    def test_reading_follows_links_inside(self, workspace: Workspace) -> None:
        workspace.write_bytes("dir/file", b"x")
        workspace.run("ln -s dir/file link; ln -s dir dirlink; ln -s dirlink/file chained")
        assert [workspace.read_bytes(name) for name in ("link", "dirlink/file", "chained")] == [b"x"] * 3

    def test_a_missing_file_is_file_not_found(self, workspace: Workspace) -> None:
        workspace.run("ln -s nowhere dangling")
        for path in ("missing.txt", "missing/a.txt", "dangling"):
            with pytest.raises(FileNotFoundError) as raised:
                workspace.read_bytes(path)
            assert raised.value.filename == path

    def test_a_directory_is_a_directory(self, workspace: Workspace) -> None:
        workspace.make_dir("dir")
        for path in ("dir", "."):
            with pytest.raises(IsADirectoryError) as raised:
                workspace.read_bytes(path)
            assert raised.value.filename == path

    def test_a_fifo_and_a_device_are_errors_at_once(self, workspace: Workspace) -> None:
        workspace.run("mkfifo fifo")
        with pytest.raises(OSError) as raised:
            workspace.read_bytes("fifo")
        assert raised.value.filename == "fifo"
        with pytest.raises(OSError):
            workspace.read_bytes("/dev/zero", outside=True)

    def test_stat_tells_kind_size_mode_and_time(self, backend: Backend) -> None:
        workspace = backend.workspace
        workspace.write_bytes("file", b"12345", mode=0o640)
        run_python(backend, "import os; os.utime('file', ns=(0, 1234567890123456789)); os.mkfifo('fifo')")
        workspace.run("mkdir -m 750 dir; ln -s 'where ever' link")
        file, directory = workspace.stat("file"), workspace.stat("dir")
        assert (file.path, file.kind, file.size, file.mode) == ("file", "file", 5, 0o640)
        assert (file.mtime_ns, file.target) == (1234567890123456789, None)
        assert file.ctime_ns > file.mtime_ns
        assert (directory.kind, directory.mode, directory.target) == ("directory", 0o750, None)
        assert workspace.stat("fifo").kind == "other"
        link = workspace.stat("link", follow=False)
        assert (link.path, link.kind, link.target) == ("link", "link", "where ever")
        assert file.inode != directory.inode != link.inode

    def test_times_before_the_epoch_and_far_away_are_exact(self, backend: Backend) -> None:
        times = [-1_000_000_001, 0, 1, 4_102_444_800_000_000_001]
        program = "import os, sys\nfor n in sys.argv[1:]: open(n, 'w').close(); os.utime(n, ns=(int(n), int(n)))"
        run_python(backend, program, *(str(time) for time in times))
        assert [backend.workspace.stat(str(time)).mtime_ns for time in times] == times

    def test_stat_follows_links_unless_told_not_to(self, workspace: Workspace) -> None:
        workspace.write_bytes("file", b"12345")
        workspace.run("ln -s file link; ln -s nowhere dangling")
        assert (workspace.stat("link").kind, workspace.stat("link").size) == ("file", 5)
        assert workspace.stat("link").path == "file"
        with pytest.raises(FileNotFoundError) as raised:
            workspace.stat("dangling")
        assert raised.value.filename == "dangling"
        assert workspace.stat("dangling", follow=False).target == "nowhere"

    def test_exists_follows_links(self, workspace: Workspace) -> None:
        workspace.write_bytes("dir/file", b"x")
        workspace.run("ln -s dir link; ln -s nowhere dangling")
        names = (".", "dir", "dir/file", "link", "link/file", "dangling", "missing", "missing/x")
        assert [workspace.exists(name) for name in names] == [True, True, True, True, True, False, False, False]

    def test_realpath_resolves_links_and_need_not_exist(self, workspace: Workspace) -> None:
        workspace.make_dir("a/b")
        workspace.run("ln -s a/b link")
        assert workspace.realpath("link/../new/file") == "a/new/file"
        assert workspace.realpath(workspace.root + "/link") == "a/b"
        assert workspace.realpath("x/..") == "."
