"""Fixtures of the git state manager's tests: real servers, a home of their own, and workspaces of real backends."""

from __future__ import annotations

import os
import subprocess
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.services import git_servers
from tests.services.git_servers import GitOverHttp, SshServer

from omniagents.backends.local_backend import LocalBackend
from omniagents.workspace import Workspace
from omniagents_git.state_manager import GitStateManager

TOKEN = "tok-4f1c8e0b9a7d46e2"
NewManager = Callable[..., GitStateManager]


@pytest.fixture(scope="session", autouse=True)
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Nothing of this user's: no configuration of git or gh, no keys, no tokens, no caches."""
    folder: Path = tmp_path_factory.mktemp("home")
    with pytest.MonkeyPatch.context() as patch:
        for name in list(os.environ):
            if name.startswith(("GIT_", "GH_", "GITHUB_", "OMNIAGENTS_GIT", "SSH_")):
                patch.delenv(name)
        patch.setenv("HOME", str(folder))
        for name in ("XDG_CONFIG_HOME", "XDG_DATA_HOME", "XDG_CACHE_HOME", "XDG_STATE_HOME"):
            patch.setenv(name, str(folder / name.lower()))
        yield folder


@pytest.fixture
def repositories(tmp_path: Path) -> Path:
    """A folder with one bare repository, ``states.git``, that servers serve."""
    folder: Path = tmp_path / "repositories"
    git_servers.make_repository(folder)
    return folder


@pytest.fixture
def bare(repositories: Path) -> Path:
    """The bare repository itself."""
    return repositories / "states.git"


@pytest.fixture
def http(repositories: Path) -> Iterator[GitOverHttp]:
    """The repository over HTTP, for ``alice`` with the token."""
    with git_servers.wsgi_server(repositories, {"alice": TOKEN}) as server:
        yield server


@pytest.fixture
def nginx(repositories: Path) -> Iterator[GitOverHttp]:
    """The same by nginx and fcgiwrap."""
    try:
        with git_servers.nginx_server(repositories, {"alice": TOKEN}) as server:
            yield server
    except RuntimeError as error:
        pytest.skip(str(error))


@pytest.fixture
def ssh(repositories: Path) -> Iterator[SshServer]:
    """The same by sshd."""
    try:
        with git_servers.ssh_server(repositories) as server:
            yield server
    except RuntimeError as error:
        pytest.skip(str(error))


@pytest.fixture
def new_manager(bare: Path, tmp_path: Path) -> NewManager:
    """Makes managers on the bare repository unless told otherwise, as so many host processes would."""

    def make(remote: str | Path | None = None, **options: object) -> GitStateManager:
        options.setdefault("cache_directory", tmp_path / "cache")
        return GitStateManager(remote or bare, **options)  # type: ignore[arg-type]

    return make


@pytest.fixture
def new_http_manager(http: GitOverHttp, new_manager: NewManager) -> NewManager:
    """Makes managers on the WSGI server, with the token."""

    def make(**options: object) -> GitStateManager:
        return new_manager(f"{http.url}/states.git", **{"username": "alice", "token": TOKEN, **options})

    return make


@pytest.fixture(scope="session")
def _backends(tmp_path_factory: pytest.TempPathFactory, home: Path) -> Iterator[list[LocalBackend]]:
    made = [LocalBackend(f"git tests {uuid.uuid4()}", checkpoint_interval_seconds=None) for _ in range(2)]
    for backend in made:
        backend.start()
    yield made
    for backend in made:
        backend.shutdown(save=False)


def _emptied(workspace: Workspace) -> Workspace:
    workspace.remove(*[entry.path for entry in workspace.list()])
    return workspace


@pytest.fixture
def workspace(_backends: list[LocalBackend]) -> Workspace:
    """A workspace to save, empty."""
    return _emptied(_backends[0].workspace)


@pytest.fixture
def fresh(_backends: list[LocalBackend]) -> Workspace:
    """Another one, to load into, empty."""
    return _emptied(_backends[1].workspace)


@pytest.fixture
def git(bare: Path) -> Callable[..., str]:
    """Runs git in the bare repository, as its owner would."""

    def run(*arguments: str, input: bytes = b"") -> str:
        done = subprocess.run(["git", "-C", bare, *arguments], input=input, capture_output=True, check=True)
        return done.stdout.decode("utf-8", "surrogateescape").strip()

    return run
