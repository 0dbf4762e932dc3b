"""The snapshots that people name: by an id, the start of one, a tag, or ``latest``."""

from __future__ import annotations

from omniagents.errors import SnapshotNotFoundError
from omniagents.state.abilities import abilities_of, require
from omniagents.state.base import Snapshot, StateManager

__all__ = ["SHORT_ID", "find_snapshot", "tags_of"]

SHORT_ID = 12


def tags_of(manager: StateManager, project: str) -> dict[str, str]:
    """Snapshot ids by tag; empty for a manager without tags."""
    found: dict[str, str] = require(manager, "tags", "").tags(project) if "tags" in abilities_of(manager) else {}
    return found


def find_snapshot(manager: StateManager, project: str, wanted: str) -> Snapshot:
    """The one snapshot that ``wanted`` means.

    Raises:
        SnapshotNotFoundError: None, or several.
    """
    kept = manager.history(project)
    if not kept:
        raise SnapshotNotFoundError(f"nothing was saved of project {project!r}")
    if wanted == "latest":
        return kept[0]
    found = [one for one in kept if one.id == wanted] or [one for one in kept if one.id.startswith(wanted)]
    if len(found) != 1 and wanted in (tags := tags_of(manager, project)):
        found = [one for one in kept if one.id == tags[wanted]]
    if len(found) != 1:
        many = f"{len(found)} snapshots start" if found else "no snapshot starts"
        raise SnapshotNotFoundError(
            f"{many} with {wanted!r} in project {project!r}; `omniagents state history` lists them"
        )
    return found[0]
