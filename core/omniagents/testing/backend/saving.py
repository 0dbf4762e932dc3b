"""What is kept between sessions, and when."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from omniagents import hookimpl
from omniagents.backends.base import Backend
from omniagents.errors import SaveFailedError, SnapshotNotFoundError, StateError
from omniagents.plugins import manager
from omniagents.state import NoOpStateManager, Snapshot
from omniagents.testing._keeping import KeepingStateManager
from omniagents.testing._support import BackendTests, status_of, until

__all__ = ["SavingTests"]

MakeBackend = Callable[..., Backend]


class Observer:
    """Notes what it is told."""

    def __init__(self) -> None:
        self.told: list[tuple[str, str]] = []

    @hookimpl
    def omniagents_backend_started(self, backend: Backend) -> None:
        self.told.append(("started", backend.project_id))

    @hookimpl
    def omniagents_backend_stopping(self, backend: Backend) -> None:
        backend.workspace.list()  # it can still be used
        self.told.append(("stopping", backend.project_id))

    @hookimpl
    def omniagents_snapshot_saved(self, backend: Backend, snapshot: Snapshot) -> None:
        self.told.append((f"saved {snapshot.message}", backend.project_id))


class FailingObserver:
    """Raises whatever it is told."""

    @hookimpl
    def omniagents_backend_started(self) -> None:
        raise ZeroDivisionError("an observer's defect")

    @hookimpl
    def omniagents_backend_stopping(self) -> None:
        raise ZeroDivisionError("an observer's defect")


class SavingTests(BackendTests):
    """Saving at the end, on request and by itself; the failure of each."""

    @pytest.fixture
    def state(self) -> KeepingStateManager:
        return KeepingStateManager()

    @pytest.fixture
    def observing(self) -> Iterator[Callable[[Any], Any]]:
        """Registers an observer until the test ends."""
        registered = []

        def register(observer: Any) -> Any:
            manager.register(observer)
            registered.append(observer)
            return observer

        yield register
        for observer in registered:
            manager.unregister(observer)

    def test_files_are_there_in_the_next_session(self, make_backend: MakeBackend, state: KeepingStateManager) -> None:
        with make_backend(state_manager=state) as backend:
            backend.workspace.write_bytes("src/a.bin", b"\0\xff")
        with make_backend(state_manager=state) as backend:
            assert backend.workspace.read_bytes("src/a.bin") == b"\0\xff"

    def test_what_was_removed_stays_removed(self, make_backend: MakeBackend, state: KeepingStateManager) -> None:
        with make_backend(state_manager=state) as backend:
            backend.workspace.write_bytes("old.txt", b"x")
        with make_backend(state_manager=state) as backend:
            backend.workspace.remove("old.txt")
        with make_backend(state_manager=state) as backend:
            assert not backend.workspace.exists("old.txt")

    def test_without_a_state_manager_nothing_stays(self, make_backend: MakeBackend) -> None:
        with make_backend(state_manager=NoOpStateManager()) as backend:
            backend.workspace.write_bytes("a.txt", b"x")
        with make_backend(state_manager=NoOpStateManager()) as backend:
            assert backend.workspace.list() == []

    def test_shutdown_without_saving_discards_what_was_not_saved(
        self, make_backend: MakeBackend, state: KeepingStateManager
    ) -> None:
        backend = make_backend(state_manager=state)
        backend.start()
        backend.workspace.write_bytes("kept.txt", b"x")
        backend.checkpoint()
        backend.workspace.write_bytes("lost.txt", b"x")
        backend.shutdown(save=False)
        with make_backend(state_manager=state) as backend:
            assert [entry.path for entry in backend.workspace.list()] == ["kept.txt"]

    def test_a_checkpoint_saves_while_the_work_goes_on(
        self, make_backend: MakeBackend, state: KeepingStateManager
    ) -> None:
        with make_backend(state_manager=state) as backend:
            backend.workspace.write_bytes("a.txt", b"x")
            snapshot = backend.checkpoint("before the risky part")
            assert snapshot is not None
            assert (snapshot.message, snapshot.files) == ("before the risky part", 1)
            assert backend.snapshot == snapshot
            assert status_of(backend) == "running"
            assert backend.workspace.run("cat a.txt").stdout == b"x"

    def test_a_checkpoint_is_none_where_nothing_is_kept(self, make_backend: MakeBackend) -> None:
        with make_backend() as backend:
            assert backend.checkpoint() is None

    def test_a_checkpoint_that_fails_raises_and_the_work_goes_on(
        self, make_backend: MakeBackend, state: KeepingStateManager
    ) -> None:
        with make_backend(state_manager=state) as backend:
            state.failing = StateError("the store is away")
            with pytest.raises(StateError, match="the store is away"):
                backend.checkpoint()
            state.failing = None
            assert status_of(backend) == "running"
            assert backend.workspace.run("echo on").stdout == b"on\n"

    def test_checkpoints_are_made_by_themselves(self, make_backend: MakeBackend, state: KeepingStateManager) -> None:
        with make_backend(state_manager=state, checkpoint_interval_seconds=0.02):
            assert state.attempts.get(timeout=30) == "automatic checkpoint"

    def test_an_automatic_checkpoint_that_fails_is_kept_for_who_asks_and_tried_again(
        self, make_backend: MakeBackend, state: KeepingStateManager, caplog: pytest.LogCaptureFixture
    ) -> None:
        caplog.set_level(logging.CRITICAL, "omniagents")
        state.failing = StateError("the store is away")
        with make_backend(state_manager=state, checkpoint_interval_seconds=0.02) as backend:
            until(lambda: backend.last_checkpoint_error is not None, "the error is kept")
            assert status_of(backend) == "running"
            state.failing = None
            until(lambda: backend.last_checkpoint_error is None, "the next checkpoint works")
            assert backend.snapshot is not None

    def test_restore_makes_the_workspace_equal_to_an_earlier_snapshot(
        self, make_backend: MakeBackend, state: KeepingStateManager
    ) -> None:
        with make_backend(state_manager=state) as backend:
            backend.workspace.write_bytes("a.txt", b"old")
            first = backend.checkpoint()
            assert first is not None
            backend.workspace.write_bytes("a.txt", b"new")
            backend.workspace.write_bytes("extra.txt", b"x")
            assert backend.restore(first.id) == first
            assert [entry.path for entry in backend.workspace.list()] == ["a.txt"]
            assert backend.workspace.read_bytes("a.txt") == b"old"

    def test_restoring_an_unknown_snapshot_is_refused(
        self, make_backend: MakeBackend, state: KeepingStateManager
    ) -> None:
        with make_backend(state_manager=state) as backend, pytest.raises(SnapshotNotFoundError, match="'nine'"):
            backend.restore("nine")

    def test_a_shutdown_that_cannot_save_keeps_the_environment_and_can_be_repeated(
        self, make_backend: MakeBackend, state: KeepingStateManager
    ) -> None:
        backend = make_backend(state_manager=state)
        backend.start()
        backend.workspace.write_bytes("a.txt", b"precious")
        state.failing = StateError("the store is away")
        with pytest.raises(SaveFailedError) as raised:
            backend.shutdown()
        assert status_of(backend) == "failed"
        assert "the store is away" in str(raised.value)
        assert "shutdown(save=False)" in str(raised.value)
        assert backend.workspace.read_bytes("a.txt") == b"precious"
        state.failing = None
        backend.shutdown()
        assert status_of(backend) == "stopped"
        with make_backend(state_manager=state) as backend:
            assert backend.workspace.read_bytes("a.txt") == b"precious"

    def test_a_shutdown_that_cannot_save_can_be_discarded(
        self, make_backend: MakeBackend, state: KeepingStateManager
    ) -> None:
        backend = make_backend(state_manager=state)
        backend.start()
        backend.workspace.write_bytes("a.txt", b"x")
        state.failing = StateError("the store is away")
        with pytest.raises(SaveFailedError):
            backend.shutdown()
        backend.shutdown(save=False)
        assert status_of(backend) == "stopped"
        state.failing = None
        with make_backend(state_manager=state) as backend:
            assert backend.workspace.list() == []

    def test_a_start_after_a_shutdown_that_could_not_save_goes_on_with_the_workspace(
        self, make_backend: MakeBackend, state: KeepingStateManager
    ) -> None:
        backend = make_backend(state_manager=state)
        backend.start()
        backend.workspace.write_bytes("a.txt", b"precious")
        state.failing = StateError("the store is away")
        with pytest.raises(SaveFailedError):
            backend.shutdown()
        state.failing = None
        backend.start()
        assert status_of(backend) == "running"
        assert backend.workspace.read_bytes("a.txt") == b"precious"

    def test_observers_are_told_of_start_save_and_stop(
        self, make_backend: MakeBackend, state: KeepingStateManager, observing: Callable[[Any], Any]
    ) -> None:
        observer = observing(Observer())
        with make_backend(state_manager=state) as backend:
            backend.checkpoint("by hand")
        told = [what for what, project_id in observer.told if project_id == backend.project_id]
        assert told == ["started", "saved by hand", "stopping", "saved "]

    def test_an_observer_that_fails_breaks_nothing(
        self, make_backend: MakeBackend, observing: Callable[[Any], Any], caplog: pytest.LogCaptureFixture
    ) -> None:
        observing(FailingObserver())
        with make_backend() as backend:
            assert backend.workspace.run("echo on").stdout == b"on\n"
        assert status_of(backend) == "stopped"
        assert "an observer's defect" in caplog.text
