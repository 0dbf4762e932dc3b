"""How a streamed text is cut."""

from __future__ import annotations

from collections.abc import Iterator

__all__ = ["pieces"]

_SHORT = 7
_MOST = 50


def pieces(text: str) -> Iterator[str]:
    """The text in short pieces, at most about fifty: words, escapes and names are cut in the middle."""
    size = max(_SHORT, len(text) // _MOST)
    return (text[start : start + size] for start in range(0, len(text), size))
