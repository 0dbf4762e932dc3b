"""Whole trees as one stream of bytes, in both directions; any number of files is one request.

An entry is a fixed header (``HEADER``: kind, mode, size, mtime, ctime, inode, lengths of path and
link target), the path, the target, and for a file its content in pieces, each behind its length,
ended by a zero length and one byte that says whether the copy is consistent. The host speaks the
same format (``omniagents.trees``); what it sends is trusted no more than a stored tree may be.
Every path is walked part by part (``descent``): nothing is read or written through a link.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
import struct
from typing import Any, Callable, Dict, Iterator, List, Tuple

from .context import Context, Reply
from .descent import DIRECTORY_FLAGS, Descent
from .failure import GuestFailure, failure_of_os_error
from .removal import remove_tree
from .root import TEMPORARY_PREFIX, TEMPORARY_SUFFIX, Root, display
from .unlocking import LISTED, READ, Unlocked, right_to

__all__ = [
    "CHANGED",
    "CONSISTENT",
    "DIRECTORY",
    "FILE",
    "HEADER",
    "LATEST_NS",
    "LENGTH",
    "LINK",
    "OTHER",
    "STATUS",
    "UNREADABLE",
    "VANISHED",
    "Source",
    "Truncated",
    "export",
    "import_",
]

HEADER = struct.Struct(">BIqqqQII")
LENGTH = struct.Struct(">I")
STATUS = struct.Struct(">QqqqI")  # what import answers for each entry: inode, size, mtime, ctime, mode

FILE, DIRECTORY, LINK, OTHER = range(4)
CONSISTENT, CHANGED, VANISHED, UNREADABLE = range(4)

#: The year 2262. Some file systems know later times, which nothing here has room for: those are taken for this one.
LATEST_NS = (1 << 63) - 1

_PIECE = 1 << 18
_BATCH = 1 << 18
_MAX_PIECE = 1 << 24
_MAX_NAME = 1 << 20
_MAX_NAMES = 1 << 30
_FILE_FLAGS = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
_NEW_FLAGS = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_IN_THE_WAY = (errno.ENOTDIR, errno.ELOOP)  # of O_DIRECTORY | O_NOFOLLOW: a file, or a link
_GONE = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP)


def export(context: Context, arguments: Dict[str, Any]) -> Reply:
    """Stream the entries named in the payload (NUL-separated, relative), in that order, links not followed."""
    names = context.call.receive_all(_MAX_NAMES)
    out = _Batch(context.call.send)
    unlocked = Unlocked(context.root.path)
    with right_to(LISTED, context.root.path), contextlib.closing(Descent(context.root.path)) as descent:
        try:
            for name in names.split(b"\0") if names else []:
                _export_one(descent, unlocked, name, out)
        finally:
            unlocked.give_back()
    out.flush()
    return {}, b""


class _Batch:
    """Small writes become few sends."""

    def __init__(self, send: Callable[[bytes], None]) -> None:
        self._send = send
        self._pending: List[bytes] = []
        self._size = 0

    def add(self, *parts: bytes) -> None:
        self._pending.extend(parts)
        self._size += sum(map(len, parts))
        if self._size >= _BATCH:
            self.flush()

    def flush(self) -> None:
        if self._pending:
            self._send(b"".join(self._pending))
            self._pending, self._size = [], 0


def _export_one(descent: Descent, unlocked: Unlocked, name: bytes, out: _Batch) -> None:
    parts = _parts(name)
    target = b""
    try:
        parent = descent.to(parts[:-1], unlocked.enter)
        status = os.stat(parts[-1], dir_fd=parent, follow_symlinks=False)
        if stat.S_ISREG(status.st_mode):
            _export_file(_opened(parent, parts[-1]), name, out)
            return
        kind = DIRECTORY if stat.S_ISDIR(status.st_mode) else OTHER
        if stat.S_ISLNK(status.st_mode):
            kind, target = LINK, os.readlink(parts[-1], dir_fd=parent)
    except OSError as error:
        problem = VANISHED if error.errno in _GONE else UNREADABLE
        out.add(HEADER.pack(FILE, 0, 0, 0, 0, 0, len(name), 0), name, _end(problem))
        return
    out.add(_header(kind, status, name, target), name, target)


def _opened(parent: int, name: bytes) -> int:
    try:
        return os.open(name, _FILE_FLAGS, dir_fd=parent)
    except PermissionError:
        with right_to(READ, name, parent):
            return os.open(name, _FILE_FLAGS, dir_fd=parent)


def _export_file(fd: int, name: bytes, out: _Batch) -> None:
    """Add what ``fd`` holds, and close it."""
    try:
        before = os.fstat(fd)
        out.add(_header(FILE, before, name, b""), name)
        try:
            total = _add_content(fd, before, out)
            is_same = total == before.st_size and not _moved(before, os.fstat(fd))
            problem = CONSISTENT if is_same else CHANGED
        except OSError:
            problem = UNREADABLE
        out.add(_end(problem))
    finally:
        os.close(fd)


def _add_content(fd: int, before: os.stat_result, out: _Batch) -> int:
    """Add the file's pieces, at most the size it had; how many bytes it turned out to have, or more than its size."""
    if not stat.S_ISREG(before.st_mode):
        return -1  # a FIFO or device took the file's place: its header says FILE, its end says that it changed
    total = 0
    while True:
        # One byte more than is left shows the end without a further call for small files.
        piece = os.read(fd, min(_PIECE, before.st_size - total + 1))
        total += len(piece)
        if not piece or total > before.st_size:
            return total
        out.add(LENGTH.pack(len(piece)), piece)
        if total == before.st_size and len(piece) < _PIECE:
            return total


