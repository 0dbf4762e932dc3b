"""The whole contract on the backend for development."""

from __future__ import annotations

import pytest

from omniagents.backends.local_backend import LocalBackend
from omniagents.testing import BackendContract, BackendFactory, ToolContract


@pytest.fixture(scope="session")
def backend_factory() -> BackendFactory:
    return LocalBackend


class TestLocalBackend(BackendContract):
    """Nothing is isolated, and the contract checks that this is what the class says."""


class TestToolsOnLocalBackend(ToolContract):
    """The ten tools."""
