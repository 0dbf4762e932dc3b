"""From bytes to stored bytes and back: keyed hashes, bounded compression, and encryption where a project has it.

What is sealed is compressed, then encrypted; what is opened is authenticated and decrypted before zstd sees
a byte of it. Every stored size and digest in the format is that of the sealed bytes.
"""

from __future__ import annotations

from typing import Protocol

import zstandard
from blake3 import blake3

__all__ = ["CHUNK_ID_BYTES", "Cipher", "Hasher", "Sealer", "open_sealed", "seal"]

# 128 bits of a keyed hash whose key never enters an environment: nobody can look for collisions
# offline, and among 2^40 chunks of one project an accidental one has a chance of 2^-49.
CHUNK_ID_BYTES = 16
_LEVEL = 3


class Cipher(Protocol):
    """Authenticated encryption under one project's key."""

    def encrypt(self, data: bytes, kind: str) -> bytes:
        """What only ``decrypt`` with the same ``kind`` takes back; different every time."""

    def decrypt(self, data: bytes, kind: str) -> bytes:
        """What was encrypted.

        Raises:
            ValueError: It was changed, encrypted under another key, or as another kind of object.
        """


class Hasher:
    """BLAKE3 under one project's key."""

    def __init__(self, key: bytes) -> None:
        self.key = key

    def chunk_id(self, data: bytes | memoryview) -> bytes:
        return blake3(data, key=self.key).digest(CHUNK_ID_BYTES)

    def digest(self, data: bytes) -> str:
        """64 hexadecimal digits: names packs and trees, and checks small objects."""
        return blake3(data, key=self.key, max_threads=blake3.AUTO).hexdigest()


class Sealer:
    """Seals a project's bytes. ``kind`` says what they are: sealed as one kind, nothing opens as another."""

    def __init__(self, cipher: Cipher | None = None) -> None:
        self.cipher = cipher

    def seal(self, raw: bytes, kind: str) -> bytes:
        """Compressed, then encrypted."""
        return self.protect(seal(raw), kind)

    def open(self, stored: bytes, kind: str, max_raw: int, *, exactly: int | None = None) -> bytes:
        """What was sealed.

        Raises:
            ValueError: As ``open_sealed`` and ``unprotect`` say.
        """
        return open_sealed(self.unprotect(stored, kind), max_raw, exactly=exactly)

    def protect(self, data: bytes, kind: str) -> bytes:
        """Encrypted, where the project is."""
        return self.cipher.encrypt(data, kind) if self.cipher else data

    def unprotect(self, stored: bytes, kind: str) -> bytes:
        """What was protected.

        Raises:
            ValueError: It was changed, or protected as another kind.
        """
        return self.cipher.decrypt(stored, kind) if self.cipher else stored


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
