"""Whether a text occurs in raw bytes, by way of its rarest byte: the C library looks for a single byte many times
faster than ``bytes.find`` for a longer text, and most files have none of a rare one."""

from __future__ import annotations

from typing import Any, Sequence, Tuple

__all__ = ["Needles"]

# Rarest first, by counts over Python's standard library and C headers. What is not here is rarer still: other capitals
# are, where they do not count as their lower case, and so are bytes beyond ASCII.
_BY_RARITY = b"~$^?`!|QJ%Z@&+jW7}{68z<Y4][VHqK>3\\95BU;G2XF-/DMwv=\"1:#xPb0'Aky*CRgLOINT.hmE,uS()pfdcloairn_ste "


class Needles:
    """Texts of which one is to be found.

    Args:
        ignores_case: Upper and lower case of ASCII letters match each other; the texts are ASCII then.
    """

    def __init__(self, texts: Sequence[str], ignores_case: bool) -> None:
        self._ignores_case = ignores_case
        self._anchored = [_anchored(text.lower() if ignores_case else text) for text in texts]

    def any_in(self, content: Any) -> bool:
        """Whether bytes hold one of the texts."""
        if self._ignores_case:
            content = content.lower()
        for needle, anchor, before in self._anchored:
            first = content.find(anchor)
            if first >= 0 and content.find(needle, max(0, first - before)) >= 0:
                return True
        return False


def _anchored(text: str) -> Tuple[bytes, bytes, int]:
    """A text as bytes, its rarest byte, and how many bytes stand before that."""
    needle = text.encode()
    before = min(range(len(needle)), key=lambda index: _BY_RARITY.find(needle[index]))
    return needle, needle[before : before + 1], before
