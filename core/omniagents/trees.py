"""Host side of streamed trees: the guest's archive format, scans and their checks.

What a guest says names files of its own workspace, or is an error: no path from it ever has a
``..`` in it, and nothing is kept without bound.
"""

from __future__ import annotations

import contextlib
import json
import os
import struct
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from omniagents.errors import GuestCallError
from omniagents.guest import archive
from omniagents.listing import Listing
from omniagents.records import ExportedEntry, FileInfo, FileKind, ImportEntry, LeftOut

__all__ = [
    "decode_export",
    "decode_scan",
    "decode_statuses",
    "encode_import",
    "encode_names",
    "file_info",
    "untrusted",
]

_KINDS: tuple[FileKind, ...] = ("file", "directory", "link", "other")
_PROBLEMS = (None, "changed", "vanished", "unreadable")
_MAX_NAME = 1 << 20  # neither depth nor length of a path is limited by what walks the tree
_MAX_LINE = 64 << 20  # a batch of a scan: 1,000 entries
_MAX_ENTRIES = 10_000_000
_MAX_NAMES = 256 << 20  # in all: below directories that are nested deep, few files have very long paths
_PIECE = 1 << 18
_CONTENT = _PIECE - archive.LENGTH.size  # with its length one frame
_NOT_BELOW = frozenset(("", ".", ".."))


@contextlib.contextmanager
def untrusted() -> Iterator[None]:
    """Reading what a guest sent: whatever is wrong with it becomes a ``GuestCallError``."""
    try:
        yield
    except (LookupError, TypeError, ValueError, ArithmeticError, struct.error, RecursionError) as error:
        raise GuestCallError(f"the guest's answer cannot be right: {error!r:.500}", code="INTERNAL") from error


def file_info(fields: Sequence[Any]) -> FileInfo:
    """Check what the guest says of one path; its word is good for its own files only."""
    path, kind, size, mode, mtime_ns, ctime_ns, inode, target = fields
    mtime_ns = min(mtime_ns, archive.LATEST_NS)
    numbers = (size, mode, mtime_ns, ctime_ns, inode)
    if type(inode) is not int or not 0 <= inode < 1 << 64:
        raise TypeError(f"not a file's inode: {fields!r:.200}")
    if kind not in _KINDS or not isinstance(path, str) or not (target is None or isinstance(target, str)):
        raise TypeError(f"not a file's description: {fields!r:.200}")
    if any(type(number) is not int or not -(1 << 63) <= number < 1 << 63 for number in numbers[:-1]) or size < 0:
        raise TypeError(f"not a file's numbers: {fields!r:.200}")
    return FileInfo(path, kind, size, mode & 0o7777, mtime_ns, ctime_ns, inode, target)


def _entry_of_scan(fields: Sequence[Any]) -> FileInfo:
    info = file_info(fields)
    _check_relative(info.path)
    return info


def _check_relative(path: str) -> None:
    """Raise ``ValueError`` unless ``path`` names something below a directory, whatever directory that is."""
    if "\0" in path or not _NOT_BELOW.isdisjoint(path.split("/")):
        raise ValueError(f"not a path below the workspace: {path!r:.200}")
    if not path.isascii():
        os.fsencode(path)  # UnicodeEncodeError: a surrogate that stands for no byte


def decode_scan(pieces: Iterator[bytes], left_out: list[LeftOut]) -> Iterator[FileInfo]:
    """Entries from a scan's stream of JSON lines, each a batch.

    Args:
        left_out: Gets what the scan left out, at the end.

    Raises:
        GuestCallError: The stream is not that, names paths that cannot be in a workspace, or is too large.
    """
    pending, total, names = b"", 0, 0
    with untrusted():
        for piece in pieces:
            *lines, pending = (pending + piece).split(b"\n")
            if len(pending) > _MAX_LINE:
                raise ValueError(f"a scan with a batch of more than {_MAX_LINE} bytes")
            for line in lines:
                batch = json.loads(line)
                rows = batch if isinstance(batch, list) else batch["left_out"]
                total += len(rows)
                names += sum(len(row[0]) + len(row[-1] or "") for row in rows)
                if total > _MAX_ENTRIES or names > _MAX_NAMES:
                    raise GuestCallError(
                        f"the workspace has more than {_MAX_ENTRIES} files or {_MAX_NAMES >> 20} MiB of paths; remove "
                        "some, or what is nested deep",
                        code="FILE_TOO_LARGE",
                    )
                if rows is not batch:
                    left_out.extend(LeftOut(str(path), str(reason)) for path, reason in rows)
                    continue
                yield from map(_entry_of_scan, batch)
        if pending:
            raise ValueError("a scan that ends in the middle of a batch")


