"""Fixtures of the e2b backend's tests: the genuine SDK talks to the local server, or with a real key to E2B."""

from __future__ import annotations

import contextlib
import os
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.services.e2b.server import E2BServer

from omniagents.errors import BackendError, StateError
from omniagents.testing import BackendFactory
from omniagents_e2b.backend import E2BBackend

#: Set by `nox -s tests_e2b_live`: the same tests, on the account of E2B_API_KEY.
IS_LIVE = os.environ.get("OMNIAGENTS_E2B_LIVE") == "1"


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """With the real service, leave out what looks into the local server or makes it fail."""
    if IS_LIVE:
        local = [item for item in items if "server" in getattr(item, "fixturenames", ())]
        config.hook.pytest_deselected(items=local)
        items[:] = [item for item in items if item not in local]


@pytest.fixture(scope="session")
def server() -> Iterator[E2BServer]:
    """The local server; the SDK finds it by its own variables."""
    with E2BServer() as running, pytest.MonkeyPatch.context() as patch:
        for name, value in running.variables.items():
            patch.setenv(name, value)
        yield running


@pytest.fixture(scope="session")
def service(request: pytest.FixtureRequest) -> None:
    """Whatever the SDK talks to."""
    if not IS_LIVE:
        request.getfixturevalue("server")


@pytest.fixture
def faults(server: E2BServer) -> Iterator[Any]:
    """The server's switches, all off before and after."""
    server.faults.clear()
    yield server.faults
    server.faults.clear()


@pytest.fixture(scope="session", autouse=True)
def homes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Leases and whatever else belongs to a user go to a directory of the tests'."""
    directory: Path = tmp_path_factory.mktemp("homes")
    with pytest.MonkeyPatch.context() as patch:
        for name in ("XDG_DATA_HOME", "XDG_CACHE_HOME", "XDG_STATE_HOME"):
            patch.setenv(name, str(directory / name.lower()))
        yield directory


@pytest.fixture(scope="session")
def backend_factory(service: None) -> BackendFactory:
    return E2BBackend


@pytest.fixture
def project_id() -> str:
    return f"e2b test {uuid.uuid4()}"


@pytest.fixture
def new_backend(service: None, project_id: str) -> Iterator[Callable[..., E2BBackend]]:
    """Makes backends of the test's project, or another, that are gone when the test ends."""
    made: list[E2BBackend] = []

    def make(**options: Any) -> E2BBackend:
        made.append(E2BBackend(**{"project_id": project_id, **options}))
        return made[-1]

    yield make
    for backend in made:
        with contextlib.suppress(BackendError, StateError):
            backend.shutdown(save=False)
