"""The fixtures of the state contract: managers on one storage, and workspaces to save and to load."""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar

import pytest

from omniagents.backends.local_backend import LocalBackend
from omniagents.state import StateManager
from omniagents.testing._standard import StandardTests
from omniagents.testing._support import StateManagerFactory, discard
from omniagents.workspace import Workspace

__all__ = ["StateTests", "make_local_backend"]


def make_local_backend(data: Path, project_id: str, **options: Any) -> LocalBackend:
    """A local backend that keeps its own things below ``data``."""
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("XDG_DATA_HOME", str(data))
        return LocalBackend(project_id, checkpoint_interval_seconds=None, **options)


class StateTests(StandardTests):
    """Tests that need state managers, made by the fixture ``state_manager_factory``."""

    detects_conflicts: ClassVar[bool]
    survives_its_process: ClassVar[bool]
    quota_options: ClassVar[Mapping[str, Any] | None]

    @pytest.fixture
    def project_id(self) -> str:
        return f"conformance {uuid.uuid4()}"

    @pytest.fixture
    def manager(self, state_manager_factory: StateManagerFactory, project_id: str) -> Iterator[StateManager]:
        made = state_manager_factory()
        yield made
        made.delete(project_id)

    @pytest.fixture
    def later(self, state_manager_factory: StateManagerFactory, manager: StateManager) -> StateManager:
        """Another manager on the same storage, as the next session has it."""
        return state_manager_factory()

    @pytest.fixture(scope="class")
    @classmethod
    def local_backends(cls, tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[LocalBackend]]:
        data = tmp_path_factory.mktemp("data")
        backends = [make_local_backend(data, f"{name} {uuid.uuid4()}") for name in ("one", "two")]
        for backend in backends:
            backend.start()
        yield backends
        for backend in backends:
            discard(backend)

    @pytest.fixture
    def backend(self, local_backends: list[LocalBackend]) -> LocalBackend:
        """Whose workspace is saved: empty at first."""
        return _emptied(local_backends[0])

    @pytest.fixture
    def workspace(self, backend: LocalBackend) -> Workspace:
        return backend.workspace

    @pytest.fixture
    def fresh(self, local_backends: list[LocalBackend]) -> Workspace:
        """Another workspace, to load into: empty at first."""
        return _emptied(local_backends[1]).workspace


def _emptied(backend: LocalBackend) -> LocalBackend:
    workspace = backend.workspace
    workspace.remove(*[entry.path for entry in workspace.list()])
    return backend
