"""Opening a file to read it: regular files only, at once, with a distinct refusal for everything else."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from typing import Iterator, Tuple

from .context import Call, CallCancelled, Context
from .failure import GuestFailure, failure_of_os_error
from .hints import shell_word, tool_call
from .naming import resolve_shown
from .root import display
from .similar import not_found

__all__ = ["Opened", "kind_of", "opened_regular"]

BLOCK_BYTES = 1 << 18
# Kernel files (/proc, /sys) state no size; their content is read up to here.
_MAX_UNSTATED_BYTES = 16 << 20
_FLAGS = os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_NOFOLLOW | os.O_CLOEXEC
_NOT_LIKE_A_FILE = (errno.EAGAIN, errno.EINVAL, errno.EIO)

_KINDS = (
    (stat.S_ISREG, "file"),
    (stat.S_ISDIR, "directory"),
    (stat.S_ISLNK, "link"),
    (stat.S_ISFIFO, "FIFO"),
    (stat.S_ISSOCK, "socket"),
    (stat.S_ISCHR, "character device"),
    (stat.S_ISBLK, "block device"),
)


def kind_of(mode: int) -> str:
    """``file``, ``directory``, ``link``, ``FIFO``, ``socket``, ``character device`` or ``block device``."""
    return next((kind for is_kind, kind in _KINDS if is_kind(mode)), "special file")


class Opened:
    """A regular file open for reading.

    Attributes:
        path: Relative to the workspace.
        size: Bytes when it was opened; a file that grows while it is read is read up to here.
        head: Its first 8 KiB.
    """

    def __init__(self, descriptor: int, path: str, size: int) -> None:
        self._descriptor = descriptor
        self.path = path
        self.size = size
        self.head = self.read(0, 8192)

    def read(self, position: int, count: int) -> bytes:
        """At most ``count`` bytes from ``position``; ``b""`` at the end."""
        try:
            return os.pread(self._descriptor, count, position)
        except OSError as error:
            if error.errno in _NOT_LIKE_A_FILE:
                raise GuestFailure(
                    "NOT_A_REGULAR_FILE",
                    "%s cannot be read like a file: %s" % (display(self.path), os.strerror(error.errno or 0)),
                    path=self.path,
                ) from error
            raise failure_of_os_error(error, self.path) from error

    def blocks(self, call: Call, position: int = 0) -> Iterator[bytes]:
        """All content from ``position`` on, in blocks of 256 KiB.

        Raises:
            CallCancelled: The host gave the call up.
        """
        end = self.size or _MAX_UNSTATED_BYTES
        while position < end:
            if call.cancelled.is_set():
                raise CallCancelled
            block = self.read(position, min(BLOCK_BYTES, end - position))
            if not block:
                return
            position += len(block)
            yield block

    def read_all(self, call: Call) -> bytes:
        """The whole content; only for what is known to be small."""
        return b"".join(self.blocks(call))


@contextlib.contextmanager
def opened_regular(context: Context, path: str) -> Iterator[Opened]:
    """Open a file the caller named.

    Raises:
        GuestFailure: ``FILE_NOT_FOUND`` (names the most similar files), ``IS_A_DIRECTORY``, ``NOT_A_DIRECTORY``,
            ``NOT_A_REGULAR_FILE``, ``PERMISSION_DENIED``, ``PATH_OUTSIDE_WORKSPACE``.
    """
    resolved = resolve_shown(context.root, path)
    relative = context.root.relative(resolved)
    try:
        descriptor, size = _open(resolved, relative)
    except FileNotFoundError:
        raise not_found(context.root, path, resolved) from None
    except PermissionError as error:
        raise _denied(relative, error) from error
    except OSError as error:
        raise failure_of_os_error(error, relative) from error
    try:
        yield Opened(descriptor, relative, size)
    finally:
        os.close(descriptor)


def _open(resolved: str, path: str) -> Tuple[int, int]:
    # Looked at before it is opened: opening a device can have effects. And after: it may have been replaced.
    _require_readable(os.lstat(resolved), path)
    descriptor = os.open(resolved, _FLAGS)
    try:
        status = os.fstat(descriptor)
        _require_readable(status, path)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor, status.st_size


def _require_readable(status: os.stat_result, path: str) -> None:
    kind = kind_of(status.st_mode)
    if kind == "directory":
        raise GuestFailure(
            "IS_A_DIRECTORY",
            "%s is a directory. See what is in it with %s" % (display(path), tool_call("list_directory", path=path)),
            path=path,
            error_number=errno.EISDIR,
        )
    if kind != "file":
        raise GuestFailure(
            "NOT_A_REGULAR_FILE",
            "%s is a %s, not a regular file; only regular files can be read" % (display(path), kind),
            path=path,
        )
    # Root reads anything; a file that nobody may read is refused to root as well, as everywhere else.
    if not status.st_mode & 0o444:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))


def _denied(path: str, error: OSError) -> GuestFailure:
    return GuestFailure(
        "PERMISSION_DENIED",
        "%s cannot be read: permission denied. See its owner and mode with %s"
        % (display(path), tool_call("run_shell_command", command="ls -l " + shell_word(path))),
        path=path,
        error_number=error.errno,
    )
