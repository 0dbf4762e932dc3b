"""The state contract on branches of a git repository: one on this disk, and one behind HTTP."""

from __future__ import annotations

import subprocess
from functools import partial
from pathlib import Path

import pytest

from omniagents.testing import StateManagerContract, StateManagerFactory
from omniagents_git.state_manager import GitStateManager


class TestGitStateManagerOnDisk(StateManagerContract):
    """Every manager on one bare repository of the tests' own."""

    @pytest.fixture(scope="class")
    @classmethod
    def state_manager_factory(cls, tmp_path_factory: pytest.TempPathFactory) -> StateManagerFactory:
        folder: Path = tmp_path_factory.mktemp("git")
        subprocess.run(["git", "init", "--quiet", "--bare", folder / "states.git"], check=True)
        return partial(GitStateManager, folder / "states.git", cache_directory=folder / "cache")
