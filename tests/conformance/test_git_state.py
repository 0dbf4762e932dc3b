"""The state contract on branches of a git repository: one on this disk, and one behind HTTP."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
from tests.services.git_servers import make_repository, wsgi_server

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


@pytest.mark.service
@pytest.mark.slow
class TestGitStateManagerOverHttp(StateManagerContract):
    """Every manager on one bare repository behind ``git http-backend`` with basic authentication."""

    @pytest.fixture(scope="class")
    @classmethod
    def state_manager_factory(cls, tmp_path_factory: pytest.TempPathFactory) -> Iterator[StateManagerFactory]:
        folder: Path = tmp_path_factory.mktemp("git")
        make_repository(folder / "repositories")
        with wsgi_server(folder / "repositories", {"alice": "secret"}) as server:
            # Saved elsewhere, files like .env are left out unless asked for; the contract asks for everything.
            yield partial(
                GitStateManager,
                f"{server.url}/states.git",
                username="alice",
                token="secret",
                keep_secrets=True,
                cache_directory=folder / "cache",
            )
