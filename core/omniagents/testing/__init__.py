"""The conformance kit: subclass a contract with its fixtures, and pytest tells whether your plugin keeps it.

``BackendContract`` and ``ToolContract`` need a fixture ``backend_factory``, ``StateManagerContract`` one named
``state_manager_factory``, ``AgentContract`` the first and one named ``agent_factory``. See docs/testing.md. Needs
pytest; nothing else of the package imports this.
"""

from __future__ import annotations

try:
    import pytest
except ImportError as error:
    raise ImportError("omniagents.testing is a set of pytest tests: install pytest (pip install pytest)") from error

# Before they are imported, and for all below them: an assertion that fails shows its values.
_PARTS = ("_support", "_trees", "agent", "backend", "state", "tools")
pytest.register_assert_rewrite(*(f"{__name__}.{part}" for part in _PARTS))

from omniagents.testing._support import BackendFactory, StateManagerFactory  # noqa: E402
from omniagents.testing.agent import AgentContract  # noqa: E402
from omniagents.testing.agent.base import AgentFactory  # noqa: E402
from omniagents.testing.backend import BackendContract  # noqa: E402
from omniagents.testing.state import StateManagerContract  # noqa: E402
from omniagents.testing.tools import ToolContract  # noqa: E402

__all__ = [
    "AgentContract",
    "AgentFactory",
    "BackendContract",
    "BackendFactory",
    "StateManagerContract",
    "StateManagerFactory",
    "ToolContract",
]
