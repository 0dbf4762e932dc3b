"""Fixtures of the docker backend's tests: a real engine, and backends on it that are gone when the test ends."""

from __future__ import annotations

import contextlib
import uuid
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from tests.services import docker_engine

from omniagents.errors import BackendError, StateError
from omniagents.testing import BackendFactory
from omniagents_docker import naming
from omniagents_docker.backend import DockerBackend
from omniagents_docker.engine import Engine
from omniagents_docker.volume import target_of

PYTHON_IMAGE = "omniagents-test:python"


@pytest.fixture(scope="session")
def engine_address() -> str:
    """A running engine that has the test images."""
    try:
        return docker_engine.start()
    except RuntimeError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="session")
def engine(engine_address: str) -> Engine:
    return Engine.connect(engine_address)


@pytest.fixture(scope="session", autouse=True)
def homes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Leases and whatever else belongs to a user go to a directory of the tests'."""
    directory: Path = tmp_path_factory.mktemp("homes")
    with pytest.MonkeyPatch.context() as patch:
        for name in ("XDG_DATA_HOME", "XDG_CACHE_HOME", "XDG_STATE_HOME"):
            patch.setenv(name, str(directory / name.lower()))
        yield directory


@pytest.fixture(scope="session")
def backend_factory(engine_address: str) -> BackendFactory:
    return partial(DockerBackend, docker_host=engine_address, image=PYTHON_IMAGE)


@pytest.fixture
def project_id() -> str:
    return f"docker test {uuid.uuid4()}"


class OnlyProject(Engine):
    """The engine as if nothing but one project's things were on it: reaping spares what other tests use meanwhile."""

    def __init__(self, engine: Engine, project_id: str) -> None:
        super().__init__(engine._client, engine._arguments)
        self._project_id = project_id

    def containers(self, label: str) -> list[dict[str, Any]]:
        own = {naming.container_name(self._project_id)}
        own |= {naming.claim_of(name) for name in own} | {naming.paused_of(name) for name in own}
        return [each for each in super().containers(label) if own & {name.lstrip("/") for name in each["Names"]}]

    def volumes(self, label: str) -> list[dict[str, Any]]:
        name = naming.container_name(self._project_id)
        target = target_of(self.volume(name) or {})
        return [volume for volume in super().volumes(label) if volume["Name"] in (name, target)]


@pytest.fixture
def only_project(engine: Engine, project_id: str) -> Engine:
    return OnlyProject(engine, project_id)


@pytest.fixture
def new_backend(backend_factory: BackendFactory, project_id: str) -> Iterator[Callable[..., DockerBackend]]:
    """Makes backends of the test's project, or another, that are gone when the test ends."""
    made: list[DockerBackend] = []

    def make(**options: Any) -> DockerBackend:
        backend = backend_factory(**{"project_id": project_id, **options})
        assert isinstance(backend, DockerBackend)
        made.append(backend)
        return backend

    yield make
    for backend in made:
        with contextlib.suppress(BackendError, StateError):
            backend.shutdown(save=False)


@pytest.fixture
def running(new_backend: Callable[..., DockerBackend]) -> DockerBackend:
    """A started backend with work.txt, which is not saved."""
    backend = new_backend()
    backend.start()
    backend.workspace.write_bytes("work.txt", b"unsaved")
    return backend
