"""The one way a file's content is written: compare-and-swap, atomic, with mode and owner kept."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from typing import Iterable, Iterator, List, NamedTuple, Tuple

from .failure import GuestFailure, failure_of_os_error
from .root import TEMPORARY_PREFIX, TEMPORARY_SUFFIX, display

__all__ = ["ABSENT", "digest", "read_stored", "store"]

#: What ``expected`` says when there must be no file yet.
ABSENT = "absent"

_PIECE_BYTES = 1 << 20
_RESTORABLE_BYTES = 64 << 20  # old content kept in memory while a file is written in place
_READ_FLAGS = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY
_OWNER_NOT_OURS = (errno.EPERM, errno.EACCES, errno.EINVAL)
# EBUSY: the file itself is a mount point (Docker's /etc/hosts); EPERM: a sticky directory (rename(2)).
_CANNOT_BE_REPLACED = (errno.EBUSY, errno.EXDEV, errno.EPERM, errno.EACCES)


def store(
    resolved: str,
    content: bytes | Iterable[bytes],
    *,
    expected: str | None = None,
    mode: int | None = None,
    make_parents: bool = True,
    named: str | None = None,
    outside: bool = False,
) -> os.stat_result:
    """Make ``content`` the whole content of a regular file, or change nothing.

    The content goes to a temporary file beside the target, which is then renamed over it. Where that would
    lose a hard link or the owner, or the directory cannot be written to, the file is written in place; old
    content up to 64 MiB is then put back if the writing fails. Nothing is flushed to the disk.

    Args:
        resolved: From ``Root.resolve``; call this under ``context.locks.holding(resolved)``.
        content: Pieces are taken one at a time; what their iterator raises passes through.
        expected: SHA-256 in hexadecimal of the content that must be there now, or ``"absent"``; None for whatever.
        mode: Permission bits to set. None keeps those of the old file; a new one gets 0o666 less the umask.
        make_parents: Create missing directories above; those created are removed again if the writing fails.
        named: The name the caller used, for messages.
        outside: The file may be outside the workspace, where systems have directories that root alone writes to.

    Returns:
        The status of the written file.

    Raises:
        GuestFailure: ``WRITE_CONFLICT``, ``IS_A_DIRECTORY``, ``NOT_A_DIRECTORY``, ``NOT_A_REGULAR_FILE``,
            ``PERMISSION_DENIED`` (also for a file, or the directory of a new one, without any write permission when
            we are root, so that every environment answers alike), ``NO_SPACE``, ``INVALID_ARGUMENTS`` (name too
            long), ``FILE_NOT_FOUND``.
    """
    name = resolved if named is None else named
    pieces = iter((content,) if isinstance(content, bytes) else content)
    try:
        current = _writable_status(resolved, name)
        _compare(resolved, current, expected, name)
        if current is None and not outside:
            _refuse_closed(os.path.dirname(resolved))
        created = _make_parents(os.path.dirname(resolved)) if make_parents and current is None else []
        try:
            return _replace(_Target(resolved, name, current, expected, mode), pieces)
        except BaseException:
            _remove_directories(created)
            raise
    except OSError as error:
        raise _refusal(error, name) from error


def read_stored(
    resolved: str, named: str | None = None, *, max_bytes: int | None = None
) -> Tuple[bytes, os.stat_result]:
    """The content of a regular file and its status; never blocks on a FIFO and never follows a link.

    Raises:
        GuestFailure: ``FILE_NOT_FOUND``, ``IS_A_DIRECTORY``, ``NOT_A_DIRECTORY``, ``NOT_A_REGULAR_FILE``,
            ``PERMISSION_DENIED`` (also to root, for a file that nobody may read); ``FILE_TOO_LARGE`` above
            ``max_bytes``.
    """
    name = resolved if named is None else named
    try:
        _require_regular(os.lstat(resolved), name)
        descriptor = os.open(resolved, _READ_FLAGS)
        try:
            status = os.fstat(descriptor)
            _require_regular(status, name)
            if not status.st_mode & 0o444:  # root may read anything, and is refused what is refused to everybody
                raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
            return b"".join(_pieces_of(descriptor, status.st_size, max_bytes, name)), status
        finally:
            os.close(descriptor)
    except OSError as error:
        raise _refusal(error, name) from error


def digest(content: bytes) -> str:
    """What ``expected`` is compared with: SHA-256 in hexadecimal."""
    import hashlib

    return hashlib.sha256(content).hexdigest()


def _writable_status(resolved: str, name: str) -> os.stat_result | None:
    try:
        status = os.lstat(resolved)
    except FileNotFoundError:
        return None
    _require_regular(status, name)
    # Root may write to anything; a file that nobody has the right to write is refused to root as well.
    if not status.st_mode & 0o222 or not os.access(
        resolved, os.W_OK, effective_ids=os.access in os.supports_effective_ids
    ):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
    return status


def _require_regular(status: os.stat_result, name: str) -> None:
    if stat.S_ISREG(status.st_mode):
        return
    if stat.S_ISDIR(status.st_mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
    kinds = {stat.S_IFIFO: "a FIFO", stat.S_IFSOCK: "a socket", stat.S_IFLNK: "a symbolic link"}
    kind = kinds.get(stat.S_IFMT(status.st_mode), "a device")
    raise GuestFailure(
        "NOT_A_REGULAR_FILE",
        "%s is %s, not a regular file; name another file" % (display(name), kind),
        path=name,
        error_number=errno.ELOOP if stat.S_ISLNK(status.st_mode) else errno.ENXIO,
    )


def _compare(resolved: str, current: os.stat_result | None, expected: str | None, name: str) -> None:
    if expected is None or (expected == ABSENT and current is None):
        return
    if expected == ABSENT:
        raise _conflict("%s exists already", name)
    if current is None:
        raise _conflict("%s does not exist any more", name)
    if _digest_of_file(resolved) != expected:
        raise _conflict("%s was changed by someone else", name)


def _conflict(what: str, name: str) -> GuestFailure:
    message = (what % display(name)) + "; nothing was written. Read it again, then repeat the change"
    return GuestFailure("WRITE_CONFLICT", message, path=name)


def _digest_of_file(resolved: str) -> str:
    import hashlib

    state = hashlib.sha256()
    descriptor = os.open(resolved, _READ_FLAGS)
    try:
        for piece in _read_pieces(descriptor):
            state.update(piece)
    finally:
        os.close(descriptor)
    return state.hexdigest()


def _pieces_of(descriptor: int, size: int, max_bytes: int | None, name: str) -> Iterator[bytes]:
    total = 0
    while max_bytes is None or max(size, total) <= max_bytes:
        piece = os.read(descriptor, _PIECE_BYTES)
        if not piece:
            return
        total += len(piece)
        yield piece
    raise GuestFailure(
        "FILE_TOO_LARGE",
        "{} has {:,} bytes; files up to {:,} bytes can be changed here. "
        "Use run_shell_command (sed, python) instead".format(display(name), max(size, total), max_bytes),
        path=name,
        error_number=errno.EFBIG,
    )


def _refuse_closed(directory: str) -> None:
    """Root may create files anywhere; where nobody has the right to, root is refused as well."""
    while not os.path.lexists(directory):
        directory = os.path.dirname(directory)
    mode = os.stat(directory).st_mode
    if stat.S_ISDIR(mode) and not mode & 0o222:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))


def _make_parents(directory: str) -> List[str]:
    missing: List[str] = []
    while not os.path.lexists(directory):
        missing.append(directory)
        directory = os.path.dirname(directory)
    created: List[str] = []
    try:
        for path in reversed(missing):
            with contextlib.suppress(FileExistsError):
                os.mkdir(path)
                created.append(path)
    except OSError:
        _remove_directories(created)
        raise
    return created


def _remove_directories(created: List[str]) -> None:
    # Another call may have put a file there meanwhile: then the directory stays.
    with contextlib.suppress(OSError):
        for path in reversed(created):
            os.rmdir(path)


class _Target(NamedTuple):
    resolved: str
    name: str
    current: os.stat_result | None
    expected: str | None
    mode: int | None


def _replace(target: _Target, pieces: Iterator[bytes]) -> os.stat_result:
    current = target.current
    if current is not None and current.st_nlink > 1:
        return _overwrite(target, pieces)
    try:
        descriptor, temporary = _create_beside(target.resolved, current)
    except PermissionError:
        if current is None:
            raise
        return _overwrite(target, pieces)
    try:
        if current is not None and not _give_to(descriptor, current):
            return _overwrite(target, pieces)
        _write_pieces(descriptor, pieces)
        bits = stat.S_IMODE(current.st_mode) if target.mode is None and current is not None else target.mode
        if bits is not None:
            os.fchmod(descriptor, bits)
        return _publish(target, descriptor, temporary)
    finally:
        os.close(descriptor)
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary)


def _create_beside(resolved: str, current: os.stat_result | None) -> Tuple[int, str]:
    flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
    # The kernel takes the umask off; content of an existing, perhaps private, file is never shown to others.
    bits = 0o666 if current is None else 0o600
    while True:
        token = os.urandom(8).hex()
        path = os.path.join(os.path.dirname(resolved), TEMPORARY_PREFIX + token + TEMPORARY_SUFFIX)
        try:
            return os.open(path, flags, bits), path
        except FileExistsError:
            continue


def _give_to(descriptor: int, current: os.stat_result) -> bool:
    """Whether the new file could be given the old one's owner and group."""
    mine = os.fstat(descriptor)
    if (mine.st_uid, mine.st_gid) == (current.st_uid, current.st_gid):
        return True
    try:
        os.fchown(descriptor, current.st_uid, current.st_gid)
    except OSError as error:
        if error.errno in _OWNER_NOT_OURS:
            return False
        raise
    return True


