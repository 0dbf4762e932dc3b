"""A state manager for the kit's own use: correct, in memory, and able to fail on request."""

from __future__ import annotations

import queue
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from omniagents._ids import new_snapshot_id, utc_now
from omniagents.errors import SnapshotNotFoundError
from omniagents.records import ImportEntry
from omniagents.state import Snapshot, StateManager
from omniagents.workspace import Workspace

__all__ = ["KeepingStateManager"]


@dataclass(frozen=True)
class _Kept:
    snapshot: Snapshot
    entries: tuple[ImportEntry, ...]


class KeepingStateManager(StateManager):
    """Keeps every snapshot in memory.

    Attributes:
        failing: Raised by the next saves while it is set.
        loads_fail: Likewise for loads.
        attempts: One item for every call of ``save``, put when it ends; for tests that wait for one.
    """

    def __init__(self) -> None:
        self.failing: Exception | None = None
        self.loads_fail: Exception | None = None
        self.attempts: queue.SimpleQueue[str] = queue.SimpleQueue()
        self._projects: defaultdict[str, list[_Kept]] = defaultdict(list)  # newest first

    def load(self, project_id: str, workspace: Workspace) -> Snapshot | None:
        if self.loads_fail is not None:
            raise self.loads_fail
        kept = self._projects[project_id]
        return self._fill(kept[0], workspace) if kept else None

    def save(self, project_id: str, workspace: Workspace, message: str = "") -> Snapshot:
        try:
            if self.failing is not None:
                raise self.failing
            kept = self._projects[project_id]
            entries = _entries(workspace)
            parent_id = kept[0].snapshot.id if kept else None
            size = sum(entry.info.size for entry in entries if entry.info.kind == "file")
            count = sum(entry.info.kind == "file" for entry in entries)
            snapshot = Snapshot(new_snapshot_id(), project_id, parent_id, utc_now(), message, count, size)
            kept.insert(0, _Kept(snapshot, entries))
            return snapshot
        finally:
            self.attempts.put(message)

    def history(self, project_id: str) -> Sequence[Snapshot]:
        return [kept.snapshot for kept in self._projects[project_id]]

    def restore(self, project_id: str, snapshot_id: str, workspace: Workspace) -> Snapshot:
        for kept in self._projects[project_id]:
            if kept.snapshot.id == snapshot_id:
                return self._fill(kept, workspace)
        raise SnapshotNotFoundError(f"project {project_id!r} has no snapshot {snapshot_id!r}")

    def delete(self, project_id: str) -> None:
        self._projects.pop(project_id, None)

    @staticmethod
    def _fill(kept: _Kept, workspace: Workspace) -> Snapshot:
        workspace.import_(
            kept.entries, remove=[entry.path for entry in workspace.scan(exclude=[".omniagents/logs/"]).entries]
        )
        return kept.snapshot


def _entries(workspace: Workspace) -> tuple[ImportEntry, ...]:
    scan = workspace.scan(exclude=[".omniagents/logs/"])
    paths = [entry.path for entry in scan.entries if entry.kind != "other"]
    return tuple(ImportEntry(entry.info, tuple(entry.chunks)) for entry in workspace.export(paths))
