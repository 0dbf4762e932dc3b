"""Two workspaces that come from one: by path, and only where at most one of them changed anything."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from omniagents_snapshot.comparing import comparable
from omniagents_snapshot.model import Entry, Place, Tree, path_order

__all__ = ["Merge", "merge"]

# What these belong to makes sense together with them only: a database and its journals.
_COMPANIONS = ("-journal", "-shm", "-wal")


@dataclass(frozen=True)
class Merge:
    """What came of it.

    Attributes:
        entries: In the order of a tree; of no use if there are conflicts.
        places: Where their content is.
        conflicts: Paths that both sides changed, differently, sorted. A ``.git`` directory counts as
            one path, and so does a database with its journals.
    """

    entries: tuple[Entry, ...]
    places: Mapping[bytes, Place]
    conflicts: tuple[str, ...]


def merge(common: Tree | None, ours: Tree, theirs: Tree) -> Merge:
    """Both sides' changes of ``common``, which is empty if None."""
    before = {entry.path: entry for entry in common.entries} if common else {}
    mine = {entry.path: entry for entry in ours.entries}
    other = {entry.path: entry for entry in theirs.entries}
    my_changes, other_changes = _changes(before, mine), _changes(before, other)
    merged = mine | {path: entry for path, entry in other_changes.items() if entry is not None}
    for path in [path for path, entry in other_changes.items() if entry is None]:
        merged.pop(path, None)
    my_units, other_units = _units(my_changes), _units(other_changes)
    disputed = {unit for unit in my_units.keys() & other_units.keys() if my_units[unit] != other_units[unit]}
    disputed |= {path for path in merged if not _is_in_directory(path, merged)}
    entries = tuple(sorted(merged.values(), key=lambda entry: path_order(entry.path)))
    return Merge(entries, {**ours.places, **theirs.places}, tuple(sorted(disputed)))


def _changes(before: Mapping[str, Entry], after: Mapping[str, Entry]) -> dict[str, Entry | None]:
    """What was added or changed, by path; None for what was removed."""
    changed: dict[str, Entry | None] = {
        path: entry
        for path, entry in after.items()
        if path not in before or comparable(before[path]) != comparable(entry)
    }
    return changed | {path: None for path in before if path not in after}


def _units(changes: Mapping[str, Entry | None]) -> dict[str, dict[str, Entry | None]]:
    """The changes of each unit by path; when something was done is left out, since it is nobody's work."""
    units: dict[str, dict[str, Entry | None]] = {}
    for path, entry in changes.items():
        units.setdefault(_unit(path), {})[path] = entry and entry._replace(mtime_ns=0)
    return units


def _unit(path: str) -> str:
    """What a path must be taken or left together with."""
    if ".git" in (parts := path.split("/")):
        return "/".join(parts[: parts.index(".git") + 1])
    for companion in _COMPANIONS:
        path = path.removesuffix(companion)
    return path


def _is_in_directory(path: str, entries: Mapping[str, Entry]) -> bool:
    parent = path.rpartition("/")[0]
    return not parent or (parent in entries and entries[parent].kind == "directory")
