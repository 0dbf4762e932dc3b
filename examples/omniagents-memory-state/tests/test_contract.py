"""Everything a state manager promises: the contract that Omniagents ships, with one fixture."""

from __future__ import annotations

import pytest

from omniagents.testing import StateManagerContract, StateManagerFactory
from omniagents_memory_state.state_manager import MemoryStateManager


class TestMemoryStateManager(StateManagerContract):
    """The manager itself is the storage, so that the next session is given the same one."""

    detects_conflicts = False
    survives_its_process = False

    @pytest.fixture(scope="class")
    @classmethod
    def state_manager_factory(cls) -> StateManagerFactory:
        manager = MemoryStateManager()
        return lambda: manager
