"""Hosts and environments that die, clocks that are wrong, and starts that meet."""

from __future__ import annotations

import contextlib
import os
import signal
import warnings
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from pathlib import Path
from threading import Barrier
from typing import Any

import pytest

from omniagents import _ids
from omniagents.backends.local_backend import LocalBackend
from omniagents.errors import BackendUnavailableError, StateConflictError
from omniagents.records import ExportedEntry, FileInfo, ImportEntry
from omniagents.state import StateManager
from omniagents.testing._support import StateManagerFactory, discard
from omniagents.testing._trees import contents
from omniagents.testing.state.base import StateTests, make_local_backend
from omniagents.workspace import Workspace

__all__ = ["FaultTests"]


class _Dying:
    """A workspace whose guest is killed when half of the work is done; the next use of it reaches another guest."""

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace
        self._guest = int(workspace.run("echo $PPID").stdout)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._workspace, name)

    def export(self, paths: Sequence[str]) -> Iterator[ExportedEntry]:
        for number, entry in enumerate(self._workspace.export(paths)):
            if number == len(paths) // 2:
                os.kill(self._guest, signal.SIGKILL)
            yield entry

    def import_(self, entries: Any, **options: Any) -> Sequence[FileInfo]:
        return self._workspace.import_(self._killing(list(entries)), **options)

    def _killing(self, entries: list[ImportEntry]) -> Iterator[ImportEntry]:
        for number, entry in enumerate(entries):
            if number == len(entries) // 2:
                os.kill(self._guest, signal.SIGKILL)
            yield entry


class FaultTests(StateTests):
    """Whatever dies, whenever: what was saved is there, and the next attempt works."""

    @pytest.fixture
    def many(self, manager: StateManager, project_id: str, workspace: Workspace) -> dict[str, bytes]:
        """Saved: files large enough that nobody has all of them before the half of them has passed."""
        workspace.run("for i in $(seq 40); do head -c 1000000 /dev/urandom > f$i; done; echo first > which")
        manager.save(project_id, workspace, "first")
        return contents(workspace)

    def test_an_environment_killed_during_a_save_costs_that_save_only(
        self,
        manager: StateManager,
        later: StateManager,
        project_id: str,
        backend: LocalBackend,
        fresh: Workspace,
        many: dict[str, bytes],
    ) -> None:
        backend.workspace.run("for i in $(seq 40); do head -c 1000000 /dev/urandom > f$i; done; echo second > which")
        dying: Any = _Dying(backend.workspace)
        with pytest.raises(BackendUnavailableError):
            manager.save(project_id, dying, "second")
        later.load(project_id, fresh)
        assert contents(fresh) == many
        second = manager.save(project_id, backend.workspace, "second")
        assert later.load(project_id, fresh) == second
        assert contents(fresh) == contents(backend.workspace)

    def test_an_environment_killed_during_a_load_can_be_loaded_into_again(
        self, later: StateManager, project_id: str, fresh: Workspace, many: dict[str, bytes]
    ) -> None:
        fresh.write_bytes("too-much", b"x")
        dying: Any = _Dying(fresh)
        with pytest.raises(BackendUnavailableError):
            later.load(project_id, dying)
        later.load(project_id, fresh)
        assert contents(fresh) == many

    def test_a_restore_that_was_interrupted_can_be_repeated(
        self,
        manager: StateManager,
        project_id: str,
        workspace: Workspace,
        fresh: Workspace,
        many: dict[str, bytes],
    ) -> None:
        first = manager.history(project_id)[0]
        workspace.run("rm f*; echo second > which")
        second = manager.save(project_id, workspace, "second")
        dying: Any = _Dying(workspace)
        with pytest.raises(BackendUnavailableError):
            manager.restore(project_id, first.id, dying)
        assert manager.history(project_id)[0] == second
        manager.restore(project_id, first.id, workspace)
        assert contents(workspace) == many

    def test_a_clock_that_goes_backwards_does_not_disturb_the_order(
        self, manager: StateManager, later: StateManager, project_id: str, workspace: Workspace, fresh: Workspace
    ) -> None:
        saved = []
        for days in (0, -400, 3, -1):
            with _clock_off_by(timedelta(days=days)):
                workspace.write_bytes("a.txt", str(days).encode())
                saved.append(manager.save(project_id, workspace, str(days)))
        assert [one.message for one in later.history(project_id)] == ["-1", "3", "-400", "0"]
        times = [one.created_at for one in saved]
        assert times == sorted(times)
        assert later.load(project_id, fresh) == saved[-1]
        assert fresh.read_bytes("a.txt") == b"-1"
        assert manager.save(project_id, workspace).id == saved[-1].id

    def test_two_hosts_that_start_one_project_at_once_lose_nothing_silently(
        self, state_manager_factory: StateManagerFactory, project_id: str, tmp_path: Path
    ) -> None:
        """Each has an environment of its own, as on two machines; both save for the first time at once."""
        ready = Barrier(2)

        def work(name: str) -> str:
            backend = make_local_backend(tmp_path / name, project_id, state_manager=state_manager_factory())
            try:
                backend.start()
                backend.workspace.write_bytes("whose.txt", name.encode())
                ready.wait()
                saved = backend.checkpoint(name)
                assert saved is not None
            except StateConflictError:
                return "conflict"
            else:
                return "saved"
            finally:
                discard(backend)

        with ThreadPoolExecutor(2) as pool:
            outcomes = list(pool.map(work, ("one", "two")))
        manager = state_manager_factory()
        kept = {one.message for one in manager.history(project_id)}
        manager.delete(project_id)
        if self.detects_conflicts:
            assert sorted(outcomes) == ["conflict", "saved"]
        else:
            assert outcomes == ["saved", "saved"]
        assert kept >= {name for name, outcome in zip(("one", "two"), outcomes, strict=True) if outcome == "saved"}

    def test_a_host_killed_while_it_saves_again_and_again_loses_no_save_it_called_done(
        self, state_manager_factory: StateManagerFactory, project_id: str, fresh: Workspace, tmp_path: Path
    ) -> None:
        done = _saves_before_kill(
            lambda: make_local_backend(tmp_path, project_id, state_manager=state_manager_factory()), 3
        )
        manager = state_manager_factory()
        snapshot = manager.load(project_id, fresh)
        manager.delete(project_id)
        if not self.survives_its_process:
            assert snapshot is None
            return
        assert snapshot is not None
        assert int(snapshot.message) >= done
        number = fresh.read_bytes("number")
        assert number == snapshot.message.encode()
        assert contents(fresh) == {"number": number} | {f"{i}.bin": number * 100_000 for i in range(5)}


