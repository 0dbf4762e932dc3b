"""The guest's threads: enough of them, no more than allowed, and nothing kept of what is done."""

from __future__ import annotations

import threading
import weakref

import pytest
from tests.core.local_backends import eventually

from omniagents.guest.workers import Workers

MOST = 16
SECONDS = 60


class Blocked:
    """Jobs that wait for each other, and say that they have begun."""

    def __init__(self) -> None:
        self.begun = threading.Semaphore(0)
        self.may_end = threading.Event()

    def __call__(self) -> None:
        self.begun.release()
        self.may_end.wait(SECONDS)

    def submit(self, workers: Workers, count: int) -> None:
        for _ in range(count):
            workers.submit(self)


def finished(workers: Workers) -> bool:
    """Whether one more job is done."""
    done = threading.Event()
    workers.submit(done.set)
    return done.wait(SECONDS)


def test_sixteen_jobs_run_at_once_and_what_comes_then_waits_for_one_of_them() -> None:
    workers, blocked, late = Workers(), Blocked(), threading.Event()
    blocked.submit(workers, MOST)
    assert all(blocked.begun.acquire(timeout=SECONDS) for _ in range(MOST))
    before = threading.active_count()
    workers.submit(late.set)
    assert threading.active_count() == before
    assert not late.is_set()
    blocked.may_end.set()
    assert late.wait(SECONDS)


def test_where_no_thread_can_be_added_the_first_two_do_all_the_work(monkeypatch: pytest.MonkeyPatch) -> None:
    workers, blocked = Workers(), Blocked()

    def full(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", full)
    blocked.submit(workers, 5)
    assert all(blocked.begun.acquire(timeout=SECONDS) for _ in range(2))
    assert not blocked.begun.acquire(blocking=False)
    blocked.may_end.set()
    assert all(blocked.begun.acquire(timeout=SECONDS) for _ in range(3))
    assert finished(workers)


def test_a_worker_that_is_done_keeps_nothing_of_its_job() -> None:
    workers, job = Workers(), Blocked()
    job.may_end.set()
    kept = weakref.ref(job)
    workers.submit(job)
    assert job.begun.acquire(timeout=SECONDS)
    del job
    assert eventually(lambda: kept() is None)
