"""A host process that saves, saves again, checks and loads a workspace that exists in numbers only, and then says
how much memory it ever took. Arguments: a directory, the number of files, the size of one more file in MiB."""

from __future__ import annotations

import hashlib
import resource
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import cast

from omniagents.listing import Listing
from omniagents.records import ExportedEntry, FileInfo, ImportEntry, LeftOut, Scan
from omniagents.workspace import Workspace
from omniagents_snapshot.directory import DirectoryStateManager

_HOUR_NS = 3600 * 1_000_000_000
_BIG = "zeros"
_PIECE = bytes(1 << 18)


class Numbers:
    """Files of a few bytes, a hundred in each directory, and one that is large and empty."""

    def __init__(self, files: int, mebibytes: int) -> None:
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
            for _ in range(0, info.size, len(_PIECE)):
                yield _PIECE
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


def main(directory: Path, files: int, mebibytes: int) -> None:
    manager = DirectoryStateManager(directory)
    tree = Numbers(files, mebibytes)
    workspace = cast(Workspace, tree)
    manager.save("alice", workspace)
    tree.version = b"second"
    assert manager.save("alice", workspace).changed == 1
    assert manager.save("alice", workspace).changed == 1  # the same one again
    assert manager.check("alice", read_data=True).is_whole
    empty = Empty(files, mebibytes)
    assert DirectoryStateManager(directory).load("alice", cast(Workspace, empty)) is not None
    assert empty.imported == files + files // 100 + 1
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
