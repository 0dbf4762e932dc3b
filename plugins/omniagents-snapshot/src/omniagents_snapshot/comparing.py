"""What differs between two trees, as a user would count it."""

from __future__ import annotations

from collections.abc import Sequence

from omniagents_snapshot.model import Entry

__all__ = ["count_changed"]


def count_changed(before: Sequence[Entry], after: Sequence[Entry]) -> int:
    """How many paths were added, changed or removed.

    The time of a directory does not count: it moves with every temporary file made in it.
    """
    if before is after:
        return 0
    old = {entry.path: _comparable(entry) for entry in before}
    new = {entry.path: _comparable(entry) for entry in after}
    return len(old.keys() ^ new.keys()) + sum(1 for path, entry in new.items() if path in old and old[path] != entry)


def _comparable(entry: Entry) -> Entry:
    return entry._replace(mtime_ns=0) if entry.kind == "directory" else entry
