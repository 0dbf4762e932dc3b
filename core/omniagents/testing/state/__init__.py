"""``StateManagerContract``: everything a state manager promises, tried on workspaces of the local backend."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from omniagents.testing.state.abilities import AbilityTests
from omniagents.testing.state.changes import ChangeTests
from omniagents.testing.state.faults import FaultTests
from omniagents.testing.state.history import HistoryTests
from omniagents.testing.state.projects import ProjectTests
from omniagents.testing.state.round_trip import RoundTripTests
from omniagents.testing.state.safety import SafetyTests
from omniagents.testing.state.sessions import SessionTests

__all__ = ["StateManagerContract"]


class StateManagerContract(
    RoundTripTests, ChangeTests, HistoryTests, ProjectTests, SafetyTests, FaultTests, SessionTests, AbilityTests
):
    """Subclass this with a fixture ``state_manager_factory``.

    What a manager can do beside ``StateManager`` it declares by its methods (``omniagents.state.abilities``).

    Attributes:
        detects_conflicts: A save over another manager's is ``StateConflictError``. False for a manager that cannot
            tell: then the last save wins, which is tested too.
        survives_its_process: What it kept is still there when the process that saved it was killed. False for
            one that keeps things in memory.
        quota_options: Keywords with which the factory makes a manager that refuses workspaces of more than a million
            bytes; None for a manager without limits, which then takes them.
    """

    detects_conflicts: ClassVar[bool] = True
    survives_its_process: ClassVar[bool] = True
    quota_options: ClassVar[Mapping[str, Any] | None] = None
