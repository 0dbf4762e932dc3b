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


class _TextBackend(LocalBackend):
    is_text_channel = True


class TestOverAChannelOfText(BackendContract):
    """As where a service carries nothing but text between host and guest."""

    @pytest.fixture(scope="class")
    @classmethod
    def backend_factory(cls) -> BackendFactory:
        return _TextBackend


class TestToolsOnLocalBackend(ToolContract):
    """The ten tools."""
