"""The state contract on snapshots in Google Cloud Storage: Google's client, and two servers."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from tests.services import docker_engine
from tests.services.gcs.emulator import emulator_process
from tests.services.gcs.fault_server import FaultServer
from tests.services.gcs.faults import Fault

from omniagents import create_backend
from omniagents.backends.base import Backend
from omniagents.testing import StateManagerContract, StateManagerFactory
from omniagents.testing._trees import contents, described, make_rich_tree
from omniagents_gcs.state_manager import GCSStateManager

pytestmark = pytest.mark.service

IMAGE = "omniagents-test:python"


class TestGCSStateManager(StateManagerContract):
    """On fake-gcs-server, which is other people's."""

    @pytest.fixture(scope="class")
    @classmethod
    def emulator(cls) -> Iterator[str]:
        with emulator_process("sessions") as url:
            yield url

    @pytest.fixture
    def state_manager_factory(self, emulator: str, monkeypatch: pytest.MonkeyPatch) -> StateManagerFactory:
        monkeypatch.setenv("STORAGE_EMULATOR_HOST", emulator)
        monkeypatch.setenv("BUCKET_OMNIAGENTS", "sessions")
        return GCSStateManager


class TestGCSStateManagerOnAFaultyNetwork(StateManagerContract):
    """On a server that fails every seventeenth request, one way after the other."""

    @pytest.fixture(scope="class")
    @classmethod
    def server(cls) -> Iterator[FaultServer]:
        with FaultServer("sessions") as server:
            server.faults.every = 17
            server.faults.recurring = [
                Fault("lost"),
                Fault("status", status=503),
                Fault("dropped"),
                Fault("garbage"),
                Fault("status", status=500),
                Fault("cut"),
            ]
            yield server

    @pytest.fixture
    def state_manager_factory(self, server: FaultServer, monkeypatch: pytest.MonkeyPatch) -> StateManagerFactory:
        monkeypatch.setenv("STORAGE_EMULATOR_HOST", server.url)
        return partial(GCSStateManager, "sessions", "prefix")


class TestFromOneBackendToAnother:
    """A tree saved from one sort of environment is the same in every other."""

    @pytest.fixture(scope="class")
    @classmethod
    def server(cls) -> Iterator[FaultServer]:
        with FaultServer("sessions") as server:
            yield server

    @pytest.fixture
    def make_backend(
        self, server: FaultServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> Iterator[Callable[[str], Backend]]:
        monkeypatch.setenv("STORAGE_EMULATOR_HOST", server.url)
        monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
        made: list[Backend] = []
        project_id = f"from one to another {uuid.uuid4()}"

        def make(name: str) -> Backend:
            options: dict[str, Any] = {
                "state_manager": GCSStateManager("sessions"),
                "checkpoint_interval_seconds": None,
            }
            if name == "docker":
                try:
                    options |= {"docker_host": docker_engine.start(IMAGE), "image": IMAGE}
                except RuntimeError as error:
                    pytest.skip(str(error))
            made.append(create_backend(name, project_id=project_id, **options))
            if name == "bubblewrap" and (problems := made[-1].problems()):
                pytest.skip(str(problems))
            return made[-1]

        yield make
        for backend in made:
            backend.shutdown(save=False)
        GCSStateManager("sessions").delete(project_id)

    @pytest.mark.parametrize(
        ("saved_in", "restored_in"),
        [("docker", "bubblewrap"), ("bubblewrap", "local"), ("local", "docker"), ("docker", "local")],
    )
    def test_it_comes_back_identical(
        self, make_backend: Callable[[str], Backend], saved_in: str, restored_in: str
    ) -> None:
        with make_backend(saved_in) as first:
            make_rich_tree(first)
            expected = described(first.workspace), contents(first.workspace)
        with make_backend(restored_in) as second:
            assert (described(second.workspace), contents(second.workspace)) == expected
            second.workspace.write_bytes("added.txt", b"x")
        with make_backend(saved_in) as third:
            assert third.workspace.read_bytes("added.txt") == b"x"
            third.workspace.remove("added.txt")
            assert contents(third.workspace) == expected[1]
