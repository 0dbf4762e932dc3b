"""The threads on which operations run."""

from __future__ import annotations

import contextlib
import queue
import threading
from typing import Callable

__all__ = ["Workers"]

_FIRST = 2
_MOST = 16


class Workers:
    """Threads that answer operations; two from the start, so that a full process table stops nothing."""

    def __init__(self) -> None:
        self._jobs: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._idle = 0
        self._count = 0
        self._lock = threading.Lock()
        for _ in range(_FIRST):
            self._grow()

    def submit(self, job: Callable[[], None]) -> None:
        with self._lock:
            if self._idle <= 0 and self._count < _MOST:
                # At the limit of threads those there are will get to it.
                with contextlib.suppress(RuntimeError):
                    self._grow()
            self._idle -= 1
        self._jobs.put(job)

    def _grow(self) -> None:
        threading.Thread(target=self._work, daemon=True).start()
        self._count += 1
        self._idle += 1

    def _work(self) -> None:
        while True:
            self._jobs.get()()
            with self._lock:
                self._idle += 1
