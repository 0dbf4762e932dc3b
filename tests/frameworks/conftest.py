"""The backends that agents are tried on, and servers of scripted models."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial

import pytest
from tests.services import docker_engine
from tests.services.model_server import ModelServer, Script

from omniagents.backends.local_backend import LocalBackend
from omniagents.testing import BackendFactory

#: Starts a server that follows a script; it ends with the test.
Serve = Callable[[Script], ModelServer]

_IMAGE = "omniagents-test:python"


@pytest.fixture(scope="session", autouse=True)
def homes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Whatever belongs to a user goes to a directory of the tests'."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("XDG_DATA_HOME", "XDG_CACHE_HOME", "XDG_STATE_HOME"):
            patch.setenv(name, str(tmp_path_factory.mktemp(name.lower())))
        # No network, and nobody's account: what would trace or report runs elsewhere is off.
        for name in ("LANGSMITH_TRACING", "LANGCHAIN_TRACING_V2", "OPENAI_API_KEY", "ANTHROPIC_API_KEY", "HF_TOKEN"):
            patch.delenv(name, raising=False)
        yield


def local() -> BackendFactory:
    return LocalBackend


def bubblewrap() -> BackendFactory:
    from omniagents_bubblewrap import doctor
    from omniagents_bubblewrap.backend import BubblewrapBackend

    for what, why, cure in doctor.problems():
        pytest.skip(f"{what} ({why}); {cure}")
    return BubblewrapBackend


def docker() -> BackendFactory:
    from omniagents_docker.backend import DockerBackend

    try:
        address = docker_engine.start(_IMAGE)
    except RuntimeError as error:
        pytest.skip(str(error))
    return partial(DockerBackend, docker_host=address, image=_IMAGE)


@pytest.fixture(
    scope="class",
    params=[local, bubblewrap, pytest.param(docker, marks=pytest.mark.service)],
    ids=lambda make: make.__name__,
)
def backend_factory(request: pytest.FixtureRequest) -> BackendFactory:
    """Each of the backends."""
    factory: BackendFactory = request.param()
    return factory


@pytest.fixture
def serve() -> Iterator[Serve]:
    with ExitStack() as servers:
        yield lambda script: servers.enter_context(ModelServer(script))
