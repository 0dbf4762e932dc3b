"""The backends that agents are tried on."""

from __future__ import annotations

from functools import partial

import pytest
from tests.frameworks.serving import Serve, homes, local_backend, serve
from tests.services import docker_engine

from omniagents.backends.local_backend import LocalBackend
from omniagents.testing import BackendFactory

__all__ = ["Serve", "backend_factory", "homes", "local_backend", "serve"]

_IMAGE = "omniagents-test:python"


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
