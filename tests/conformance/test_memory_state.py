"""The state contract on the example plugin, whose snapshots live in one process."""

from __future__ import annotations

import pytest

from omniagents.testing import StateManagerContract, StateManagerFactory
from omniagents_memory_state.state_manager import MemoryStateManager


class TestMemoryStateManager(StateManagerContract):
    """One manager is the storage."""

    detects_conflicts = False

    @pytest.fixture(scope="class")
    @classmethod
    def state_manager_factory(cls) -> StateManagerFactory:
        manager = MemoryStateManager()
        return lambda: manager
