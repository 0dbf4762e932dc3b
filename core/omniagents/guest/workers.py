"""The threads on which operations run."""

from __future__ import annotations

import collections
import contextlib
import threading
from typing import Callable, Deque, List

__all__ = ["Workers"]

_FIRST = 2
_MOST = 16

Job = Callable[[], None]


class Workers:
    """Threads that answer operations; two from the start, so that a full process table stops nothing.

    Each sleeps on a lock of its own: of threads that wait for one queue, a job wakes several, and the
    one that gets it then shares the interpreter with those that find nothing. What was idle last is
    woken first, its memory is in the processor's caches.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._idle: List[_Worker] = []
        self._count = 0
        # What came when all were busy and no thread could be added: those there are will get to it.
        self._waiting: Deque[Job] = collections.deque()
        for _ in range(_FIRST):
            self._grow()

    def submit(self, job: Job) -> None:
        with self._lock:
            if not self._idle and self._count < _MOST:
                with contextlib.suppress(RuntimeError):
                    self._grow()
            if self._idle:
                self._idle.pop().begin(job)
            else:
                self._waiting.append(job)

    def next_job(self, worker: _Worker) -> Job | None:
        """What a worker that is done does next; without a job it is idle."""
        with self._lock:
            if self._waiting:
                return self._waiting.popleft()
            self._idle.append(worker)
            return None

    def _grow(self) -> None:
        worker = _Worker(self)
        self._count += 1
        self._idle.append(worker)


class _Worker:
    def __init__(self, workers: Workers) -> None:
        self._workers = workers
        self._job: Job | None = None
        self._has_job = threading.Lock()
        self._has_job.acquire()
        threading.Thread(target=self._work, daemon=True).start()

    def begin(self, job: Job) -> None:
        self._job = job
        self._has_job.release()

    def _work(self) -> None:
        while True:
            self._has_job.acquire()
            # Nothing of it is kept afterwards: a call may hold megabytes.
            job, self._job = self._job, None
            while job is not None:
                job()
                job = self._workers.next_job(self)
