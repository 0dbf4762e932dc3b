"""Reading what its owner may not read: the right is taken for the moment, and the mode is given back.

A workspace is saved whole, also what ``chmod 000`` or ``chmod -R 600`` was run over. Other users' files stay closed,
and root needs no right.
"""

from __future__ import annotations

import contextlib
import os
import stat
from typing import Dict, Iterator, List

from .descent import open_directory

__all__ = ["LISTED", "READ", "Unlocked", "right_to"]

READ = stat.S_IRUSR
LISTED = stat.S_IRUSR | stat.S_IXUSR


@contextlib.contextmanager
def right_to(right: int, path: str | bytes, dir_fd: int | None = None) -> Iterator[None]:
    """Have a right to a file or directory in here, where its mode alone forbids it."""
    status = os.stat(path, dir_fd=dir_fd, follow_symlinks=False)
    if not _is_missing(status, right):
        yield
        return
    mode = stat.S_IMODE(status.st_mode)
    os.chmod(path, mode | right, dir_fd=dir_fd)
    try:
        yield
    finally:
        with contextlib.suppress(FileNotFoundError):  # removed meanwhile
            os.chmod(path, mode, dir_fd=dir_fd)


class Unlocked:
    """Directories below a top that were closed; ``give_back`` closes them again."""

    def __init__(self, top: str) -> None:
        self._top = top.rstrip("/") + "/"
        self._modes: Dict[str, int] = {}

    def enters(self, directory: str) -> bool:
        """See to it that a directory, named relative to the top, can be listed; true, as a walk wants to hear."""
        if os.geteuid():
            path = (self._top + directory).rstrip("/")
            with contextlib.suppress(OSError):  # gone, or longer than a path may be: whoever lists it finds out
                status = os.stat(path, follow_symlinks=False)
                if stat.S_ISDIR(status.st_mode) and _is_missing(status, LISTED):
                    mode = stat.S_IMODE(status.st_mode)
                    os.chmod(path, mode | LISTED)
                    self._modes[path] = mode
        return True

    def enter(self, parent: int, parts: List[bytes], depth: int) -> int:
        """``descent.open_directory``, the directory opened to us before."""
        try:
            fd = open_directory(parent, parts, depth)
            if not os.geteuid() or os.fstat(fd).st_mode & LISTED == LISTED:
                return fd
            os.close(fd)
        except PermissionError:
            pass  # its owner may do something about it
        self.enters(os.fsdecode(b"/".join(parts[:depth])))
        return open_directory(parent, parts, depth)

    def give_back(self) -> None:
        """The modes as they were, the innermost directory first."""
        while self._modes:
            path, mode = self._modes.popitem()
            with contextlib.suppress(OSError):  # removed or replaced meanwhile
                os.chmod(path, mode)


def _is_missing(status: os.stat_result, right: int) -> bool:
    own = os.geteuid()
    return own != 0 and status.st_uid == own and status.st_mode & right != right
