"""What a command printed, as text for a model: decoded, without terminal control, and not too long."""

from __future__ import annotations

import codecs
import re
from typing import NamedTuple

from omniagents.tools.base import MAX_RESULT_CHARACTERS

__all__ = ["Excerpt", "clean", "excerpt", "without_overwritten"]

# ECMA-48, 5th edition: control sequences (5.4), control strings (5.6; BEL ends them too, as xterm has it), and other
# escape sequences (ECMA-35, 13.2). No control string runs over a line's end, so that an open one hides nothing.
_ESCAPES = re.compile(
    r"\x1b\[[0-?]*[ -/]*[@-~]"
    r"|\x1b[\]PX^_][^\x07\x1b\n]*(?:\x07|\x1b\\)"
    r"|\x1b[ -/]+[0-~]"
    r"|\x1b[0-~]?"
)
_CONTINUATION_BYTES = bytes(range(0x80, 0xC0))


class Excerpt(NamedTuple):
    """What is shown of a text.

    Attributes:
        head: The whole text, or its beginning.
        tail: Its end; None if ``head`` is everything.
        cuts_lines: The gap is not between two line ends.
        overwritten: How many pieces are left out that were overwritten after a carriage return.
    """

    head: str
    tail: str | None
    cuts_lines: bool
    overwritten: int


def clean(data: bytes, *, is_cut_before: bool = False, is_cut_behind: bool = False) -> str:
    """Decode as UTF-8, without escape sequences; undecodable bytes and NUL become U+FFFD.

    Args:
        is_cut_before: The data begins anywhere; what is left of a character cut in two is left out.
        is_cut_behind: Likewise for its end.
    """
    if is_cut_before:
        data = data[:3].lstrip(_CONTINUATION_BYTES) + data[3:]
    text = codecs.getincrementaldecoder("utf-8")("replace").decode(data, final=not is_cut_behind)
    return _ESCAPES.sub("", text).replace("\0", "\ufffd")


def without_overwritten(text: str) -> tuple[str, int]:
    """Keep of each line what stands behind its last carriage return, as a terminal does with progress bars.

    Returns:
        The text, and how many pieces were left out. Line ends stay as they are, CRLF included.
    """
    if "\r" not in text:
        return text, 0
    count, lines = 0, []
    for line in text.split("\n"):
        shown_from = line.rstrip("\r").rfind("\r") + 1
        count += sum(map(bool, line[:shown_from].split("\r")))
        lines.append(line[shown_from:])
    return "\n".join(lines), count


def excerpt(payload: bytes, head_bytes: int, *, has_gap: bool, limit: int = MAX_RESULT_CHARACTERS) -> Excerpt:
    """At most ``limit`` characters of an output: all of it, or the first fifth and the last four fifths.

    Args:
        payload: The output, or its beginning and its end. One line feed at its end is left out.
        head_bytes: Where in ``payload`` the gap is, if there is one.
    """
    if not has_gap:
        text, overwritten = without_overwritten(clean(payload))
        text = _without_last_line_feed(text)
        if len(text) <= limit:
            return Excerpt(text, None, False, overwritten)
        first = second = text
    else:
        first, before = without_overwritten(clean(payload[:head_bytes], is_cut_behind=True))
        second, behind = without_overwritten(clean(payload[head_bytes:], is_cut_before=True))
        second, overwritten = _without_last_line_feed(second), before + behind
    head, head_cuts = _beginning(first, limit // 5)
    tail, tail_cuts = _end(second, limit - limit // 5)
    return Excerpt(head, tail, head_cuts or tail_cuts, overwritten)


def _without_last_line_feed(text: str) -> str:
    return text[:-1] if text.endswith("\n") else text


def _beginning(text: str, limit: int) -> tuple[str, bool]:
    """Whole lines, unless that would be less than half of what may be shown; and whether a line is cut."""
    at = text.rfind("\n", 0, limit + 1)
    if at >= min(limit, len(text)) // 2:
        return text[:at], False
    return text[:limit], True


def _end(text: str, limit: int) -> tuple[str, bool]:
    start = max(0, len(text) - limit)
    at = text.find("\n", max(0, start - 1))
    if 0 <= at < len(text) - min(limit, len(text)) // 2:
        return text[at + 1 :], False
    return text[start:], True
