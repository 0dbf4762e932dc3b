"""A workspace on real files, without a guest: what the engine needs of one, as plainly as possible."""

from __future__ import annotations

import os
import shutil
import stat
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, cast

from omniagents.guest.ignore import Patterns, Rules, load_patterns
from omniagents.records import ExportedEntry, FileInfo, FileKind, ImportEntry, LeftOut, Scan
from omniagents.workspace import Workspace

__all__ = ["LocalTree", "as_workspace"]

_HOUR_NS = 3600 * 1_000_000_000


class LocalTree:
    """Attributes:
    settled: Files count as untouched for an hour, so that nothing is racy; False for the real clock.
    requests: The name of every request made.
    exported: The path of every file whose content was asked for.
    while_reading: Called with a path and a piece's number after each piece was read.
    """

    def __init__(self, root: Path, *, settled: bool = True) -> None:
        self.root = root
        self.settled = settled
        self.requests: list[str] = []
        self.exported: list[str] = []
        self.while_reading: Callable[[str, int], None] = lambda path, number: None
        root.mkdir(parents=True, exist_ok=True)

    def path(self, name: str) -> bytes:
        return os.path.join(os.fsencode(self.root), os.fsencode(name))

    def scan(self, path: str = ".", *, exclude: Sequence[str] = (), exclude_file: str | None = None) -> Scan:
        assert path == "."
        self.requests.append("scan")
        started = time.time_ns() + (_HOUR_NS if self.settled else 0)
        ignored = load_patterns(os.path.join(self.root, exclude_file)) if exclude_file else None
        lists = [patterns for patterns in (ignored, Patterns.of(exclude)) if patterns is not None]
        entries: list[FileInfo] = []
        left_out: list[LeftOut] = []
        self._walk("", Rules(tuple((patterns, 0) for patterns in lists)), entries, left_out)
        return Scan(entries, left_out, started)

    def _walk(self, prefix: str, rules: Any, entries: list[FileInfo], left_out: list[LeftOut]) -> None:
        for raw in sorted(os.listdir(self.path(prefix))):
            name = os.fsdecode(raw)
            info = self.info(prefix + name)
            if rules.ignores(name, info.path, info.kind == "directory"):
                left_out.append(LeftOut(info.path, rules.reason(name, info.path, info.kind == "directory")))
                continue
            entries.append(info)
            if info.kind == "directory":
                self._walk(f"{info.path}/", rules, entries, left_out)

    def info(self, name: str) -> FileInfo:
        status = os.lstat(self.path(name))
        kind: FileKind = "other"
        target = None
        if stat.S_ISREG(status.st_mode):
            kind = "file"
        elif stat.S_ISDIR(status.st_mode):
            kind = "directory"
        elif stat.S_ISLNK(status.st_mode):
            kind, target = "link", os.fsdecode(os.readlink(self.path(name)))
        mode = stat.S_IMODE(status.st_mode)
        return FileInfo(name, kind, status.st_size, mode, status.st_mtime_ns, status.st_ctime_ns, status.st_ino, target)

    def export(self, paths: Sequence[str]) -> Iterator[ExportedEntry]:
        self.requests.append("export")
        for path in paths:
            self.exported.append(path)
            try:
                entry = ExportedEntry(self.info(path), iter(()))
            except FileNotFoundError:
                yield ExportedEntry(FileInfo(path, "file", 0, 0, 0, 0, 0), iter(()), "vanished")
                continue
            if entry.info.kind == "file":
                entry.chunks = self._content(entry)
            yield entry

    def _content(self, entry: ExportedEntry) -> Iterator[bytes]:
        with open(self.path(entry.info.path), "rb") as file:
            number = total = 0
            while total < entry.info.size and (piece := file.read(min(1 << 18, entry.info.size - total))):
                total += len(piece)
                yield piece
                self.while_reading(entry.info.path, number)
                number += 1
            after = os.fstat(file.fileno())
        before = entry.info
        if (after.st_size, after.st_mtime_ns) != (before.size, before.mtime_ns) or total != before.size:
            entry.problem = "changed"

    def import_(self, entries: Iterable[ImportEntry], *, remove: Sequence[str] = ()) -> list[FileInfo]:
        self.requests.append("import")
        for path in remove:
            self._clear(path)
        written, directories = [], []
        for entry in entries:
            self._clear(entry.info.path, keep_directory=entry.info.kind == "directory")
            self._create(entry)
            written.append(entry.info.path)
            if entry.info.kind == "directory":
                directories.append(entry.info)
        for info in reversed(directories):
            os.chmod(self.path(info.path), info.mode)
            os.utime(self.path(info.path), ns=(info.mtime_ns, info.mtime_ns))
        return [self.info(path) for path in written]

    def _create(self, entry: ImportEntry) -> None:
        info, path = entry.info, self.path(entry.info.path)
        if info.kind == "directory":
            os.makedirs(path, exist_ok=True)
            os.chmod(path, 0o700)
        elif info.kind == "link":
            os.symlink(os.fsencode(cast(str, info.target)), path)
            os.utime(path, ns=(info.mtime_ns, info.mtime_ns), follow_symlinks=False)
        else:
            with open(path, "xb") as file:
                size = sum(file.write(chunk) for chunk in entry.chunks)
            assert size == info.size
            os.chmod(path, info.mode)
            os.utime(path, ns=(info.mtime_ns, info.mtime_ns))

    def _clear(self, name: str, *, keep_directory: bool = False) -> None:
        path = self.path(name)
        if os.path.isdir(path) and not os.path.islink(path):
            if not keep_directory:
                shutil.rmtree(path)
        elif os.path.lexists(path):
            os.unlink(path)


def as_workspace(tree: LocalTree) -> Workspace:
    """The tree where a workspace is wanted; it has the three methods that the engine calls."""
    return cast(Workspace, tree)
