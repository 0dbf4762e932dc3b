"""What every state manager promises, and the snapshot it answers with."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from omniagents.records import LeftOut
    from omniagents.workspace import Workspace

__all__ = ["Snapshot", "StateManager"]


@dataclass(frozen=True)
class Snapshot:
    """One saved state of a project.

    Attributes:
        id: Unique within the project.
        project_id: Whose it is.
        parent_id: The snapshot it was made from; None for the first.
        created_at: UTC.
        message: As given to ``checkpoint`` or ``save``.
        files: How many files it holds.
        bytes: Their sizes added up.
        changed: Paths added, changed or removed since the parent.
        left_out: What was not saved, and the rule that said so.
    """

    id: str
    project_id: str
    parent_id: str | None
    created_at: datetime
    message: str
    files: int
    bytes: int
    changed: int = 0
    left_out: tuple[LeftOut, ...] = ()


class StateManager(ABC):
    """Keeps workspaces between sessions. Runs on the trusted side and sees a workspace, not a backend.

    One manager may serve many projects from many threads. Methods that take a ``project_id``
    treat it as opaque: names made from it must be an injective encoding.
    """

    #: False for a manager that keeps nothing (``none``): no automatic checkpoints are made then.
    keeps_snapshots: bool = True

    @abstractmethod
    def load(self, project_id: str, workspace: Workspace) -> Snapshot | None:
        """Make the workspace equal to the latest snapshot; None, and nothing done, if there is none."""

    @abstractmethod
    def save(self, project_id: str, workspace: Workspace, message: str = "") -> Snapshot:
        """Save the workspace as the latest snapshot. With nothing changed, the latest one is returned again.

        Raises:
            StateConflictError: Another writer saved since this manager's last load or save.
        """

    @abstractmethod
    def history(self, project_id: str) -> Sequence[Snapshot]:
        """Every kept snapshot, newest first; empty for a project never saved."""

    @abstractmethod
    def restore(self, project_id: str, snapshot_id: str, workspace: Workspace) -> Snapshot:
        """Make the workspace equal to the snapshot: changed files rewritten, other files removed.

        Raises:
            SnapshotNotFoundError: The project has no such snapshot.
        """

    @abstractmethod
    def delete(self, project_id: str) -> None:
        """Forget the project: every snapshot and everything stored for it. Idempotent."""
