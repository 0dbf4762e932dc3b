"""The whole contract of backends and of the ten tools, in sandboxes of the local server."""

from __future__ import annotations

import pytest

from omniagents.testing import BackendContract, ToolContract

pytestmark = pytest.mark.service


class TestE2BBackend(BackendContract):
    isolated = True


class TestToolsOnE2BBackend(ToolContract):
    pass
