"""Removing a path with everything below it, however deep, long-named or read-only."""

from __future__ import annotations

import os
import stat
from typing import List

__all__ = ["remove_tree"]

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


def remove_tree(path: str, dir_fd: int | None = None) -> None:
    """Remove a file, a link (never what it points to) or a directory with all it holds.

    Directories found on the way are first moved up to ``path`` itself, so neither depth nor the
    length of a path matters, and two descriptors suffice. Write permission is taken where the owner lacks it.

    Args:
        dir_fd: The directory that ``path`` is relative to.

    Raises:
        OSError: Something could not be removed; what was is gone.
    """
    if not stat.S_ISDIR(os.stat(path, dir_fd=dir_fd, follow_symlinks=False).st_mode):
        os.unlink(path, dir_fd=dir_fd)
        return
    _take(path, dir_fd)
    top = os.open(path, _DIRECTORY, dir_fd=dir_fd)
    try:
        prefix = ".removed-" + os.urandom(8).hex()
        pending = _empty(top, top, prefix, 0)
        moved = len(pending)
        while pending:
            name = pending.pop()
            directory = os.open(name, _DIRECTORY, dir_fd=top)
            try:
                found = _empty(directory, top, prefix, moved)
            finally:
                os.close(directory)
            os.rmdir(name, dir_fd=top)
            pending += found
            moved += len(found)
    finally:
        os.close(top)
    os.rmdir(path, dir_fd=dir_fd)


def _empty(directory: int, top: int, prefix: str, moved: int) -> List[str]:
    """Unlink what ``directory`` holds, and move its directories to ``top``; their names there."""
    names: List[str] = []
    with os.scandir(directory) as entries:
        listed = [(entry.name, entry.is_dir(follow_symlinks=False)) for entry in entries]
    for name, is_directory in listed:
        if not is_directory:
            os.unlink(name, dir_fd=directory)
            continue
        _take(name, directory)
        new_name = "%s-%d" % (prefix, moved + len(names))
        os.rename(name, new_name, src_dir_fd=directory, dst_dir_fd=top)
        names.append(new_name)
    return names


def _take(path: str, dir_fd: int | None) -> None:
    """Have the owner's rights to a directory: moving, listing and emptying it all need them."""
    # A link that has taken its place by now is an error, and what it points to keeps its mode.
    found = os.open(path, _DIRECTORY | os.O_PATH, dir_fd=dir_fd)
    try:
        if os.fstat(found).st_mode & stat.S_IRWXU != stat.S_IRWXU:
            os.chmod("/proc/self/fd/%d" % found, stat.S_IRWXU)
    finally:
        os.close(found)
