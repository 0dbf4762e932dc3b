"""``StateManagerContract``: everything a state manager promises, tried on workspaces of the local backend."""

from __future__ import annotations

from typing import ClassVar

from omniagents.testing.state.changes import ChangeTests
from omniagents.testing.state.history import HistoryTests
from omniagents.testing.state.projects import ProjectTests
from omniagents.testing.state.round_trip import RoundTripTests
from omniagents.testing.state.safety import SafetyTests
from omniagents.testing.state.sessions import SessionTests

__all__ = ["StateManagerContract"]


class StateManagerContract(RoundTripTests, ChangeTests, HistoryTests, ProjectTests, SafetyTests, SessionTests):
    """Subclass this with a fixture ``state_manager_factory``.

    Attributes:
        detects_conflicts: A save over another manager's is ``StateConflictError``. False for a manager that cannot
            tell: then the last save wins, which is tested too.
    """

    detects_conflicts: ClassVar[bool] = True
