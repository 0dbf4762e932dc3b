"""Whole trees as one stream of bytes, in both directions; any number of files is one request.

An entry is a fixed header (``HEADER``: kind, mode, size, mtime, ctime, inode, lengths of path and
link target), the path, the target, and for a file its content in pieces, each behind its length,
ended by a zero length and one byte that says whether the copy is consistent. The host speaks the
same format (``connection.archive``); what it sends is trusted no more than a stored tree may be.
"""

from __future__ import annotations

import errno
import os
import stat
import struct
from typing import Any, Callable, Dict, Iterator, List, Tuple

from .context import Context, Reply
from .failure import GuestFailure, failure_of_os_error
from .removal import remove_tree
from .root import TEMPORARY_PREFIX, TEMPORARY_SUFFIX, Root, display

__all__ = [
    "CHANGED",
    "CONSISTENT",
    "DIRECTORY",
    "FILE",
    "HEADER",
    "LENGTH",
    "LINK",
    "OTHER",
    "STATUS",
    "UNREADABLE",
    "VANISHED",
    "export",
    "import_",
]

HEADER = struct.Struct(">BIqqqQII")
LENGTH = struct.Struct(">I")
STATUS = struct.Struct(">QqqqI")  # what import answers for each entry: inode, size, mtime, ctime, mode

FILE, DIRECTORY, LINK, OTHER = range(4)
CONSISTENT, CHANGED, VANISHED, UNREADABLE = range(4)

_PIECE = 1 << 18
_BATCH = 1 << 18
_OPEN_DIRECTORIES = 64
_FILE_FLAGS = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
_NEW_FLAGS = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_DIRECTORY_FLAGS = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


def export(context: Context, arguments: Dict[str, Any]) -> Reply:
    """Stream the entries named in the payload (NUL-separated, relative), in that order, links not followed."""
    names = context.call.receive_all()
    out = _Batch(context.call.send)
    for name in names.split(b"\0") if names else []:
        _export_one(context.root, os.fsdecode(name), out)
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


def _export_one(root: Root, name: str, out: _Batch) -> None:
    path = root.path + "/" + name
    raw = os.fsencode(name)
    try:
        status = os.lstat(path)
    except OSError as error:
        is_gone = error.errno in (errno.ENOENT, errno.ENOTDIR)
        out.add(HEADER.pack(FILE, 0, 0, 0, 0, 0, len(raw), 0), raw, _end(VANISHED if is_gone else UNREADABLE))
        return
    if stat.S_ISREG(status.st_mode):
        _export_file(path, raw, status, out)
        return
    target = b""
    kind = DIRECTORY if stat.S_ISDIR(status.st_mode) else OTHER
    if stat.S_ISLNK(status.st_mode):
        kind, target = LINK, os.readlink(os.fsencode(path))
    out.add(_header(kind, status, raw, target), raw, target)


def _export_file(path: str, raw: bytes, status: os.stat_result, out: _Batch) -> None:
    try:
        fd = os.open(path, _FILE_FLAGS)
    except OSError as error:
        problem = VANISHED if error.errno == errno.ENOENT else UNREADABLE
        out.add(_header(FILE, status, raw, b""), raw, _end(problem))
        return
    try:
        before = os.fstat(fd)
        out.add(_header(FILE, before, raw, b""), raw)
        problem, total = CONSISTENT, 0
        while True:
            # One byte more than is left shows the end without a further call for small files.
            piece = os.read(fd, min(_PIECE, max(before.st_size - total + 1, 1)))
            if not piece:
                break
            total += len(piece)
            if total > before.st_size:
                problem = CHANGED
                break
            out.add(LENGTH.pack(len(piece)), piece)
            if total == before.st_size and len(piece) < _PIECE:
                break
        after = os.fstat(fd)
        if total != before.st_size or _moved(before, after):
            problem = CHANGED
    except OSError:
        problem = UNREADABLE
    finally:
        os.close(fd)
    out.add(_end(problem))


def _moved(before: os.stat_result, after: os.stat_result) -> bool:
    return (before.st_size, before.st_mtime_ns, before.st_ctime_ns) != (
        after.st_size, after.st_mtime_ns, after.st_ctime_ns,
    )  # fmt: skip


def _header(kind: int, status: os.stat_result, path: bytes, target: bytes) -> bytes:
    return HEADER.pack(
        kind, stat.S_IMODE(status.st_mode), status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino,
        len(path), len(target),
    )  # fmt: skip


