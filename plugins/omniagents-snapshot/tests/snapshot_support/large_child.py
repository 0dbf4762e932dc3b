"""A host process that saves, saves again, checks, loads and prunes a workspace that exists in numbers only, and then
says how much memory it ever took. Arguments: a directory, or ``gs://`` and a bucket; the number of files; the size of
one more file in MiB, and what it holds: ``zeros`` or ``noise``."""

from __future__ import annotations

import hashlib
import random
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import cast

from omniagents.listing import Listing
from omniagents.records import ExportedEntry, FileInfo, ImportEntry, LeftOut, Scan
from omniagents.workspace import Workspace
from omniagents_snapshot import repacking
from omniagents_snapshot.directory import DirectoryStateManager
from omniagents_snapshot.manager import SnapshotStateManager
from omniagents_snapshot.retention import Retention

_HOUR_NS = 3600 * 1_000_000_000
_BIG = "zzz"
_PIECE = bytes(1 << 18)


class Numbers:
    """Files of a few bytes, a hundred in each directory, and a large one."""

    def __init__(self, files: int, mebibytes: int, content: str) -> None:
        self.is_noise = content == "noise"
        self.files = files
        self.size = mebibytes << 20
        self.version = b"first"
        self.imported = 0

    def scan(self, path: str = ".", *, exclude: Sequence[str] = (), exclude_file: str | None = None) -> Scan:
        return Scan(Listing(self._infos()), cast("list[LeftOut]", []), 1000 * _HOUR_NS)

    def _infos(self) -> Iterator[FileInfo]:
        for number in range(self.files):
            if number % 100 == 0:
                yield FileInfo(f"package{number // 100:06}", "directory", 0, 0o755, number, number, number)
            path = f"package{number // 100:06}/some_module_with_a_name_{number:08}.py"
            changed = number == 0 and self.version != b"first"
            yield FileInfo(path, "file", 16, 0o644, number + changed, number + changed, number)
        yield FileInfo(_BIG, "file", self.size, 0o644, 5, 5, 5)

    def export(self, paths: Sequence[str]) -> Iterator[ExportedEntry]:
        wanted = iter(paths)
        path = next(wanted, None)
        for info in self._infos():
            if info.path == path:
                yield ExportedEntry(info, self._content(info))
                path = next(wanted, None)

    def _content(self, info: FileInfo) -> Iterator[bytes]:
        if info.path == _BIG:
            noise = random.Random(1)
            for _ in range(0, info.size, len(_PIECE)):
                yield noise.randbytes(len(_PIECE)) if self.is_noise else _PIECE
        else:
            yield hashlib.sha256(info.path.encode() + (self.version if info.inode == 0 else b"")).digest()[:16]

    def import_(self, entries: Iterable[ImportEntry], *, remove: Sequence[str] = ()) -> Listing:
        written = Listing()
        for entry in entries:
            assert sum(map(len, entry.chunks)) == entry.info.size
            written.append(entry.info)
        self.imported = len(written)
        return written


class Empty(Numbers):
    def _infos(self) -> Iterator[FileInfo]:
        return iter(())


def manager(place: str) -> SnapshotStateManager:
    """A new one, which has no copies here of what it did not read itself."""
    if place.startswith("gs://"):
        from omniagents_gcs.state_manager import GCSStateManager

        return GCSStateManager(place.removeprefix("gs://"), cache_bytes=0)
    return DirectoryStateManager(Path(place))


def main(place: str, files: int, mebibytes: int, content: str) -> None:
    saving = manager(place)
    tree = Numbers(files, mebibytes, content)
    workspace = cast(Workspace, tree)
    saving.save("alice", workspace)
    tree.version = b"second"
    assert saving.save("alice", workspace).changed == 1
    assert saving.save("alice", workspace).changed == 1  # the same one again
    assert saving.check("alice", read_data=True).is_whole
    empty = Empty(files, mebibytes, content)
    assert manager(place).load("alice", cast(Workspace, empty)) is not None
    assert empty.imported == files + files // 100 + 1
    # Every pack counts as one that is mostly garbage.
    repacking._WASTE, repacking._WORTH_BYTES = -1.0, -(1 << 40)
    report = manager(place).prune("alice", Retention(last=1, hourly=0, daily=0, weekly=0))
    assert report.rewritten_bytes > 0
    print(peak())


def peak() -> int:
    """The most memory this program ever had, bytes. Not getrusage's, which a child begins with its parent's."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return next(int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith("VmHWM:"))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4])
