"""Real sandboxes; data and cache directories of the tests' own, for as long as they run."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from omniagents.errors import BackendError
from omniagents_bubblewrap import doctor
from omniagents_bubblewrap.backend import BubblewrapBackend


@pytest.fixture(scope="session", autouse=True)
def _own_directories(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as environment:
        for name in ("XDG_DATA_HOME", "XDG_CACHE_HOME"):
            environment.setenv(name, str(tmp_path_factory.mktemp(name.lower())))
        yield


@pytest.fixture(scope="session")
def works() -> None:
    """Skips where this machine lets no sandbox be made; says what would."""
    for what, why, cure in doctor.problems():
        pytest.skip(f"{what} ({why}); {cure}")


@pytest.fixture
def make(works: None, request: pytest.FixtureRequest) -> Any:
    """Makes backends, by default of a project of this test's own, that are gone when the test ends."""
    made: list[BubblewrapBackend] = []

    def make_one(project_id: str = request.node.nodeid[-150:], **options: Any) -> BubblewrapBackend:
        made.append(BubblewrapBackend(project_id=project_id, **options))
        return made[-1]

    yield make_one
    for backend in made:
        try:
            backend.shutdown(save=False)
        except BackendError:
            pass  # what is broken about it is the test's business


@pytest.fixture(scope="module")
def sandbox(works: None, request: pytest.FixtureRequest) -> Iterator[BubblewrapBackend]:
    """A running backend that all tests of a module share."""
    with BubblewrapBackend(project_id=f"shared by {request.node.name}") as backend:
        yield backend


@pytest.fixture
def place() -> Iterator[Path]:
    """A directory that is not in /tmp, of which nothing is ever shown; the checkout may be."""
    parents = (Path(__file__).parent, Path.home())
    parent = next(each for each in parents if not each.resolve().is_relative_to("/tmp"))
    with tempfile.TemporaryDirectory(prefix=".place-", dir=parent) as directory:
        Path(directory).chmod(0o755)
        yield Path(directory)
