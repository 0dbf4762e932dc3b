"""Servers to keep things in, and stores on them whose waits are noted and not waited."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
from tests.services.gcs.emulator import emulator_process
from tests.services.gcs.fault_server import FaultServer

from omniagents_gcs.store import GCSStore

sys.path.insert(0, str(Path(__file__).parent))

from gcs_support import MakeStore


@pytest.fixture(autouse=True)
def _own_directories(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("XDG_DATA_HOME", "XDG_CACHE_HOME"):
        monkeypatch.setenv(name, str(tmp_path / name.lower()))
    for name in ("BUCKET_OMNIAGENTS", "GOOGLE_APPLICATION_CREDENTIALS", "GOOGLE_CLOUD_PROJECT"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(scope="session")
def emulator() -> Iterator[str]:
    """The address of somebody else's emulator, with the bucket ``sessions``."""
    with emulator_process("sessions") as url:
        yield url


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[FaultServer]:
    """A server of ours, which is what STORAGE_EMULATOR_HOST names, with the bucket ``sessions``."""
    with FaultServer("sessions") as server:
        monkeypatch.setenv("STORAGE_EMULATOR_HOST", server.url)
        yield server


@pytest.fixture
def pauses() -> list[float]:
    """The seconds that ``store`` would have waited."""
    return []


@pytest.fixture
def make_store(server: FaultServer, pauses: list[float]) -> MakeStore:
    """Makes stores on ``server``."""
    return partial(GCSStore, "sessions", "prefix", pause=pauses.append)


@pytest.fixture
def store(make_store: MakeStore) -> GCSStore:
    """One store on ``server``."""
    return make_store()
