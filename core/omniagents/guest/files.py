"""Plain file operations: what the product's own code asks of a workspace."""

from __future__ import annotations

import errno
import json
import os
import stat
from typing import Any, Dict, List

from . import storing
from .context import CallCancelled, Context, Reply
from .failure import GuestFailure, failure_of_os_error
from .removal import remove_tree
from .root import TEMPORARY_PREFIX, TEMPORARY_SUFFIX, Root, display

__all__ = [
    "MAX_READ_BYTES",
    "describe",
    "exists",
    "list_entries",
    "make_dir",
    "move",
    "read",
    "realpath",
    "remove",
    "stat_",
    "write",
]

MAX_READ_BYTES = 1 << 30  # without a limit; whoever wants more asks for parts, or exports


def describe(path: str, status: os.stat_result, resolved: str) -> List[Any]:
    """``status`` as the list that the host's FileInfo is made of."""
    mode = status.st_mode
    if stat.S_ISREG(mode):
        kind = "file"
    elif stat.S_ISDIR(mode):
        kind = "directory"
    elif stat.S_ISLNK(mode):
        kind = "link"
    else:
        kind = "other"
    target = os.readlink(resolved) if kind == "link" else None
    return [
        path, kind, status.st_size, stat.S_IMODE(mode), status.st_mtime_ns, status.st_ctime_ns, status.st_ino, target,
    ]  # fmt: skip


def stat_(context: Context, arguments: Dict[str, Any]) -> Reply:
    named = arguments["path"]
    resolved = context.root.resolve(named, arguments.get("outside", False), arguments.get("follow", True))
    return {"info": _lstat(context.root, resolved, named)}, b""


def exists(context: Context, arguments: Dict[str, Any]) -> Reply:
    try:
        resolved = context.root.resolve(arguments["path"], arguments.get("outside", False))
    except GuestFailure as failure:
        if failure.error_number in (errno.ENOTDIR, errno.ELOOP):
            return {"exists": False}, b""
        raise
    return {"exists": os.path.lexists(resolved)}, b""


def list_entries(context: Context, arguments: Dict[str, Any]) -> Reply:
    """The entries of one directory as JSON in the payload: however many there are, a header stays small."""
    named = arguments["path"]
    resolved = context.root.resolve(named, arguments.get("outside", False))
    found = []
    try:
        with os.scandir(resolved) as entries:
            for entry in entries:
                try:
                    status = entry.stat(follow_symlinks=False)
                    found.append(describe(context.root.relative(entry.path), status, entry.path))
                except FileNotFoundError:
                    continue  # removed while we looked
    except OSError as error:
        raise failure_of_os_error(error, named) from error
    found.sort(key=lambda info: os.fsencode(info[0]))
    return {}, json.dumps(found).encode()


def realpath(context: Context, arguments: Dict[str, Any]) -> Reply:
    resolved = context.root.resolve(arguments["path"], arguments.get("outside", False))
    return {"path": context.root.relative(resolved), "absolute": resolved}, b""


def read(context: Context, arguments: Dict[str, Any]) -> Reply:
    """A regular file's bytes from ``offset``, at most ``limit``; sent in pieces, so any size is bounded here."""
    named, limit = arguments["path"], arguments.get("limit")
    resolved = context.root.resolve(named, arguments.get("outside", False))
    offset = arguments.get("offset", 0)
    fd = _open_regular(resolved, named)
    try:
        if limit is None and os.fstat(fd).st_size - offset > MAX_READ_BYTES:
            raise _too_large(named)
        os.lseek(fd, offset, os.SEEK_SET)
        left = limit if limit is not None else MAX_READ_BYTES
        previous = b""
        while left:
            piece = os.read(fd, min(left, 1 << 18))
            if not piece:
                break
            if previous:
                context.call.send(previous)
            previous = piece
            left -= len(piece)
        if limit is None and not left and os.read(fd, 1):
            raise _too_large(named)
        return {"info": describe(context.root.relative(resolved), os.fstat(fd), resolved)}, previous
    except OSError as error:
        raise failure_of_os_error(error, named) from error
    finally:
        os.close(fd)


def _too_large(named: str) -> GuestFailure:
    message = "%s has more than %d bytes; read it in parts, with offset and limit" % (display(named), MAX_READ_BYTES)
    return GuestFailure("FILE_TOO_LARGE", message, path=named, error_number=errno.EFBIG)


