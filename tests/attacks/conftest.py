"""Real environments of both isolating backends, and how an attack is run in them."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from tests.attacks.arenas import Arena, BubblewrapArena, DockerArena

from omniagents.backends.base import Backend
from omniagents.errors import BackendError

_ARENAS = {"bubblewrap": BubblewrapArena, "docker": DockerArena}

# System calls by number, so that an attack does not depend on what libc wraps.
_PRELUDE = """
import ctypes, errno, json, os, platform, socket, struct, sys
libc = ctypes.CDLL(None, use_errno=True)
def call(x86_64, aarch64, *arguments):
    "The name of the errno, or 'worked'."
    number = x86_64 if platform.machine() == "x86_64" else aarch64
    answer = libc.syscall(ctypes.c_long(number), *[ctypes.c_long(a) if isinstance(a, int) else a for a in arguments])
    return "worked" if answer >= 0 else errno.errorcode[ctypes.get_errno()]
def attempt(function, *arguments):
    "Likewise, for what Python wraps."
    try:
        function(*arguments)
    except OSError as error:
        return errno.errorcode.get(error.errno) or type(error).__name__
    return "worked"
def tell(value):
    print(json.dumps(value))
"""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Leave out what ``only(...)`` says is about another kind: not skipped, there is nothing to try."""
    items[:] = [item for item in items if _is_meant(item)]


def _is_meant(item: pytest.Item) -> bool:
    mark = item.get_closest_marker("only")
    parameters = getattr(item, "callspec", None)
    return mark is None or parameters is None or parameters.params.get("arena") in mark.args


@pytest.fixture(scope="session", autouse=True)
def _own_directories(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as environment:
        for name in ("XDG_DATA_HOME", "XDG_CACHE_HOME"):
            environment.setenv(name, str(tmp_path_factory.mktemp(name.lower())))
        yield


@pytest.fixture(scope="session", params=["bubblewrap", pytest.param("docker", marks=pytest.mark.service)])
def arena(request: pytest.FixtureRequest) -> Arena:
    """What is attacked."""
    return _ARENAS[request.param]()


@pytest.fixture
def make(arena: Arena) -> Iterator[Callable[..., Backend]]:
    """Makes backends, by default of a project of this test's own, that are gone when the test ends."""
    made: list[Backend] = []

    def make_one(project_id: str = "", limits: dict[str, float] | None = None, **options: Any) -> Backend:
        made.append(arena.make(f"{project_id or 'attacker'} {uuid.uuid4()}", limits or {}, **options))
        return made[-1]

    yield make_one
    for backend in made:
        try:
            backend.shutdown(save=False)
        except BackendError:
            backend.shutdown(save=False)  # what ended it may have been under way


@pytest.fixture(scope="session")
def sandbox(arena: Arena) -> Iterator[Backend]:
    """A running environment that all tests share which leave it as it was."""
    with arena.make(f"shared {uuid.uuid4()}", {}) as backend:
        yield backend


@pytest.fixture(scope="session")
def cut_off(arena: Arena) -> Iterator[Backend]:
    """Likewise, without a network: bubblewrap's are so by default."""
    with arena.make(f"cut off {uuid.uuid4()}", {}, **arena.without_network) as backend:
        yield backend


@pytest.fixture
def attack() -> Callable[..., Any]:
    """Run a Python program inside, and return what it tells."""

    def run(backend: Any, program: str, **options: Any) -> Any:
        result = backend.workspace.run([*backend.python, "-c", _PRELUDE + program], **options)
        assert result.exit_code == 0, result.stderr_text
        return json.loads(result.stdout)

    return run
