"""System calls on absolute paths that may be longer than the system takes in one call (``PATH_MAX``)."""

from __future__ import annotations

import contextlib
import errno
import os
from typing import Iterator, List, Sequence, Tuple

__all__ = ["open_path", "read_link", "stat_path"]

# A path of PATH_MAX (4,096) bytes with its final NUL is refused; pieces below it leave room for a name.
_PIECE_BYTES = 3_800


def open_path(absolute: str, flags: int) -> int:
    """``os.open`` for an absolute path of any length; never opens a link in the last position.

    Raises:
        OSError: As ``os.open`` does; ``ELOOP`` for a link.
    """
    flags |= os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        return os.open(absolute, flags)
    except OSError as error:
        if error.errno != errno.ENAMETOOLONG:
            raise
    with _parent_opened(absolute) as (directory, name):
        return os.open(name, flags, dir_fd=directory)


def stat_path(absolute: str, *, follow_symlinks: bool = True) -> os.stat_result:
    try:
        return os.stat(absolute, follow_symlinks=follow_symlinks)
    except OSError as error:
        if error.errno != errno.ENAMETOOLONG:
            raise
    with _parent_opened(absolute) as (directory, name):
        return os.stat(name, dir_fd=directory, follow_symlinks=follow_symlinks)


def read_link(absolute: str) -> str:
    try:
        return os.readlink(absolute)
    except OSError as error:
        if error.errno != errno.ENAMETOOLONG:
            raise
    with _parent_opened(absolute) as (directory, name):
        return os.readlink(name, dir_fd=directory)


@contextlib.contextmanager
def _parent_opened(absolute: str) -> Iterator[Tuple[int, str]]:
    parts = [part for part in absolute.split("/") if part]
    name = parts.pop()
    flags = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
    current = os.open("/", flags)
    try:
        for piece in _pieces(parts):
            following = os.open(piece, flags, dir_fd=current)
            os.close(current)
            current = following
        yield current, name
    finally:
        os.close(current)


def _pieces(parts: Sequence[str]) -> Iterator[str]:
    """Relative paths short enough for one call each."""
    piece: List[str] = []
    size = 0
    for part in parts:
        length = len(os.fsencode(part)) + 1
        if piece and size + length > _PIECE_BYTES:
            yield "/".join(piece)
            piece, size = [], 0
        piece.append(part)
        size += length
    if piece:
        yield "/".join(piece)
