"""Keeps a sandbox alive while its backend's process lives, and puts an idle one to sleep."""

from __future__ import annotations

import logging
import threading
import time
import weakref
from collections.abc import Callable
from typing import TYPE_CHECKING

from omniagents.errors import BackendError, StateError

if TYPE_CHECKING:
    from omniagents_e2b.backend import E2BBackend

__all__ = ["Keeper"]

_log = logging.getLogger("omniagents")


class Keeper(threading.Thread):
    """Extends the sandbox's life four times in each ``timeout_seconds``; one request each time.

    If that fails, the workspace is saved while there is time. A backend that was idle for too long is saved and
    paused, or shut down.
    """

    def __init__(self, backend: E2BBackend) -> None:
        super().__init__(daemon=True, name="omniagents-e2b-keeper")
        self._backend = weakref.ref(backend)
        self._extension_interval = backend.timeout_seconds / 4
        self._interval = self._extension_interval
        if backend.idle_timeout_seconds is not None:
            self._interval = min(self._interval, max(backend.idle_timeout_seconds / 2, 0.1))
        self._extended_at = time.monotonic()
        self._is_failing = False
        self._stopping = threading.Event()
        # Saving may take longer than the sandbox has to live: that is not this thread's work.
        self._worker: threading.Thread | None = None
        self.start()

    def end(self) -> None:
        """Begin nothing more."""
        self._stopping.set()

    def stop(self) -> None:
        """Returns once nothing is being done any more, unless called by what is being done."""
        self.end()
        for thread in (self, self._worker):
            if thread is not None and thread is not threading.current_thread():
                thread.join()

    def run(self) -> None:
        while not self._stopping.wait(self._interval):
            backend = self._backend()
            if backend is None:
                return
            if time.monotonic() - self._extended_at >= self._extension_interval:
                self._extend(backend)
            if self._is_idle(backend) and not backend.is_paused:
                self._begin(backend, self._put_to_sleep)
            del backend

    def _extend(self, backend: E2BBackend) -> None:
        self._extended_at = time.monotonic()
        try:
            backend.extend()
            self._is_failing = False
        except BackendError as error:
            _log.log(logging.DEBUG if self._is_failing else logging.WARNING, "%s; the workspace is saved", error)
            self._is_failing = True
            self._begin(backend, lambda each: each.checkpoint("the sandbox's life could not be extended"))

    def _is_idle(self, backend: E2BBackend) -> bool:
        limit = backend.idle_timeout_seconds
        return limit is not None and backend.status == "running" and backend.seconds_idle >= limit

    def _put_to_sleep(self, backend: E2BBackend) -> None:
        with backend.changing():
            if self._stopping.is_set() or not self._is_idle(backend):
                return
            _log.info("%s: idle for %.0f s: saved, then %s", backend, backend.seconds_idle, backend.on_idle)
            if backend.on_idle == "kill":
                backend.shutdown()
            else:
                backend.pause()

    def _begin(self, backend: E2BBackend, work: Callable[[E2BBackend], object]) -> None:
        if self._worker is None or not self._worker.is_alive():
            self._worker = threading.Thread(
                target=_done, args=(work, backend), daemon=True, name="omniagents-e2b-saving"
            )
            self._worker.start()


def _done(work: Callable[[E2BBackend], object], backend: E2BBackend) -> None:
    try:
        work(backend)
    except (BackendError, StateError) as error:
        _log.warning("%s", error)
