"""Two trees that come from one: both sides' changes, where no path was changed by both."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from omniagents_git.tree import Entry, count_changed, order_of

__all__ = ["merge"]

# A database and its journals make sense together only.
_JOURNALS = ("-journal", "-shm", "-wal")

Change = Entry | None  # None for what was removed


def merge(
    common: Iterable[Entry], ours: Iterable[Entry], theirs: Iterable[Entry]
) -> tuple[tuple[Entry, ...], list[str]]:
    """The merged tree, and what both sides changed differently, sorted; the tree is of no use if there is any.

    A ``.git`` directory counts as one path, and so does a database with its journals.
    """
    before, mine, other = ({entry.path: entry for entry in side} for side in (common, ours, theirs))
    their_changes = _changes(before, other)
    my_units, their_units = _by_unit(_changes(before, mine)), _by_unit(their_changes)
    disputed = {unit for unit, changes in my_units.items() if their_units.get(unit, changes) != changes}
    merged = dict(mine)
    for path, change in their_changes.items():
        if change is None:
            merged.pop(path, None)
        else:
            merged[path] = change
    directories = {path for path, entry in merged.items() if entry.kind == "directory"}
    for path in merged:
        parent = path.rpartition("/")[0]
        if parent and parent not in directories:
            disputed.add(path)
    return _in_order(list(merged.values())), sorted(disputed)


def _changes(before: dict[str, Entry], after: dict[str, Entry]) -> dict[str, Change]:
    found: dict[str, Change] = dict.fromkeys(before.keys() - after.keys())
    for path, entry in after.items():
        if path not in before or count_changed([before[path]], [entry]):
            found[path] = entry
    return found


def _by_unit(changes: dict[str, Change]) -> dict[str, dict[str, Change]]:
    """What belongs together, without times: the same work done at two times is no dispute."""
    units: dict[str, dict[str, Change]] = {}
    for path, change in changes.items():
        units.setdefault(_unit(path), {})[path] = change._replace(mtime_ns=0) if change is not None else None
    return units


def _unit(path: str) -> str:
    head, found, _ = f"/{path}/".partition("/.git/")
    if found:
        return f"{head}/.git".removeprefix("/")
    for journal in _JOURNALS:
        path = path.removesuffix(journal)
    return path


def _in_order(entries: Sequence[Entry]) -> tuple[Entry, ...]:
    return tuple(sorted(entries, key=lambda entry: order_of(entry.path)))
