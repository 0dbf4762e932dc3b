"""The whole contract of backends and of the ten tools, in containers of a real engine."""

from __future__ import annotations

import pytest

from omniagents.testing import BackendContract, ToolContract

pytestmark = pytest.mark.service


class TestDockerBackend(BackendContract):
    isolated = True


class TestToolsOnDockerBackend(ToolContract):
    pass
