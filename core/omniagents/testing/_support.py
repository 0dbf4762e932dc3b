"""What the contracts share: the fixtures, and ways to look into an environment."""

from __future__ import annotations

import contextlib
import os
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from typing import Any, ClassVar, TypeAlias

import pytest

from omniagents.backends.base import Backend
from omniagents.errors import BackendError, OmniagentsError, StateError
from omniagents.state import StateManager
from omniagents.testing._standard import StandardTests
from omniagents.workspace import Workspace

__all__ = [
    "HOSTILE_PROJECT_IDS",
    "ODD_NAMES",
    "BackendFactory",
    "BackendTests",
    "StateManagerFactory",
    "alive",
    "discard",
    "run_python",
    "status_of",
    "until",
]

# How long something may take that happens by itself; only ever waited for in full when it does not happen.
_PATIENCE_SECONDS = 30.0

#: Every one is a valid project id, and no two may ever meet.
HOSTILE_PROJECT_IDS: Sequence[str] = (
    "a_b", "a-b", "A-b", "a b", "a/b", "../x", "x", "..", "new\nline", "nul\0inside", "émoji 🎉", "alice@example.com",
    "$(touch x)`'\"", "long" * 49 + "-one", "long" * 49 + "-two",
)  # fmt: skip

#: File names a program may meet; the last is not UTF-8.
ODD_NAMES: Sequence[str] = (
    "with space", "new\nline", "tab\t", "-leading-dash", "quote'\"`", "$HOME", "~", "*?[a]{b,c}", "%20", "back\\slash",
    "émoji 🎉", "trailing.", ".hidden", "a:12:b.py", "x" * 255, os.fsdecode(b"caf\xe9"),
)  # fmt: skip


#: Makes a backend, not started, from the keywords ``project_id`` and, some of the time, others that ``Backend`` takes.
BackendFactory: TypeAlias = Callable[..., Backend]

#: Makes a state manager; every call another one on the same storage.
StateManagerFactory: TypeAlias = Callable[[], StateManager]


class BackendTests(StandardTests):
    """Tests that need backends, made by the fixture ``backend_factory`` of the class, its module or a conftest.

    Attributes:
        isolated: Whether the environment is shut off from this machine's files and processes. Both answers are tested.
    """

    isolated: ClassVar[bool] = False

    @pytest.fixture
    def project_id(self) -> str:
        return f"conformance {uuid.uuid4()}"

    @pytest.fixture
    def make_backend(self, backend_factory: BackendFactory, project_id: str) -> Iterator[Callable[..., Backend]]:
        """Makes backends of the test's project, or another, that are gone when the test ends."""
        made: list[Backend] = []

        def make(*, project_id: str = project_id, **options: Any) -> Backend:
            made.append(backend_factory(project_id=project_id, **options))
            return made[-1]

        yield make
        for backend in made:
            discard(backend)

    @pytest.fixture(scope="class")
    @classmethod
    def shared_backend(cls, request: pytest.FixtureRequest) -> Iterator[_Shared | None]:
        """Holds one running backend for all tests of a class; None where the factory does not live that long."""
        try:
            factory = request.getfixturevalue("backend_factory")
        except pytest.fail.Exception:  # pytest's way to say that its scope is narrower
            yield None
            return
        shared = _Shared(factory)
        yield shared
        shared.end()

    @pytest.fixture
    def backend(self, request: pytest.FixtureRequest, shared_backend: _Shared | None) -> Backend:
        """A running backend with an empty workspace. Tests that end it or its project make their own."""
        if shared_backend is not None:
            return shared_backend.ready()
        backend: Backend = request.getfixturevalue("make_backend")()
        backend.start()
        return backend

    @pytest.fixture
    def workspace(self, backend: Backend) -> Workspace:
        return backend.workspace


class _Shared:
    def __init__(self, factory: BackendFactory) -> None:
        self._factory = factory
        self._backend: Backend | None = None

    def ready(self) -> Backend:
        if self._backend is not None and self._backend.status == "running":
            # What cannot be emptied any more is not shared any more.
            with contextlib.suppress(OmniagentsError, OSError):
                workspace = self._backend.workspace
                workspace.remove(*[entry.path for entry in workspace.list()])
                return self._backend
        self.end()
        self._backend = self._factory(project_id=f"conformance {uuid.uuid4()}")
        self._backend.start()
        return self._backend

    def end(self) -> None:
        if self._backend is not None:
            discard(self._backend)


def status_of(backend: Backend) -> str:
    """The status as it is now: a type checker believes that it cannot have changed since it was compared."""
    return backend.status


def discard(backend: Backend) -> None:
    """End a backend without saving; what is broken about it is a test's business, not the cleaning's."""
    with contextlib.suppress(BackendError, StateError):
        backend.shutdown(save=False)


def run_python(backend: Backend, program: str, *arguments: str) -> str:
    """What a program prints that the environment's Python runs."""
    result = backend.workspace.run([*backend.python, "-c", program, *arguments])
    assert result.exit_code == 0, result.stderr_text
    return result.stdout_text


_ALIVE = """
import os, sys
def is_alive(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    try:
        with open("/proc/%d/stat" % pid) as file:
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return not os.path.isdir("/proc/self")
print(*[pid for pid in sys.argv[1:] if is_alive(int(pid))])
"""


def alive(backend: Backend, *pids: int) -> list[int]:
    """Which of these processes live in the environment."""
    return [int(pid) for pid in run_python(backend, _ALIVE, *map(str, pids)).split()]


def until(condition: Callable[[], object], what: str) -> None:
    """Ask again and again until ``condition`` is true.

    Raises:
        AssertionError: It never was.
    """
    end = time.monotonic() + _PATIENCE_SECONDS
    while not condition():
        assert time.monotonic() < end, f"not within {_PATIENCE_SECONDS:.0f} s: {what}"
