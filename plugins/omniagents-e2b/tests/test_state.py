"""A workspace saved from a sandbox is the same in every other environment, and back."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from omniagents.backends.base import Backend
from omniagents.backends.local_backend import LocalBackend
from omniagents.errors import BackendError
from omniagents.state import StateManager
from omniagents.testing._trees import contents
from omniagents_e2b.backend import E2BBackend

pytestmark = pytest.mark.service

NewBackend = Callable[..., E2BBackend]

_TREE = r"""
mkdir -p a/empty 'with space' && head -c 3000000 /dev/urandom > a/random.bin && printf 'a\r\nb' > crlf.txt
printf x > 'with space/é' && printf x > "$(printf 'caf\351')" && ln -s a/random.bin link && ln -s /nowhere dangling
printf '#!/bin/sh\n' > run.sh && chmod 750 run.sh && chmod 600 crlf.txt && touch -d '2001-02-03 04:05:06.789' crlf.txt
git init -q repo && printf .env > .gitignore && printf secret > .env
"""


@pytest.fixture
def state(tmp_path: Path) -> StateManager:
    directory = pytest.importorskip("omniagents_snapshot.directory", reason="needs omniagents-snapshot")
    manager: StateManager = directory.DirectoryStateManager(tmp_path / "states")
    return manager


@pytest.fixture(params=["local", "bubblewrap", "docker"])
def elsewhere(request: pytest.FixtureRequest, state: StateManager, project_id: str) -> Callable[[], Backend]:
    """Makes backends of another kind for the same project."""
    if request.param == "local":
        return lambda: LocalBackend(project_id, state)
    if request.param == "bubblewrap":
        kind: Any = pytest.importorskip("omniagents_bubblewrap.backend", reason="needs omniagents-bubblewrap")
        return lambda: kind.BubblewrapBackend(project_id, state)
    kind = pytest.importorskip("omniagents_docker.backend", reason="needs omniagents-docker")
    from tests.services import docker_engine

    address = docker_engine.start()
    return lambda: kind.DockerBackend(project_id, state, docker_host=address, image="omniagents-test:python")


def test_a_tree_goes_from_a_sandbox_to_another_environment_and_back(
    new_backend: NewBackend, state: StateManager, elsewhere: Callable[[], Backend]
) -> None:
    with new_backend(state_manager=state) as sandbox:
        assert sandbox.workspace.run(_TREE).exit_code == 0
        saved = contents(sandbox.workspace)
    with elsewhere() as other:
        assert contents(other.workspace) == saved
        other.workspace.write_bytes("from elsewhere", b"x")
        changed = contents(other.workspace)
    with new_backend(state_manager=state) as again:
        assert contents(again.workspace) == changed


def test_a_sandbox_that_ends_during_a_save_leaves_the_snapshot_before(
    new_backend: NewBackend, state: StateManager, faults: Any
) -> None:
    from tests.services.e2b.faults import Fault

    backend = new_backend(state_manager=state, checkpoint_interval_seconds=None)
    backend.start()
    backend.workspace.write_bytes("a.txt", b"saved")
    first = backend.checkpoint()
    backend.workspace.run("head -c 8000000 /dev/urandom > big.bin")
    faults.add(Fault(".*", times=-1, drops=True))
    with pytest.raises(BackendError):
        backend.checkpoint()
    faults.clear()
    assert first is not None
    assert state.history(backend.project_id)[0].id == first.id
