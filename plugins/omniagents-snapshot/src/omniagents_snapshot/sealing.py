"""From bytes to stored bytes and back: keyed hashes and bounded compression.

Encryption belongs here: ``seal`` would encrypt what zstd made, ``open_sealed`` would authenticate and
decrypt before zstd sees a byte, and ``format.json`` would say so in ``encryption``; nothing
else in the format changes, since every stored size and digest is that of the sealed bytes.
"""

from __future__ import annotations

import zstandard
from blake3 import blake3

__all__ = ["CHUNK_ID_BYTES", "Hasher", "open_sealed", "seal"]

# 128 bits of a keyed hash whose key never enters an environment: nobody can look for collisions
# offline, and among 2^40 chunks of one project an accidental one has a chance of 2^-49.
CHUNK_ID_BYTES = 16
_LEVEL = 3


class Hasher:
    """BLAKE3 under one project's key."""

    def __init__(self, key: bytes) -> None:
        self.key = key

    def chunk_id(self, data: bytes | memoryview) -> bytes:
        return blake3(data, key=self.key).digest(CHUNK_ID_BYTES)

    def digest(self, data: bytes) -> str:
        """64 hexadecimal digits: names packs and trees, and checks small objects."""
        return blake3(data, key=self.key, max_threads=blake3.AUTO).hexdigest()


def seal(raw: bytes) -> bytes:
    """One zstd frame with its content size and a checksum."""
    return zstandard.ZstdCompressor(level=_LEVEL, write_checksum=True).compress(raw)


def open_sealed(stored: bytes, max_raw: int, *, exactly: int | None = None) -> bytes:
    """The content of a frame made by ``seal``.

    Raises:
        ValueError: It is damaged, holds more than ``max_raw`` bytes (found before memory is taken
            for them), or not ``exactly`` so many.
    """
    try:
        declared = zstandard.get_frame_parameters(stored).content_size
        if declared > max_raw:  # an unknown size is the largest number there is
            raise ValueError(f"holds {declared} bytes, more than the limit of {max_raw}")
        if exactly is not None and declared != exactly:
            raise ValueError(f"holds {declared} bytes, not {exactly}")
        raw = zstandard.ZstdDecompressor().decompress(stored, allow_extra_data=False)
    except zstandard.ZstdError as error:
        raise ValueError(f"is not a whole zstd frame ({error})") from error
    if len(raw) != declared:
        raise ValueError(f"holds {len(raw)} bytes, not {declared}")
    return raw
