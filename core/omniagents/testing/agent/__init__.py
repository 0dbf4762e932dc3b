"""``AgentContract``: what every framework's agent promises, tried with a model that follows a script."""

from __future__ import annotations

from omniagents.testing.agent.ending import EndingTests
from omniagents.testing.agent.mistakes import MistakeTests
from omniagents.testing.agent.running import RunningTests
from omniagents.testing.agent.setting import SettingTests
from omniagents.testing.agent.working import WorkingTests

__all__ = ["AgentContract"]


class AgentContract(WorkingTests, MistakeTests, EndingTests, RunningTests, SettingTests):
    """Subclass this with the fixtures ``backend_factory`` and ``agent_factory``."""
