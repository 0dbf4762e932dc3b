"""The whole contract on the backend for development."""

from __future__ import annotations

import pytest

from omniagents.backends.local_backend import LocalBackend
from omniagents.testing import BackendContract, BackendFactory


class TestLocalBackend(BackendContract):
    """Nothing is isolated, and the contract checks that this is what the class says."""

    @pytest.fixture(scope="class")
    @classmethod
    def backend_factory(cls) -> BackendFactory:
        return LocalBackend