@contextlib.contextmanager
def _clock_off_by(shift: timedelta) -> Iterator[None]:
    """The host's clock, as far as managers take it from ``omniagents._ids``."""

    class Shifted(datetime):
        @classmethod
        def now(cls, tz: Any = None) -> Any:
            return datetime.now(tz) + shift

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(_ids, "datetime", Shifted)
        yield


def _saves_before_kill(make: Callable[[], LocalBackend], count: int) -> int:
    """Let a copy of this process save until it said so ``count`` times, then kill it; the last save it called done."""
    reading, writing = os.pipe()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # forking with threads: what the copy uses, it makes anew
        pid = os.fork()
    if not pid:
        os.close(reading)
        _save_for_ever(make, writing)
    os.close(writing)
    try:
        with open(reading, "rb") as lines:
            for _ in range(count):
                assert lines.readline().strip().isdigit()
            os.kill(pid, signal.SIGKILL)
            said: list[int] = [count - 1, *(int(line) for line in lines if line.strip().isdigit())]
    finally:
        os.waitpid(pid, 0)
    return max(said)


def _save_for_ever(make: Callable[[], LocalBackend], writing: int) -> None:
    """Each save holds one number, in every file."""
    number = 0
    with contextlib.suppress(BaseException):
        backend = make()
        backend.start()
        while True:
            files = "".join(
                f"; yes {number} | tr -d '\\n' | head -c $((100000 * {len(str(number))})) > {i}.bin" for i in range(5)
            )
            backend.workspace.run(f"printf {number} > number{files}")
            backend.checkpoint(str(number))
            os.write(writing, b"%d\n" % number)
            number += 1
    os._exit(1)
