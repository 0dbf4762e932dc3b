"""Limits of a running backend that no engine keeps: idle time, age, and the workspace's size."""

from __future__ import annotations

import logging
import threading
import time
import weakref
from typing import TYPE_CHECKING, Final

from omniagents.errors import BackendError, StateError, WorkspaceError

if TYPE_CHECKING:
    from omniagents_docker.backend import DockerBackend

__all__ = ["Guard"]

_log = logging.getLogger("omniagents")

_LONGEST_LOOK_SECONDS: Final = 5.0


class Guard(threading.Thread):
    """Looks after one running backend; with no limit set it ends at once."""

    def __init__(self, backend: DockerBackend) -> None:
        super().__init__(daemon=True, name="omniagents-docker-guard")
        self._backend = weakref.ref(backend)
        self._since = time.monotonic()
        # None where nothing is to be measured.
        self._next_check: float | None = None
        if backend.needs_size_checks:
            self._next_check = self._since + backend.hardening.quota_check_seconds
        self._stopping = threading.Event()
        self.start()

    def stop(self) -> None:
        """It does nothing more; a release that it has begun goes on."""
        self._stopping.set()

    def run(self) -> None:
        while True:
            backend = self._backend()
            if backend is None or self._stopping.is_set():
                return
            if self._next_check is not None and time.monotonic() >= self._next_check:
                self._check_size(backend)
                self._next_check = time.monotonic() + backend.hardening.quota_check_seconds
            left = self._seconds_left(backend)
            if left is None:
                return
            if left <= 0 and self._is_due(backend) and self._release(backend):
                return
            del backend
            self._stopping.wait(min(max(left, 0.05), _LONGEST_LOOK_SECONDS))

    def _check_size(self, backend: DockerBackend) -> None:
        try:
            backend.check_size()
        except (BackendError, WorkspaceError, OSError) as error:
            _log.info("%s: the size of its workspace could not be checked: %s", backend, error)

    def _seconds_left(self, backend: DockerBackend) -> float | None:
        """Until the first limit; None without any."""
        limits = self._limits(backend)
        if self._next_check is not None:
            limits.append(self._next_check)
        return min(limits) - time.monotonic() if limits else None

    def _is_due(self, backend: DockerBackend) -> bool:
        return any(limit <= time.monotonic() for limit in self._limits(backend))

    def _limits(self, backend: DockerBackend) -> list[float]:
        """When the backend has to be released."""
        limits = []
        if backend.max_age_seconds is not None:
            limits.append(self._since + backend.max_age_seconds)
        if backend.idle_timeout_seconds is not None:
            limits.append(backend.last_used + backend.idle_timeout_seconds)
        return limits

    def _release(self, backend: DockerBackend) -> bool:
        try:
            backend.release()
        except (BackendError, StateError) as error:
            _log.warning("%s: could not be released and goes on: %s", backend, error)
            return self._stopping.is_set()
        return True
