"""Bytes of a text file as text, and what must be remembered to write it back unchanged."""

from __future__ import annotations

import codecs
from typing import NamedTuple

__all__ = ["MARKS", "Decoded", "decode", "is_binary"]

# Longest first: the UTF-32-LE mark begins with the UTF-16-LE one.
MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
_SNIFFED_BYTES = 8192


class Decoded(NamedTuple):
    """Attributes: ``text`` without its byte-order ``mark``; ``encoding`` is a Python codec name;
    ``is_guess`` is true where the bytes are not UTF-8 and were read as Latin-1."""

    text: str
    encoding: str
    mark: bytes
    is_guess: bool


def decode(content: bytes) -> Decoded:
    """Decode by byte-order mark, else as UTF-8, else as Latin-1. Line endings stay as they are."""
    for mark, encoding in MARKS:
        if content.startswith(mark):
            try:
                return Decoded(content[len(mark) :].decode(encoding), encoding, mark, False)
            except UnicodeDecodeError:
                break
    try:
        return Decoded(content.decode("utf-8"), "utf-8", b"", False)
    except UnicodeDecodeError:
        return Decoded(content.decode("latin-1"), "latin-1", b"", True)


def is_binary(content: bytes) -> bool:
    """Whether the first 8 KiB hold a NUL byte and no byte-order mark says UTF-16 or UTF-32 (git's rule, plus marks)."""
    if any(content.startswith(mark) for mark, _ in MARKS):
        return False
    return b"\0" in content[:_SNIFFED_BYTES]
