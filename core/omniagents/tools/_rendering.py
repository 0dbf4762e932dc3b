"""Text that several tools share: the character cap, and the note about what was passed over."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from omniagents.guest.root import display
from omniagents.tools.base import MAX_RESULT_CHARACTERS

__all__ = ["cap_lines", "plural", "quoted", "skipped_note"]


def cap_lines(lines: Sequence[str], limit: int = MAX_RESULT_CHARACTERS) -> tuple[list[str], int]:
    """The first whole lines that fit in ``limit`` characters once joined by line feeds, and how many they are.

    A first line that alone is over the limit is cut, so that a result is never empty.
    """
    used = 0
    for count, line in enumerate(lines):
        used += len(line) + (1 if count else 0)
        if used > limit:
            return (list(lines[:count]), count) if count else ([line[:limit]], 1)
    return list(lines), len(lines)


def plural(count: int, noun: str, many: str | None = None) -> str:
    """``1 file``, ``2 files``, ``1,200 matches``."""
    return f"{count:,} {noun if count == 1 else many or noun + 's'}"


def quoted(text: str) -> str:
    """What a caller wrote, on one line between quotes; backslashes stay single, as they were typed."""
    return f"'{display(text)}'"


def skipped_note(skipped: Mapping[str, Mapping[str, Any]], how_to_include: str = "") -> str:
    """One line such as ``Skipped: 3 ignored (.git, a.log, dist); 1 binary (logo.png). <how_to_include>``.

    Args:
        skipped: By reason, ``{"count": int, "names": [up to five paths]}``; reasons with count 0 are left out.
        how_to_include: A whole sentence; left out when nothing was skipped.

    Returns:
        ``""`` when nothing was skipped.
    """
    reasons = [_reason(reason, entry) for reason, entry in skipped.items() if entry["count"]]
    if not reasons:
        return ""
    return f"Skipped: {'; '.join(reasons)}. {how_to_include}".rstrip()


def _reason(reason: str, entry: Mapping[str, Any]) -> str:
    count, names = int(entry["count"]), [display(str(name)) for name in entry["names"]]
    if not names:
        return f"{count:,} {reason}"
    more = ", …" if count > len(names) else ""
    return f"{count:,} {reason} ({', '.join(names)}{more})"
