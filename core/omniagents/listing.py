"""Very many ``FileInfo`` in little memory: columns of numbers and one buffer of names."""

from __future__ import annotations

import sys
from array import array
from collections.abc import Iterable, Iterator, Sequence
from typing import overload

from omniagents.records import FileInfo, FileKind

__all__ = ["Listing"]

_KINDS: tuple[FileKind, ...] = ("file", "directory", "link", "other")
# As os.fsencode and os.fsdecode, which are slow for very many names.
_ENCODING, _ERRORS = sys.getfilesystemencoding(), sys.getfilesystemencodeerrors()
_NUMBERS = {kind: number for number, kind in enumerate(_KINDS)}


class Listing(Sequence[FileInfo]):
    """An append-only list of ``FileInfo`` that takes about 60 bytes and the path for each.

    An item is made anew whenever it is asked for; a list of equal items is equal to this.
    """

    def __init__(self, infos: Iterable[FileInfo] = ()) -> None:
        self._names = bytearray()
        self._ends = array("Q")
        self._kinds = bytearray()
        self._modes = array("H")
        self._numbers = array("q")  # size, mtime, ctime of each
        self._inodes = array("Q")
        self._targets: dict[int, str] = {}
        self.extend(infos)

    def append(self, info: FileInfo) -> None:
        """Add one.

        Raises:
            OverflowError: A number that no file system has.
        """
        self.add(info.path, info.kind, info.size, info.mode, info.mtime_ns, info.ctime_ns, info.inode, info.target)

    def add(
        self, path: str, kind: FileKind, size: int, mode: int, mtime_ns: int, ctime_ns: int, inode: int,
        target: str | None,
    ) -> None:  # fmt: skip
        """``append`` without an object in between."""
        self._modes.append(mode)
        self._numbers.extend((size, mtime_ns, ctime_ns))
        self._inodes.append(inode)
        if target is not None:
            self._targets[len(self._kinds)] = target
        self._names += path.encode(_ENCODING, _ERRORS)
        self._ends.append(len(self._names))
        self._kinds.append(_NUMBERS[kind])

    def extend(self, infos: Iterable[FileInfo]) -> None:
        for info in infos:
            self.append(info)

    def __len__(self) -> int:
        return len(self._kinds)

    @overload
    def __getitem__(self, index: int) -> FileInfo: ...
    @overload
    def __getitem__(self, index: slice) -> list[FileInfo]: ...

    def __getitem__(self, index: int | slice) -> FileInfo | list[FileInfo]:
        if isinstance(index, slice):
            return [self._at(number) for number in range(*index.indices(len(self)))]
        return self._at(range(len(self))[index])

    def __iter__(self) -> Iterator[FileInfo]:
        numbers = iter(self._numbers)
        rows = zip(self._ends, self._kinds, self._modes, numbers, numbers, numbers, self._inodes, strict=True)
        start, names, targets = 0, self._names, self._targets
        for row, (end, kind, mode, size, mtime_ns, ctime_ns, inode) in enumerate(rows):
            path = names[start:end].decode(_ENCODING, _ERRORS)
            start = end
            yield FileInfo(path, _KINDS[kind], size, mode, mtime_ns, ctime_ns, inode, targets.get(row))

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Sequence) or len(self) != len(other):
            return False
        return all(ours == theirs for ours, theirs in zip(self, other, strict=True))

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"Listing({[*self]!r})"

    def _at(self, row: int) -> FileInfo:
        start = self._ends[row - 1] if row else 0
        path = self._names[start : self._ends[row]].decode(_ENCODING, _ERRORS)
        size, mtime_ns, ctime_ns = self._numbers[3 * row : 3 * row + 3]
        kind, mode, inode = _KINDS[self._kinds[row]], self._modes[row], self._inodes[row]
        return FileInfo(path, kind, size, mode, mtime_ns, ctime_ns, inode, self._targets.get(row))
