"""A snapshot as a tar archive, streamed: for people, and for programs that know nothing of this format."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Callable, Iterator
from typing import BinaryIO, Final, Literal

import zstandard

from omniagents_snapshot.contents import read_entries
from omniagents_snapshot.model import Entry, Tree
from omniagents_snapshot.repository import Repository
from omniagents_snapshot.restoring import everything

__all__ = ["Compression", "write_tar"]

Compression = Literal["zstd"]
_NS: Final = 1_000_000_000
_TYPES: Final = {"file": tarfile.REGTYPE, "directory": tarfile.DIRTYPE, "link": tarfile.SYMTYPE}


def write_tar(
    repository: Repository,
    tree: Tree,
    file: BinaryIO,
    *,
    within: Callable[[str], bool] = everything,
    compression: Compression | None = None,
) -> None:
    """Write the entries in the POSIX.1-2001 format (pax), times to the nanosecond, owners as root.

    Raises:
        StateCorruptError: Content is missing or damaged; the archive is then incomplete.
    """
    if compression is None:
        _write(repository, tree, file, within)
        return
    with zstandard.ZstdCompressor(write_checksum=True).stream_writer(file, closefd=False) as compressed:
        _write(repository, tree, compressed, within)


def _write(repository: Repository, tree: Tree, file: BinaryIO, within: Callable[[str], bool]) -> None:
    with tarfile.open(
        fileobj=file, mode="w|", format=tarfile.PAX_FORMAT, encoding="utf-8", errors="surrogateescape"
    ) as archive:
        for entry, chunks in read_entries(repository, tree, within):
            archive.addfile(_info(entry), io.BufferedReader(_Chunks(chunks)) if entry.kind == "file" else None)


def _info(entry: Entry) -> tarfile.TarInfo:
    info = tarfile.TarInfo(entry.path)
    info.type = _TYPES[entry.kind]
    info.mode = entry.mode if entry.kind != "link" else 0o777
    info.size = entry.size
    info.linkname = entry.target
    seconds, rest = divmod(entry.mtime_ns, _NS)
    if rest or seconds < 0:
        # As a decimal fraction below zero counts downwards.
        text = f"{seconds}.{rest:09}" if seconds >= 0 else f"-{-entry.mtime_ns // _NS}.{-entry.mtime_ns % _NS:09}"
        info.pax_headers = {"mtime": text}
    else:
        info.mtime = seconds
    return info


class _Chunks(io.RawIOBase):
    """Pieces as a file to read from."""

    def __init__(self, chunks: Iterator[bytes]) -> None:
        self._chunks = chunks
        self._rest = memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override]
        while not self._rest:
            piece = next(self._chunks, None)
            if piece is None:
                return 0
            self._rest = memoryview(piece)
        count = min(len(buffer), len(self._rest))
        buffer[:count] = self._rest[:count]
        self._rest = self._rest[count:]
        return count
