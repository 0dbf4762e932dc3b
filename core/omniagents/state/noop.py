"""``none``: the workspace lasts as long as its session."""

from __future__ import annotations

from typing import TYPE_CHECKING

from omniagents._ids import new_snapshot_id, utc_now
from omniagents.errors import SnapshotNotFoundError
from omniagents.state.base import Snapshot, StateManager

if TYPE_CHECKING:
    from omniagents.workspace import Workspace

__all__ = ["NoOpStateManager"]


class NoOpStateManager(StateManager):
    """Keeps nothing: ``save`` describes the workspace and forgets it."""

    keeps_snapshots = False

    def load(self, project_id: str, workspace: Workspace) -> Snapshot | None:
        return None

    def save(self, project_id: str, workspace: Workspace, message: str = "") -> Snapshot:
        files = [entry for entry in workspace.scan().entries if entry.kind == "file"]
        return Snapshot(
            id=new_snapshot_id(),
            project_id=project_id,
            parent_id=None,
            created_at=utc_now(),
            message=message,
            files=len(files),
            bytes=sum(entry.size for entry in files),
        )

    def history(self, project_id: str) -> list[Snapshot]:
        return []

    def restore(self, project_id: str, snapshot_id: str, workspace: Workspace) -> Snapshot:
        raise SnapshotNotFoundError(
            f"no snapshot {snapshot_id!r} of project {project_id!r}: the state manager 'none' keeps nothing; "
            "create the backend with state_manager='directory' to keep snapshots"
        )

    def delete(self, project_id: str) -> None:
        return None
