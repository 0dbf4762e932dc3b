"""The state contract on snapshots in Google Cloud Storage: Google's client, and two servers."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import pytest
from tests.services.gcs.emulator import emulator_process
from tests.services.gcs.fault_server import FaultServer
from tests.services.gcs.faults import Fault

from omniagents.testing import StateManagerContract, StateManagerFactory
from omniagents_gcs.state_manager import GCSStateManager

pytestmark = pytest.mark.service


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
