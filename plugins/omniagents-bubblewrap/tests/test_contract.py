"""The whole contract, and every tool, on real sandboxes."""

from __future__ import annotations

import pytest

from omniagents.testing import BackendContract, BackendFactory, ToolContract
from omniagents_bubblewrap.backend import BubblewrapBackend


class TestBubblewrapBackend(BackendContract):
    """Files and processes of this machine are out of sight."""

    isolated = True

    @pytest.fixture(scope="class")
    @classmethod
    def backend_factory(cls, works: None) -> BackendFactory:
        return BubblewrapBackend


class TestToolsOnBubblewrap(ToolContract):
    """What a model sees is what it sees everywhere."""

    @pytest.fixture(scope="class")
    @classmethod
    def backend_factory(cls, works: None) -> BackendFactory:
        return BubblewrapBackend