def _publish(target: _Target, descriptor: int, temporary: str) -> os.stat_result:
    if target.expected == ABSENT and _link_new(temporary, target):
        return os.fstat(descriptor)
    if target.expected is not None and not _is_still(target.resolved, target.current):
        raise _conflict("%s was changed by someone else", target.name)
    try:
        os.rename(temporary, target.resolved)
    except OSError as error:
        if target.current is None or error.errno not in _CANNOT_BE_REPLACED:
            raise
        os.lseek(descriptor, 0, os.SEEK_SET)
        return _overwrite(target, _read_pieces(descriptor))
    return os.fstat(descriptor)


def _link_new(temporary: str, target: _Target) -> bool:
    """Give the file its name unless the name is taken, which rename cannot do; False where links are not supported."""
    try:
        os.link(temporary, target.resolved)
    except FileExistsError:
        raise _conflict("%s exists already", target.name) from None
    except OSError:
        return False
    os.unlink(temporary)
    return True


def _is_still(resolved: str, current: os.stat_result | None) -> bool:
    try:
        now = os.lstat(resolved)
    except FileNotFoundError:
        return current is None
    return current is not None and (now.st_ino, now.st_size, now.st_mtime_ns) == (
        current.st_ino,
        current.st_size,
        current.st_mtime_ns,
    )


