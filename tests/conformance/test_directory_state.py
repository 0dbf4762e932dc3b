"""The state contract on snapshots in a directory."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any, ClassVar

import pytest

from omniagents.testing import StateManagerContract, StateManagerFactory
from omniagents_snapshot.directory import DirectoryStateManager


class TestDirectoryStateManager(StateManagerContract):
    """Every manager on one directory of the test's own."""

    quota_options: ClassVar[Mapping[str, Any]] = {"max_bytes": 1_000_000}

    @pytest.fixture
    def state_manager_factory(self, tmp_path_factory: pytest.TempPathFactory) -> StateManagerFactory:
        return partial(DirectoryStateManager, tmp_path_factory.mktemp("snapshots") / "store")
