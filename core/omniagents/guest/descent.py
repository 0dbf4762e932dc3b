"""Directories of a tree, reached part by part from its top: no link is followed, and no path is too long."""

from __future__ import annotations

import os
from typing import Callable, Dict, List

__all__ = ["DIRECTORY_FLAGS", "Descent", "open_directory"]

DIRECTORY_FLAGS = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_MOST_OPEN = 64

# Given the parent's descriptor, the whole path's parts and how many of them lead to the directory: its descriptor.
Enter = Callable[[int, List[bytes], int], int]


def open_directory(parent: int, parts: List[bytes], depth: int) -> int:
    """Enter a directory that must be there; ``OSError`` for anything else, links included."""
    return os.open(parts[depth - 1], DIRECTORY_FLAGS, dir_fd=parent)


class Descent:
    """The way from ``top`` down to one directory; the next one asked for starts where both ways part.

    The innermost 64 descriptors are kept, so entries in the order of a tree walk cost one ``open`` a directory.
    """

    def __init__(self, top: str) -> None:
        self._top = os.open(top, DIRECTORY_FLAGS)
        self._parts: List[bytes] = []
        self._open: Dict[int, int] = {}  # by depth

    def to(self, parts: List[bytes], enter: Enter = open_directory) -> int:
        """A descriptor of the directory at ``parts``; valid until the next call."""
        self.leave(_shared(self._parts, parts))
        depth = len(self._parts)
        fd = self._open[depth] if depth else self._top
        while depth < len(parts):
            depth += 1
            fd = enter(fd, parts, depth)
            self._open[depth] = fd
            self._parts.append(parts[depth - 1])
            if depth > _MOST_OPEN:
                os.close(self._open.pop(depth - _MOST_OPEN))
        return fd

    def leave(self, depth: int) -> None:
        """Go up to ``depth``, or to the top where that is not open any more."""
        while len(self._parts) > depth or (self._parts and len(self._parts) not in self._open):
            fd = self._open.pop(len(self._parts), None)
            self._parts.pop()
            if fd is not None:
                os.close(fd)

    def forget(self, parts: List[bytes]) -> None:
        """Close what is open at ``parts`` and below it: it is about to go."""
        if self._parts[: len(parts)] == parts:
            self.leave(len(parts) - 1)

    def close(self) -> None:
        self.leave(0)
        os.close(self._top)


def _shared(one: List[bytes], other: List[bytes]) -> int:
    count = 0
    for a, b in zip(one, other):
        if a != b:
            break
        count += 1
    return count