def _overwrite(target: _Target, pieces: Iterator[bytes]) -> os.stat_result:
    descriptor = os.open(target.resolved, os.O_RDWR | os.O_NOFOLLOW)
    try:
        is_restorable = os.fstat(descriptor).st_size <= _RESTORABLE_BYTES
        old = b"".join(_read_pieces(descriptor)) if is_restorable else None
        try:
            _rewrite(descriptor, pieces)
        except BaseException:
            if old is not None:
                # The blocks under the old content are still the file's own, so this works on a full disk.
                _rewrite(descriptor, iter((old,)))
            raise
        if target.mode is not None:
            os.fchmod(descriptor, target.mode)
        return os.fstat(descriptor)
    finally:
        os.close(descriptor)


def _rewrite(descriptor: int, pieces: Iterator[bytes]) -> None:
    os.lseek(descriptor, 0, os.SEEK_SET)
    os.ftruncate(descriptor, _write_pieces(descriptor, pieces))


def _read_pieces(descriptor: int) -> Iterator[bytes]:
    return iter(lambda: os.read(descriptor, _PIECE_BYTES), b"")


def _write_pieces(descriptor: int, pieces: Iterator[bytes]) -> int:
    total = 0
    for piece in pieces:
        view = memoryview(piece)
        total += len(view)
        while view:
            view = view[os.write(descriptor, view) :]
    return total


def _refusal(error: OSError, name: str) -> GuestFailure:
    shown, number = display(name), error.errno or 0
    code = failure_of_os_error(error, name).code
    cures = {
        "FILE_NOT_FOUND": "%s does not exist; list its directory to see what does" % shown,
        "FILE_TOO_LARGE": "%s would become larger than the environment allows; the file is untouched" % shown,
        "IS_A_DIRECTORY": "%s is a directory; name a file inside it" % shown,
        "NOT_A_DIRECTORY": "%s: a file stands where a directory is needed; choose another path" % shown,
        "NO_SPACE": "%s: the disk is full; the file is untouched. Remove what is not needed, then try again" % shown,
        "PERMISSION_DENIED": "%s: permission denied. If it is meant to be changed, use run_shell_command "
        "with `chmod u+w` first (on a new file's directory, if it is a new file)" % shown,
    }
    if number == errno.ENAMETOOLONG:
        message = "%s…: the name is too long; use at most 255 bytes a name and 4,095 a path" % shown[:80]
    elif code in cures:
        message = cures[code]
    else:
        return failure_of_os_error(error, name)
    return GuestFailure(code, message, path=name, error_number=number)