def decode_export(pieces: Iterator[bytes], expected: Sequence[str]) -> Iterator[ExportedEntry]:
    """Entries of an export: exactly the ``expected`` paths in their order, or a lying guest.

    Raises:
        GuestCallError: The stream is not what was asked for.
    """
    reader = archive.Source(pieces)
    with untrusted():
        for wanted in expected:
            entry = _entry(reader, wanted)
            yield entry
            for _ in entry.chunks:  # whatever the consumer left
                continue
        if not reader.is_at_end():
            raise ValueError("an export with entries nobody asked for")


def _entry(reader: archive.Source, wanted: str) -> ExportedEntry:
    kind, mode, size, mtime, ctime, inode, path_length, target_length = archive.HEADER.unpack(
        reader.exactly(archive.HEADER.size)
    )
    if max(path_length, target_length) > _MAX_NAME:
        raise ValueError(f"a name of {max(path_length, target_length)} bytes")
    path = os.fsdecode(reader.exactly(path_length))
    target = os.fsdecode(reader.exactly(target_length))
    if path != wanted:
        raise ValueError(f"{path!r:.200} where {wanted!r} was asked for")
    if size < 0:
        raise ValueError(f"{path!r}: {size} bytes")
    info = FileInfo(
        path, _KINDS[kind], size, mode & 0o7777, mtime, ctime, inode, target if kind == archive.LINK else None
    )
    entry = ExportedEntry(info, iter(()))
    if kind == archive.FILE:
        entry.chunks = _chunks(reader, entry, size)
    return entry


def _chunks(reader: archive.Source, entry: ExportedEntry, size: int) -> Iterator[bytes]:
    # The consumer runs this generator, so its errors do not pass through decode_export.
    with untrusted():
        yield from _checked_chunks(reader, entry, size)


def _checked_chunks(reader: archive.Source, entry: ExportedEntry, size: int) -> Iterator[bytes]:
    total = 0
    while True:
        (length,) = archive.LENGTH.unpack(reader.exactly(archive.LENGTH.size))
        if not length:
            break
        total += length
        if length > _PIECE or total > size:
            raise ValueError(f"{entry.info.path!r}: more content than the {size} bytes stated")
        yield reader.exactly(length)
    problem = reader.exactly(1)[0]
    entry.problem = _PROBLEMS[problem]
    if problem == archive.CONSISTENT and total != size:
        raise ValueError(f"{entry.info.path!r}: {total} bytes where {size} were stated")


def encode_names(paths: Iterable[str]) -> bytes:
    """Paths as one payload, NUL between them."""
    names = [os.fsencode(path) for path in paths]
    if any(b"\0" in name or not name for name in names):
        raise ValueError("a path is not empty and has no NUL character")
    return b"\0".join(names)


def encode_import(entries: Iterable[ImportEntry], remove: Sequence[str], send: Callable[[bytes], bool]) -> bool:
    """Send the stream of an import in pieces; False, and no more is read, once ``send`` finds that the call ended."""
    names = encode_names(remove)
    pending: list[bytes | memoryview] = [archive.LENGTH.pack(len(names)), names]
    size = sum(map(len, pending))
    for entry in entries:
        for part in _encoded(entry):
            if size + len(part) > _PIECE:
                if not send(b"".join(pending)):
                    return False
                pending, size = [], 0
            pending.append(part)
            size += len(part)
    return send(b"".join(pending))


def _encoded(entry: ImportEntry) -> Iterator[bytes | memoryview]:
    info = entry.info
    path, target = os.fsencode(info.path), os.fsencode(info.target or "")
    kind = _KINDS.index(info.kind)
    yield archive.HEADER.pack(kind, info.mode, info.size, info.mtime_ns, 0, 0, len(path), len(target)) + path + target
    if info.kind != "file":
        return
    for chunk in entry.chunks:
        view = memoryview(chunk)
        for start in range(0, len(chunk), _CONTENT):
            piece = view[start : start + _CONTENT]
            yield archive.LENGTH.pack(len(piece))
            yield piece
    yield archive.LENGTH.pack(0) + b"\0"


def decode_statuses(data: bytes, entries: Listing) -> Listing:
    """What ``import`` says of each entry it made."""
    if len(data) != archive.STATUS.size * len(entries):
        raise GuestCallError("the guest answered for another number of entries than it was sent", code="INTERNAL")
    found = Listing()
    with untrusted():
        for info, (inode, size, mtime, ctime, mode) in zip(entries, archive.STATUS.iter_unpack(data), strict=True):
            found.add(info.path, info.kind, size, mode & 0o7777, mtime, ctime, inode, info.target)
    return found