def _moved(before: os.stat_result, after: os.stat_result) -> bool:
    return (before.st_size, before.st_mtime_ns, before.st_ctime_ns) != (
        after.st_size, after.st_mtime_ns, after.st_ctime_ns,
    )  # fmt: skip


def _header(kind: int, status: os.stat_result, path: bytes, target: bytes) -> bytes:
    inode, size, mtime, ctime, mode = _facts(status)
    return HEADER.pack(kind, mode, size, mtime, ctime, inode, len(path), len(target))


def _end(problem: int) -> bytes:
    return LENGTH.pack(0) + bytes((problem,))


class Truncated(ValueError):
    """An archive ends in the middle of an entry."""


class Source:
    """Exact reads from an archive that arrives in pieces, none of them empty."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces = pieces
        self._buffer = b""
        self._position = 0

    def exactly(self, count: int) -> bytes:
        """The next ``count`` bytes.

        Raises:
            Truncated: There are fewer.
        """
        available = len(self._buffer) - self._position
        if available < count:
            parts, missing = [self._buffer[self._position :]], count - available
            while missing > 0:
                piece = next(self._pieces, None)
                if piece is None:
                    raise Truncated("the archive ends in the middle of an entry")
                parts.append(piece)
                missing -= len(piece)
            self._buffer, self._position = b"".join(parts), 0
        start = self._position
        self._position += count
        return self._buffer[start : self._position]

    def is_at_end(self) -> bool:
        if self._position == len(self._buffer):
            self._buffer, self._position = next(self._pieces, b""), 0
        return not self._buffer


def import_(context: Context, arguments: Dict[str, Any]) -> Reply:
    """Remove what the stream's first part names, then create its entries.

    What stands in the way of an entry is replaced. Ownership is the guest's; set-id bits of files are
    dropped. Answers one ``STATUS`` for each entry, in order.
    """
    source = Source(iter(context.call.receive, b""))
    importer = _Importer(context.root)
    try:
        (length,) = LENGTH.unpack(source.exactly(LENGTH.size))
        removals = source.exactly(_bounded(length, _MAX_NAMES))
        for name in removals.split(b"\0") if removals else []:
            importer.remove(name)
        while not source.is_at_end():
            importer.take(source)
        statuses = importer.finish()
    except Truncated as error:
        raise GuestFailure("INVALID_ARGUMENTS", str(error)) from error
    finally:
        importer.close()
    context.call.send(statuses)
    return {"entries": len(statuses) // STATUS.size}, b""


def _bounded(length: int, most: int) -> int:
    if length > most:
        raise GuestFailure("INVALID_ARGUMENTS", "an archive with a part of %d bytes" % length)
    return length


def _parts(name: bytes) -> List[bytes]:
    parts = name.split(b"/")
    if any(part in (b"", b".", b"..") for part in parts) or b"\0" in name:
        raise GuestFailure("PATH_OUTSIDE_WORKSPACE", "an archive may not name %s" % display(os.fsdecode(name)))
    return parts


class _Importer:
    """Creates entries below the workspace; directory modes and times come last, when nothing moves them any more."""

    def __init__(self, root: Root) -> None:
        self._descent = Descent(root.path)
        self._statuses = bytearray()
        # Path, mode, mtime, and where its status goes.
        self._directories: List[Tuple[bytes, int, int, int]] = []
        # Directories that were there and could not be written to, with the mode they get back.
        self._unlocked: Dict[bytes, int] = {}

    def remove(self, name: bytes) -> None:
        parts = _parts(name)
        try:
            remove_tree(os.fsdecode(parts[-1]), dir_fd=self._descent.to(parts[:-1]))
        except OSError as error:
            if error.errno not in _GONE:  # what is behind a link is not the workspace's
                raise failure_of_os_error(error, os.fsdecode(name)) from error

    def take(self, source: Source) -> None:
        kind, mode, size, mtime, _, _, path_length, target_length = HEADER.unpack(source.exactly(HEADER.size))
        path = source.exactly(_bounded(path_length, _MAX_NAME))
        target = source.exactly(_bounded(target_length, _MAX_NAME))
        parts = _parts(path)
        try:
            if kind == DIRECTORY:
                self._take_directory(path, parts, mode, mtime)
                return
            parent = self._descent.to(parts[:-1], self._enter)
            if kind == FILE:
                status = self._take_file(parent, parts, mode, mtime, size, source)
            elif kind == LINK:
                self._clear(parent, parts)
                os.symlink(target, parts[-1], dir_fd=parent)
                os.utime(parts[-1], ns=(mtime, mtime), dir_fd=parent, follow_symlinks=False)
                status = os.stat(parts[-1], dir_fd=parent, follow_symlinks=False)
            else:
                raise GuestFailure("INVALID_ARGUMENTS", "an archive may hold files, directories and links only")
            self._statuses += STATUS.pack(*_facts(status))
        except OSError as error:
            raise failure_of_os_error(error, os.fsdecode(path)) from error

    def finish(self) -> bytes:
        """Set directory modes and times, innermost first; return every entry's status."""
        for path, mode, mtime, position in reversed(self._directories):
            try:
                fd = self._descent.to(path.split(b"/"))
                os.fchmod(fd, mode & 0o3777)
                os.utime(fd, ns=(mtime, mtime))
            except OSError as error:
                raise failure_of_os_error(error, os.fsdecode(path)) from error
            self._unlocked.pop(path, None)
            STATUS.pack_into(self._statuses, position, *_facts(os.fstat(fd)))
        return bytes(self._statuses)

    def close(self) -> None:
        """Give back what was borrowed, whatever became of the import."""
        for path, mode in sorted(self._unlocked.items(), reverse=True):
            with contextlib.suppress(OSError):  # replaced meanwhile
                os.fchmod(self._descent.to(path.split(b"/")), mode)
        self._descent.close()

    def _take_directory(self, path: bytes, parts: List[bytes], mode: int, mtime: int) -> None:
        parent = self._descent.to(parts[:-1], self._enter)
        with contextlib.suppress(FileExistsError):
            os.mkdir(parts[-1], 0o700, dir_fd=parent)
        self._descent.to(parts, self._enter)
        self._directories.append((path, mode, mtime, len(self._statuses)))
        self._statuses += bytes(STATUS.size)

    def _take_file(
        self, parent: int, parts: List[bytes], mode: int, mtime: int, size: int, source: Source
    ) -> os.stat_result:
        name = written_as = parts[-1]
        try:
            fd = os.open(name, _NEW_FLAGS, 0o600, dir_fd=parent)
        except FileExistsError:
            written_as = (TEMPORARY_PREFIX + os.urandom(8).hex() + TEMPORARY_SUFFIX).encode()
            fd = os.open(written_as, _NEW_FLAGS, 0o600, dir_fd=parent)
        try:
            total = 0
            for piece in _content(source):
                total += len(piece)
                view = memoryview(piece)
                while view:
                    view = view[os.write(fd, view) :]
            if total != size:
                raise GuestFailure("INVALID_ARGUMENTS", "an archive entry of %d bytes holds %d" % (size, total))
            os.fchmod(fd, mode & 0o1777)
            os.utime(fd, ns=(mtime, mtime))
            if written_as is not name:
                self._clear(parent, parts, only_directories=True)
                os.rename(written_as, name, src_dir_fd=parent, dst_dir_fd=parent)
            return os.fstat(fd)
        except BaseException:
            os.unlink(written_as, dir_fd=parent)
            raise
        finally:
            os.close(fd)

    def _enter(self, parent: int, parts: List[bytes], depth: int) -> int:
        """Open a directory, made if missing, writable; a link or file in its place is replaced."""
        name = parts[depth - 1]
        try:
            fd = os.open(name, DIRECTORY_FLAGS, dir_fd=parent)
        except PermissionError:
            self._unlock(os.stat(name, dir_fd=parent, follow_symlinks=False), parts[:depth])
            os.chmod(name, 0o700, dir_fd=parent)
            fd = os.open(name, DIRECTORY_FLAGS, dir_fd=parent)
        except OSError as error:
            if error.errno in _IN_THE_WAY:
                os.unlink(name, dir_fd=parent)
            elif error.errno != errno.ENOENT:
                raise
            os.mkdir(name, dir_fd=parent)
            fd = os.open(name, DIRECTORY_FLAGS, dir_fd=parent)
        status = os.fstat(fd)
        if status.st_mode & 0o700 != 0o700:
            self._unlock(status, parts[:depth])
            os.fchmod(fd, stat.S_IMODE(status.st_mode) | 0o700)
        return fd

    def _unlock(self, status: os.stat_result, parts: List[bytes]) -> None:
        self._unlocked.setdefault(b"/".join(parts), stat.S_IMODE(status.st_mode))

    def _clear(self, parent: int, parts: List[bytes], only_directories: bool = False) -> None:
        """Remove whatever stands at ``parts``."""
        try:
            status = os.stat(parts[-1], dir_fd=parent, follow_symlinks=False)
        except FileNotFoundError:
            return
        if stat.S_ISDIR(status.st_mode) or not only_directories:
            self._descent.forget(parts)
            remove_tree(os.fsdecode(parts[-1]), dir_fd=parent)


def _content(source: Source) -> Iterator[bytes]:
    while True:
        (length,) = LENGTH.unpack(source.exactly(LENGTH.size))
        if not length:
            source.exactly(1)
            return
        yield source.exactly(_bounded(length, _MAX_PIECE))


def _facts(status: os.stat_result) -> Tuple[int, int, int, int, int]:
    mtime, mode = min(status.st_mtime_ns, LATEST_NS), stat.S_IMODE(status.st_mode)
    return status.st_ino, status.st_size, mtime, status.st_ctime_ns, mode