def _end(problem: int) -> bytes:
    return LENGTH.pack(0) + bytes((problem,))


class _Source:
    """Exact reads from a call's input."""

    def __init__(self, receive: Callable[[], bytes]) -> None:
        self._receive = receive
        self._buffer = b""
        self._position = 0

    def exactly(self, count: int) -> bytes:
        available = len(self._buffer) - self._position
        if available < count:
            parts, missing = [self._buffer[self._position :]], count - available
            while missing > 0:
                piece = self._receive()
                if not piece:
                    raise GuestFailure("INVALID_ARGUMENTS", "the archive ends in the middle of an entry")
                parts.append(piece)
                missing -= len(piece)
            self._buffer, self._position = b"".join(parts), 0
        start = self._position
        self._position += count
        return self._buffer[start : self._position]

    def is_at_end(self) -> bool:
        if self._position == len(self._buffer):
            self._buffer, self._position = self._receive(), 0
        return not self._buffer


def import_(context: Context, arguments: Dict[str, Any]) -> Reply:
    """Remove what the stream's first part names, then create its entries.

    What stands in the way of an entry is replaced. Nothing is written through a link: parents are
    opened one by one without following. Ownership is the guest's; set-id bits of files are dropped.
    Answers one ``STATUS`` for each entry, in order.
    """
    source = _Source(context.call.receive)
    (length,) = LENGTH.unpack(source.exactly(LENGTH.size))
    removals = source.exactly(length)
    for name in removals.split(b"\0") if removals else []:
        _remove(context.root, _parts(name))
    importer = _Importer(context.root)
    try:
        while not source.is_at_end():
            importer.take(source)
        statuses = importer.finish()
    finally:
        importer.close()
    context.call.send(statuses)
    return {"entries": len(statuses) // STATUS.size}, b""


def _parts(name: bytes) -> List[bytes]:
    parts = name.split(b"/")
    if not name or any(part in (b"", b".", b"..") for part in parts) or b"\0" in name:
        raise GuestFailure("PATH_OUTSIDE_WORKSPACE", "an archive may not name %s" % display(os.fsdecode(name)))
    return parts


def _remove(root: Root, parts: List[bytes]) -> None:
    path = root.path
    for part in parts[:-1]:
        path = path + "/" + os.fsdecode(part)
        if os.path.islink(path):
            return  # what is behind a link is not the workspace's
    try:
        remove_tree(path + "/" + os.fsdecode(parts[-1]))
    except (FileNotFoundError, NotADirectoryError):
        return  # gone already


class _Importer:
    """Creates entries below the workspace; directory times and modes come last, when nothing moves them any more."""

    def __init__(self, root: Root) -> None:
        self._path = root.path
        self._root_fd = os.open(root.path, _DIRECTORY_FLAGS)
        self._open: Dict[Tuple[bytes, ...], int] = {}
        self._statuses = bytearray()
        self._directories: List[Tuple[Tuple[bytes, ...], int, int, int]] = []
        self._unlocked: Dict[Tuple[bytes, ...], int] = {}

    def take(self, source: _Source) -> None:
        kind, mode, size, mtime, _, _, path_length, target_length = HEADER.unpack(source.exactly(HEADER.size))
        path = source.exactly(path_length)
        target = source.exactly(target_length)
        parts = _parts(path)
        try:
            parent = self._directory(tuple(parts[:-1]))
            name = parts[-1]
            if kind == DIRECTORY:
                self._take_directory(parent, tuple(parts), mode, mtime)
                return
            if kind == LINK:
                self._clear(tuple(parts), parent)
                os.symlink(target, name, dir_fd=parent)
                os.utime(name, ns=(mtime, mtime), dir_fd=parent, follow_symlinks=False)
            elif kind == FILE:
                self._take_file(parent, tuple(parts), mode, mtime, size, source)
            else:
                raise GuestFailure("INVALID_ARGUMENTS", "an archive may hold files, directories and links only")
            self._note(os.stat(name, dir_fd=parent, follow_symlinks=False))
        except OSError as error:
            raise failure_of_os_error(error, os.fsdecode(path)) from error

    def finish(self) -> bytes:
        """Set directory modes and times, innermost first; return every entry's status."""
        for parts, mode, mtime, position in reversed(self._directories):
            fd = self._directory(parts)
            os.fchmod(fd, mode & 0o3777)
            os.utime(fd, ns=(mtime, mtime))
            self._unlocked.pop(parts, None)
            STATUS.pack_into(self._statuses, position, *_facts(os.fstat(fd)))
        for parts, mode in sorted(self._unlocked.items(), reverse=True):
            os.fchmod(self._directory(parts), mode)
        return bytes(self._statuses)

    def close(self) -> None:
        for fd in (*self._open.values(), self._root_fd):
            os.close(fd)

    def _note(self, status: os.stat_result) -> None:
        self._statuses += STATUS.pack(*_facts(status))

    def _take_directory(self, parent: int, parts: Tuple[bytes, ...], mode: int, mtime: int) -> None:
        self._make_directory(parent, parts)
        self._directories.append((parts, mode, mtime, len(self._statuses)))
        self._statuses += bytes(STATUS.size)

    def _take_file(
        self, parent: int, parts: Tuple[bytes, ...], mode: int, mtime: int, size: int, source: _Source
    ) -> None:
        name = parts[-1]
        temporary = os.fsencode(TEMPORARY_PREFIX + os.urandom(8).hex() + TEMPORARY_SUFFIX)
        try:
            fd, written_as = os.open(name, _NEW_FLAGS, 0o600, dir_fd=parent), name
        except FileExistsError:
            fd, written_as = os.open(temporary, _NEW_FLAGS, 0o600, dir_fd=parent), temporary
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
        except BaseException:
            os.unlink(written_as, dir_fd=parent)
            raise
        finally:
            os.close(fd)
        if written_as is temporary:
            if stat.S_ISDIR(os.stat(name, dir_fd=parent, follow_symlinks=False).st_mode):
                self._clear(parts, parent)
            os.rename(temporary, name, src_dir_fd=parent, dst_dir_fd=parent)

    def _directory(self, parts: Tuple[bytes, ...]) -> int:
        """A descriptor of the directory at ``parts``, made if missing; links and files in the way are replaced."""
        if not parts:
            return self._root_fd
        if parts in self._open:
            return self._open[parts]
        parent = self._directory(parts[:-1])
        self._make_directory(parent, parts)
        fd = os.open(parts[-1], _DIRECTORY_FLAGS, dir_fd=parent)
        if len(self._open) >= _OPEN_DIRECTORIES:
            # The deepest are not the parents of anything else that is open and in use.
            oldest = next(key for key in self._open if key != parts[: len(key)])
            os.close(self._open.pop(oldest))
        self._open[parts] = fd
        return fd

    def _make_directory(self, parent: int, parts: Tuple[bytes, ...]) -> None:
        name = parts[-1]
        try:
            os.mkdir(name, 0o700, dir_fd=parent)
            return
        except FileExistsError:
            status = os.stat(name, dir_fd=parent, follow_symlinks=False)
        if not stat.S_ISDIR(status.st_mode):
            os.unlink(name, dir_fd=parent)
            os.mkdir(name, 0o700, dir_fd=parent)
        elif status.st_mode & 0o700 != 0o700:
            self._unlocked.setdefault(parts, stat.S_IMODE(status.st_mode))
            os.chmod(name, status.st_mode | 0o700, dir_fd=parent)

    def _clear(self, parts: Tuple[bytes, ...], parent: int) -> None:
        """Remove whatever stands at ``parts``."""
        name = parts[-1]
        try:
            status = os.stat(name, dir_fd=parent, follow_symlinks=False)
        except FileNotFoundError:
            return
        if not stat.S_ISDIR(status.st_mode):
            os.unlink(name, dir_fd=parent)
            return
        for key in [key for key in self._open if key[: len(parts)] == parts]:
            os.close(self._open.pop(key))
        remove_tree(self._path + "/" + os.fsdecode(b"/".join(parts)))


def _content(source: _Source) -> Iterator[bytes]:
    while True:
        (length,) = LENGTH.unpack(source.exactly(LENGTH.size))
        if not length:
            source.exactly(1)
            return
        if length > 1 << 24:
            raise GuestFailure("INVALID_ARGUMENTS", "an archive piece of %d bytes" % length)
        yield source.exactly(length)


def _facts(status: os.stat_result) -> Tuple[int, int, int, int, int]:
    return status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns, stat.S_IMODE(status.st_mode)
