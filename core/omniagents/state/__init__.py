"""State managers: what they promise (``StateManager``, ``Snapshot``) and the one that keeps nothing."""

from omniagents.state.base import Snapshot, StateManager
from omniagents.state.noop import NoOpStateManager

__all__ = ["NoOpStateManager", "Snapshot", "StateManager"]
