"""Where a file is cut: whole if it is small, else where its content says (FastCDC 2020).

The only module that knows the chunker. What was cut by one chunker is read without it,
so another one (or other sizes, recorded in ``format.json``) needs no new format.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from pyfastcdc import FastCDC

from omniagents_snapshot.limits import (
    CHUNK_AVERAGE_BYTES,
    CHUNK_MAX_BYTES,
    CHUNK_MIN_BYTES,
    WHOLE_FILE_MAX_BYTES,
)

__all__ = ["CHUNKER", "split"]

CHUNKER: dict[str, str | int] = {
    "name": "fastcdc2020",
    "whole": WHOLE_FILE_MAX_BYTES,
    "min": CHUNK_MIN_BYTES,
    "average": CHUNK_AVERAGE_BYTES,
    "max": CHUNK_MAX_BYTES,
    "normalized": 1,
    "seed": 0,
}


def split(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """Cut the content that arrives in ``pieces``; nothing for an empty file. Holds a few chunks in memory at most."""
    stream = iter(pieces)
    start: list[bytes] = []
    held = 0
    for piece in stream:
        start.append(piece)
        held += len(piece)
        if held > WHOLE_FILE_MAX_BYTES:
            yield from _cut(_Reader(b"".join(start), stream))
            return
    if held:
        yield start[0] if len(start) == 1 else b"".join(start)


def _cut(reader: _Reader) -> Iterator[bytes]:
    chunker = FastCDC(CHUNK_AVERAGE_BYTES, min_size=CHUNK_MIN_BYTES, max_size=CHUNK_MAX_BYTES)
    for chunk in chunker.cut_stream(reader):
        yield bytes(chunk.data)


class _Reader:
    """An iterator of pieces as the stream that the chunker reads."""

    def __init__(self, start: bytes, pieces: Iterator[bytes]) -> None:
        self._held = memoryview(start)
        self._pieces = pieces

    def readinto(self, buffer: memoryview) -> int:
        while not self._held:
            piece = next(self._pieces, None)
            if piece is None:
                return 0
            self._held = memoryview(piece)
        count = min(len(buffer), len(self._held))
        buffer[:count] = self._held[:count]
        self._held = self._held[count:]
        return count