def _open_regular(resolved: str, named: str) -> int:
    try:
        # Not blocking, so that a FIFO without a writer cannot hold the call.
        fd = os.open(resolved, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    except OSError as error:
        raise failure_of_os_error(error, named) from error
    mode = os.fstat(fd).st_mode
    if stat.S_ISREG(mode):
        return fd
    os.close(fd)
    if stat.S_ISDIR(mode):
        raise failure_of_os_error(IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR)), named)
    raise GuestFailure(
        "NOT_A_REGULAR_FILE", "%s is not a regular file" % display(named), path=named, error_number=errno.ENXIO
    )


def write(context: Context, arguments: Dict[str, Any]) -> Reply:
    named = arguments["path"]
    resolved = context.root.resolve(named, arguments.get("outside", False))

    def arriving() -> Any:
        while True:
            piece = context.call.receive()
            if not piece:
                return
            yield piece

    with context.locks.holding(resolved):
        status = storing.store(
            resolved,
            arriving(),
            expected=arguments.get("expected"),
            mode=arguments.get("mode"),
            make_parents=arguments.get("make_parents", True),
            named=named,
            outside=arguments.get("outside", False),
        )
    return {"info": describe(context.root.relative(resolved), status, resolved)}, b""


def make_dir(context: Context, arguments: Dict[str, Any]) -> Reply:
    named = arguments["path"]
    resolved = context.root.resolve(named, arguments.get("outside", False))
    try:
        os.makedirs(resolved, exist_ok=True)
    except FileExistsError as error:
        raise GuestFailure(
            "FILE_EXISTS", "%s is a file" % display(named), path=named, error_number=errno.EEXIST
        ) from error
    except OSError as error:
        raise failure_of_os_error(error, named) from error
    return {"info": _lstat(context.root, resolved, named)}, b""


def move(context: Context, arguments: Dict[str, Any]) -> Reply:
    """Rename within the environment; an existing file at the new place is replaced."""
    outside = arguments.get("outside", False)
    source = context.root.resolve(arguments["path"], outside, follow_last=False)
    target = context.root.resolve(arguments["to"], outside, follow_last=False)
    _refuse_root(context.root, source, arguments["path"])
    try:
        os.makedirs(os.path.dirname(target), exist_ok=True)
        _rename(source, target)
    except OSError as error:
        raise failure_of_os_error(error, error.filename and arguments["path"]) from error
    return {"info": _lstat(context.root, target, arguments["to"])}, b""


def _rename(source: str, target: str) -> None:
    try:
        os.rename(source, target)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        _move_across(source, target)


def _move_across(source: str, target: str) -> None:
    """To another file system: copied beside the target, which still changes in one step, then removed."""
    import shutil  # few environments have more than one file system that matters

    beside = "%s%s%s" % (TEMPORARY_PREFIX, os.urandom(8).hex(), TEMPORARY_SUFFIX)
    copy = os.path.join(os.path.dirname(target), beside)
    try:
        if os.path.isdir(source) and not os.path.islink(source):
            shutil.copytree(source, copy, symlinks=True)
        else:
            shutil.copy2(source, copy, follow_symlinks=False)
        os.rename(copy, target)
    except BaseException:
        if os.path.lexists(copy):
            remove_tree(copy)
        raise
    remove_tree(source)


def remove(context: Context, arguments: Dict[str, Any]) -> Reply:
    """Remove files, links (not what they point to) and directories with everything below."""
    outside = arguments.get("outside", False)
    removed = 0
    for named in arguments["paths"]:
        if context.call.cancelled.is_set():
            raise CallCancelled
        resolved = context.root.resolve(named, outside, follow_last=False)
        _refuse_root(context.root, resolved, named)
        try:
            remove_tree(resolved)
            removed += 1
        except FileNotFoundError as error:
            if not arguments.get("missing_ok", False):
                raise failure_of_os_error(error, named) from error
        except OSError as error:
            raise failure_of_os_error(error, named) from error
    return {"removed": removed}, b""


def _refuse_root(root: Root, resolved: str, named: str) -> None:
    if resolved == root.path:
        raise GuestFailure(
            "INVALID_ARGUMENTS", "%s is the workspace itself" % display(named), path=named, error_number=errno.EINVAL
        )


def _lstat(root: Root, resolved: str, named: str) -> List[Any]:
    try:
        return describe(root.relative(resolved), os.lstat(resolved), resolved)
    except OSError as error:
        raise failure_of_os_error(error, named) from error
