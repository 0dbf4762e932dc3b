"""Limits of a running backend that no engine keeps: idle time, age, and the workspace's size."""

from __future__ import annotations

import logging
import threading
import time
import weakref
from typing import TYPE_CHECKING, Final

from omniagents.errors import BackendError, StateError

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
            left = self._seconds_left(backend)
            if left is None:
                return
            if left <= 0 and self._release(backend):
                return
            del backend
            self._stopping.wait(min(max(left, 0.05), _LONGEST_LOOK_SECONDS))

    def _seconds_left(self, backend: DockerBackend) -> float | None:
        """Until the first limit; None without any."""
        now = time.monotonic()
        left = []
        if backend.max_age_seconds is not None:
            left.append(self._since + backend.max_age_seconds - now)
        if backend.idle_timeout_seconds is not None:
            left.append(backend.last_used + backend.idle_timeout_seconds - now)
        return min(left) if left else None

    def _release(self, backend: DockerBackend) -> bool:
        try:
            backend.release()
        except (BackendError, StateError) as error:
            _log.warning("%s: could not be released and goes on: %s", backend, error)
            return self._stopping.is_set()
        return True
