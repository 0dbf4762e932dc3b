"""Keeps a sandbox alive while its backend's process lives, and puts an idle one to sleep."""

from __future__ import annotations

import logging
import threading
import weakref
from typing import TYPE_CHECKING

from omniagents.errors import BackendError, StateError

if TYPE_CHECKING:
    from omniagents_e2b.backend import E2BBackend

__all__ = ["Keeper"]

_log = logging.getLogger("omniagents")


class Keeper(threading.Thread):
    """Extends the sandbox's life four times in each ``timeout_seconds``; one request each time.

    A backend that was idle for too long is paused or shut down instead.
    """

    def __init__(self, backend: E2BBackend) -> None:
        super().__init__(daemon=True, name="omniagents-e2b-keeper")
        self._backend = weakref.ref(backend)
        self._interval = backend.timeout_seconds / 4
        if backend.idle_timeout_seconds is not None:
            self._interval = min(self._interval, max(backend.idle_timeout_seconds / 2, 0.1))
        self._stopping = threading.Event()
        self.start()

    def stop(self) -> None:
        """Returns once nothing is being done any more, unless called by this very thread."""
        self._stopping.set()
        if threading.current_thread() is not self:
            self.join()

    def run(self) -> None:
        while not self._stopping.wait(self._interval):
            backend = self._backend()
            if backend is None or backend.status != "running":
                return
            try:
                self._look_after(backend)
            except (BackendError, StateError) as error:
                _log.warning("%s", error)
            del backend

    def _look_after(self, backend: E2BBackend) -> None:
        limit = backend.idle_timeout_seconds
        if limit is None or backend.seconds_idle < limit:
            backend.extend()
        elif backend.on_idle == "kill":
            _log.info("%s: idle for %.0f s; saved and ended", backend, backend.seconds_idle)
            backend.shutdown()
        elif not backend.is_paused:
            _log.info("%s: idle for %.0f s; saved and paused", backend, backend.seconds_idle)
            backend.pause()
