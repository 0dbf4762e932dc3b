"""Saving a running backend every so often."""

from __future__ import annotations

import logging
import threading
import weakref
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from omniagents.backends.base import Backend

__all__ = ["Checkpoints"]

_log = logging.getLogger("omniagents")


class Checkpoints(threading.Thread):
    """Makes checkpoints until ``stop``, or until the backend has ended or is no longer used by anyone.

    A failure is logged and kept in ``last_checkpoint_error``; the next one tries again.
    """

    def __init__(self, backend: Backend, interval_seconds: float) -> None:
        super().__init__(daemon=True, name="omniagents-checkpoints")
        self._backend = weakref.ref(backend)
        self._interval = interval_seconds
        self._stopping = threading.Event()
        self.start()

    def stop(self) -> None:
        """Returns once no checkpoint is being made any more."""
        self._stopping.set()
        if threading.current_thread() is not self:
            self.join()

    def run(self) -> None:
        while not self._stopping.wait(self._interval):
            backend = self._backend()
            if backend is None or backend.status != "running":
                return
            try:
                backend.checkpoint("automatic checkpoint")
            except Exception as error:
                backend.last_checkpoint_error = error
                _log.warning("%s: automatic checkpoint failed: %s", backend, error)
            del backend
