"""The two kinds of environment that are attacked, each as hardened as it is by default, in one vocabulary."""

from __future__ import annotations

import json
import os
from abc import ABC, abstractmethod
from collections.abc import Mapping, Set
from pathlib import Path
from typing import Any, ClassVar

import pytest
from tests.services import docker_engine

from omniagents.backends.base import Backend
from omniagents.guest.kernel import descendants

__all__ = ["Arena", "BubblewrapArena", "DockerArena"]


class Arena(ABC):
    """Makes environments of one kind.

    Attributes:
        name: The backend's.
        home: The home directory inside.
        first_processes: What the processes are called that nobody inside has started.
        without_network: Options of a backend that reaches nothing but itself.
    """

    name: ClassVar[str]
    home: ClassVar[str]
    first_processes: ClassVar[frozenset[bytes]]
    without_network: Mapping[str, Any]

    @abstractmethod
    def make(self, project_id: str, limits: Mapping[str, float], **options: Any) -> Backend:
        """A backend, not started; limits as bubblewrap names them."""

    @abstractmethod
    def workspace_on_host(self, backend: Backend) -> Path:
        """Where the files of its workspace are on this machine."""

    @abstractmethod
    def first_process(self, backend: Backend) -> int:
        """The number, on this machine, of a process that has its limits."""

    @abstractmethod
    def is_stopped(self, backend: Backend) -> bool:
        """Whether a process in it is stopped, the guest included."""

    @abstractmethod
    def is_gone(self, backend: Backend) -> bool:
        """Whether nothing of it is left on this machine."""

    @abstractmethod
    def counts_shared_memory(self, backend: Backend) -> bool:
        """Whether memory that has no owner counts as the environment's."""

    @abstractmethod
    def why_it_was_ended(self, backend: Backend, error: Exception) -> str:
        """What is said of the limit that was broken."""


class BubblewrapArena(Arena):
    name = "bubblewrap"
    home = "/home/user"
    first_processes = frozenset({b"python3"})

    def __init__(self) -> None:
        from omniagents_bubblewrap.backend import BubblewrapBackend

        for what, why, cure in BubblewrapBackend.problems():
            pytest.skip(f"{what} ({why}); {cure}")
        self._kind = BubblewrapBackend
        self.without_network = {}

    def make(self, project_id: str, limits: Mapping[str, float], **options: Any) -> Backend:
        return self._kind(project_id, limits=limits, **options)

    def workspace_on_host(self, backend: Any) -> Path:
        return Path(backend._directory)

    def first_process(self, backend: Any) -> int:
        return next(iter(self._processes_of(backend)))

    def is_stopped(self, backend: Any) -> bool:
        return any(_state(pid) == b"T" for pid in self._processes_of(backend))

    def is_gone(self, backend: Any) -> bool:
        is_running = any(stream._child.poll() is None for stream in backend._streams)
        return not is_running and not backend._base().exists()

    def _processes_of(self, backend: Any) -> Set[int]:
        (stream,) = backend._streams
        return descendants(stream._child.pid)

    def counts_shared_memory(self, backend: Any) -> bool:
        return "cgroup" in str(backend.limits_applied["memory_bytes"])

    def why_it_was_ended(self, backend: Backend, error: Exception) -> str:
        return str(error)


class DockerArena(Arena):
    name = "docker"
    home = "/home/agent"
    first_processes = frozenset({b"docker-init", b"python3"})

    _OF_PROFILE: ClassVar[Mapping[str, str]] = {"processes": "pids", "shared_memory_bytes": "shm_bytes"}

    def __init__(self) -> None:
        try:
            self.address = docker_engine.start("omniagents-test:python")
        except RuntimeError as error:
            pytest.skip(str(error))
        from omniagents_docker.backend import DockerBackend
        from omniagents_docker.engine import Engine
        from omniagents_docker.hardening import HardeningProfile

        self._kind, self._profile = DockerBackend, HardeningProfile
        self.engine = Engine.connect(self.address)
        self.without_network = {"network": "none"}

    def make(self, project_id: str, limits: Mapping[str, float], **options: Any) -> Backend:
        values = {self._OF_PROFILE.get(name, name): value for name, value in limits.items()}
        # Only how often is not the default: ten seconds are long for a test.
        hardening = self._profile(**values, quota_check_seconds=0.5, **options)
        return self._kind(project_id, docker_host=self.address, image="omniagents-test:python", hardening=hardening)

    def workspace_on_host(self, backend: Any) -> Path:
        volume = self.engine.volume(backend._container.volume)
        assert volume is not None
        return Path(volume["Mountpoint"])

    def container(self, backend: Any) -> dict[str, Any]:
        """The engine's description of its container."""
        found = self.engine.inspect(backend._container.id)
        assert found is not None
        return found

    def first_process(self, backend: Any) -> int:
        return int(self.container(backend)["State"]["Pid"])

    def is_stopped(self, backend: Any) -> bool:
        first = self.first_process(backend)
        group = Path(f"/proc/{first}/cgroup").read_text().splitlines()[0].rpartition(":")[2]
        return any(_state(pid) == b"T" for pid in _processes() if group in _groups(pid))

    def is_gone(self, backend: Backend) -> bool:
        labels = json.dumps([self.engine.containers("omniagents.version"), self.engine.volumes("omniagents.version")])
        return json.dumps(backend.project_id) not in labels

    def counts_shared_memory(self, backend: Backend) -> bool:
        return True

    def why_it_was_ended(self, backend: Any, error: Exception) -> str:
        return str(backend.last_limit_error)


def _processes() -> list[int]:
    return [int(name) for name in os.listdir("/proc") if name.isdigit()]


def _groups(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cgroup").read_text()
    except OSError:
        return ""  # it ended meanwhile


def _state(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()[0]
    except OSError:
        return b""
