"""What differs between two trees, as a user would count it."""

from __future__ import annotations

from collections.abc import Iterable

from omniagents_snapshot.aligning import align
from omniagents_snapshot.model import Entry

__all__ = ["comparable", "count_changed", "is_changed"]


def count_changed(before: Iterable[Entry], after: Iterable[Entry]) -> int:
    """How many paths were added, changed or removed; both in the order of a tree."""
    if before is after:
        return 0
    pairs = align(((entry,) for entry in before), ((entry,) for entry in after))
    return sum(is_changed(old and old[0], new and new[0]) for old, new in pairs)


def is_changed(before: Entry | None, after: Entry | None) -> bool:
    """Whether it counts. The time of a directory does not: it moves with every temporary file made in it."""
    if before is None or after is None:
        return before is not after
    if before.kind == after.kind == "directory":
        return before.mode != after.mode
    return before != after


def comparable(entry: Entry) -> Entry:
    """The entry, without what changes by itself."""
    return entry._replace(mtime_ns=0) if entry.kind == "directory" else entry
