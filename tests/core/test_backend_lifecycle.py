"""A backend's life: what a crash, a failure or an interruption at any step leaves, and what the next start does."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import textwrap
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.core.local_backends import eventually, living

from omniagents._ids import encode_project_id, new_snapshot_id, utc_now
from omniagents.backends import base, directory
from omniagents.backends.local_backend import LocalBackend
from omniagents.errors import (
    BackendError,
    BackendNotStartedError,
    BackendStartError,
    BackendUnavailableError,
    GuestDiedError,
    ProjectInUseError,
    SaveFailedError,
    StateCorruptError,
    StateError,
)
from omniagents.state import NoOpStateManager, Snapshot, StateManager
from omniagents.workspace import Workspace

# A time nobody else sleeps, to find processes by.
ASLEEP = f"1000.{os.getpid()}"


class OneFile(StateManager):
    """Keeps the file ``kept`` and nothing else; does before each step what ``before`` says."""

    def __init__(self) -> None:
        self.content: bytes | None = None
        self.saves: list[bytes] = []
        self.before_load = self.before_save = lambda workspace: None

    def load(self, project_id: str, workspace: Workspace) -> Snapshot | None:
        self.before_load(workspace)
        if self.content is None:
            return None
        workspace.write_bytes("kept", self.content)
        return self._snapshot(project_id)

    def save(self, project_id: str, workspace: Workspace, message: str = "") -> Snapshot:
        self.before_save(workspace)
        self.content = workspace.read_bytes("kept")
        self.saves.append(self.content)
        return self._snapshot(project_id)

    def history(self, project_id: str) -> list[Snapshot]:
        return []

    def restore(self, project_id: str, snapshot_id: str, workspace: Workspace) -> Snapshot:
        snapshot = self.load(project_id, workspace)
        assert snapshot is not None
        return snapshot

    def delete(self, project_id: str) -> None:
        self.content = None

    def _snapshot(self, project_id: str) -> Snapshot:
        return Snapshot(new_snapshot_id(), project_id, None, utc_now(), "", 1, 1)


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    return tmp_path / "omniagents"


@pytest.fixture
def state() -> OneFile:
    return OneFile()


@pytest.fixture
def backend(state: OneFile) -> Iterator[LocalBackend]:
    made = LocalBackend("p", state, checkpoint_interval_seconds=None)
    yield made
    made.shutdown(save=False)


def workspace_directory(home: Path) -> Path:
    return home / "workspaces" / encode_project_id("p")


def refuse(error: BaseException) -> Any:
    def raising(workspace: Workspace) -> None:
        raise error

    return raising


def gone_files(home: Path) -> list[str]:
    """What is left of projects: workspaces and leases, but not the empty files that are locked."""
    kept = [*(home / "workspaces").glob("*"), *(home / "leases").glob("*/*.json")]
    return [path.name for path in kept]


def test_a_session_leaves_nothing_but_its_snapshot(backend: LocalBackend, state: OneFile, home: Path):
    with backend:
        backend.workspace.write_bytes("kept", b"1")
    assert state.saves == [b"1"]
    assert gone_files(home) == []


@pytest.mark.parametrize("error", [StateCorruptError("damaged"), RuntimeError("bug"), KeyboardInterrupt()])
def test_a_start_that_cannot_load_leaves_nothing(
    backend: LocalBackend, state: OneFile, home: Path, error: BaseException
):
    state.before_load = refuse(error)
    with pytest.raises(type(error)):
        backend.start()
    assert backend.status == "failed"
    assert gone_files(home) == []
    with pytest.raises(BackendNotStartedError):
        _ = backend.workspace
    backend.shutdown()
    state.before_load = lambda workspace: None
    backend.start()
    assert backend.status == "running"


def test_a_start_without_a_guest_leaves_nothing(home: Path):
    backend = LocalBackend("p", python="/nope")
    with pytest.raises(BackendStartError, match="cannot be started"):
        backend.start()
    assert gone_files(home) == []


def test_a_workspace_directory_that_is_a_file_is_a_failed_start(tmp_path: Path, home: Path):
    (tmp_path / "file").write_text("mine")
    backend = LocalBackend("p", workspace_dir=tmp_path / "file")
    with pytest.raises(BackendStartError, match="the workspace directory cannot be used"):
        backend.start()
    assert (tmp_path / "file").read_text() == "mine"


def test_a_load_that_was_cut_off_is_done_again_by_the_next_start(backend: LocalBackend, state: OneFile, home: Path):
    state.content = b"whole"
    directory = workspace_directory(home)
    directory.mkdir(parents=True)
    (directory / base._LOADING_MARKER).touch()
    (directory / "kept").write_text("ha")
    backend.start()
    assert backend.workspace.read_bytes("kept") == b"whole"
    assert not (directory / base._LOADING_MARKER).exists()


def test_a_start_whose_load_fails_again_keeps_the_workspace_and_its_marker(
    backend: LocalBackend, state: OneFile, home: Path
):
    directory = workspace_directory(home)
    directory.mkdir(parents=True)
    (directory / base._LOADING_MARKER).touch()
    state.before_load = refuse(StateCorruptError("damaged"))
    with pytest.raises(StateCorruptError):
        backend.start()
    assert (directory / base._LOADING_MARKER).exists()


def test_a_workspace_that_is_still_there_is_newer_than_any_snapshot(backend: LocalBackend, state: OneFile, home: Path):
    state.content = b"old"
    directory = workspace_directory(home)
    directory.mkdir(parents=True)
    (directory / "kept").write_text("new")
    backend.start()
    assert backend.workspace.read_bytes("kept") == b"new"


def test_a_save_that_fails_keeps_the_environment_and_can_be_repeated(backend: LocalBackend, state: OneFile, home: Path):
    backend.start()
    backend.workspace.write_bytes("kept", b"1")
    state.before_save = refuse(OSError("no space"))
    with pytest.raises(SaveFailedError) as error:
        backend.shutdown()
    assert str(error.value) == (
        "LocalBackend(project_id='p'): the workspace could not be saved (OSError: no space); the environment is kept. "
        "Call shutdown() to try again, or shutdown(save=False) to discard what was not saved"
    )
    assert backend.status == "failed"
    assert backend.workspace.read_bytes("kept") == b"1"
    with pytest.raises(ProjectInUseError):
        LocalBackend("p").start()
    state.before_save = lambda workspace: None
    backend.shutdown()
    assert (backend.status, state.content) == ("stopped", b"1")
    assert gone_files(home) == []


def test_a_save_that_failed_can_be_discarded(backend: LocalBackend, state: OneFile, home: Path):
    backend.start()
    with pytest.raises(SaveFailedError):  # there is no file "kept"
        backend.shutdown()
    backend.shutdown(save=False)
    assert gone_files(home) == []


def test_a_start_after_a_failed_save_goes_on_with_the_workspace(backend: LocalBackend, state: OneFile):
    backend.start()
    backend.workspace.write_bytes("kept", b"1")
    state.before_save = refuse(OSError("no space"))
    with pytest.raises(SaveFailedError):
        backend.shutdown()
    backend.start()
    assert backend.status == "running"
    assert backend.workspace.read_bytes("kept") == b"1"


def kill_guest(backend: LocalBackend) -> None:
    link: Any = backend._link
    os.kill(link._connection.hello["guest"][0], signal.SIGKILL)


def find_out(backend: LocalBackend) -> None:
    """Call after a kill: the first call may be under way when the guest is found dead."""
    with contextlib.suppress(GuestDiedError):
        backend.workspace.stat(".")
    backend.workspace.stat(".")


def test_a_guest_that_dies_in_the_last_save_loses_nothing(backend: LocalBackend, state: OneFile):
    backend.start()
    backend.workspace.write_bytes("kept", b"1")

    def die(workspace: Workspace) -> None:
        workspace.run("kill -9 $PPID; sleep 1000")

    state.before_save = die
    with pytest.raises(SaveFailedError) as error:
        backend.shutdown()
    assert isinstance(error.value.__cause__, GuestDiedError)
    state.before_save = lambda workspace: None
    backend.shutdown()
    assert state.content == b"1"


def test_an_environment_that_is_gone_ends_without_an_error_and_a_new_start_makes_another(
    backend: LocalBackend, state: OneFile, home: Path, caplog: pytest.LogCaptureFixture
):
    backend.start()
    backend.workspace.write_bytes("kept", b"1")
    backend.checkpoint()
    workspace_directory(home).rename(home / "elsewhere")
    kill_guest(backend)
    with pytest.raises(BackendUnavailableError, match=r"the environment is gone: the workspace .* is not a directory"):
        find_out(backend)
    assert backend.status == "failed"
    backend.shutdown()
    assert backend.status == "stopped"
    assert "shut down without saving, its environment is gone" in caplog.text
    backend.start()
    assert backend.workspace.read_bytes("kept") == b"1"


def test_a_workspace_whose_guest_cannot_come_back_is_kept_for_the_next_start(
    backend: LocalBackend, state: OneFile, home: Path, monkeypatch: pytest.MonkeyPatch
):
    backend.start()
    backend.workspace.write_bytes("kept", b"unsaved")
    with monkeypatch.context() as patch:
        patch.setattr(backend, "_open", lambda argv: (_ for _ in ()).throw(OSError("no more processes")))
        kill_guest(backend)
        with pytest.raises(BackendUnavailableError, match="no more processes"):
            find_out(backend)
        backend.shutdown()
    assert backend.status == "stopped"
    backend.start()
    assert backend.workspace.read_bytes("kept") == b"unsaved"


def test_a_start_in_every_state_of_a_gone_environment_works(backend: LocalBackend, home: Path):
    backend.start()
    workspace_directory(home).rename(home / "elsewhere")
    kill_guest(backend)
    with pytest.raises(BackendUnavailableError):
        find_out(backend)
    backend.start()
    assert backend.workspace.exists(".")


def test_a_removal_that_fails_can_be_repeated(backend: LocalBackend, home: Path, monkeypatch: pytest.MonkeyPatch):
    backend.start()
    backend.workspace.write_bytes("kept", b"1")
    with monkeypatch.context() as patch:
        patch.setattr(backend, "_destroy", lambda: (_ for _ in ()).throw(OSError("busy")))
        with pytest.raises(OSError, match="busy"):
            backend.shutdown()
        assert backend.status == "failed"
    backend.shutdown()
    assert backend.status == "stopped"
    assert gone_files(home) == []


def test_a_workspace_that_cannot_be_removed_is_named_and_removed_by_the_next_shutdown(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    backend = LocalBackend("p")
    backend.start()
    with monkeypatch.context() as patch:
        patch.setattr(directory, "remove_tree", lambda path: (_ for _ in ()).throw(OSError("busy")))
        with pytest.raises(BackendError) as error:
            backend.shutdown()
    assert str(error.value) == (
        f"LocalBackend(project_id='p'): {backend._directory} could not be removed: busy; call shutdown() again"
    )
    backend.shutdown()
    assert (backend.status, backend._directory.exists()) == ("stopped", False)


def test_a_backend_that_was_taken_over_touches_nothing_any_more(state: OneFile, home: Path):
    first = LocalBackend("p", state, checkpoint_interval_seconds=None)
    first.start()
    first.workspace.write_bytes("kept", b"1")
    held = first.workspace
    second = LocalBackend("p", OneFile(), takeover=True, checkpoint_interval_seconds=None)
    second.start()
    for call in (lambda: held.stat("."), lambda: first.checkpoint(), lambda: held.scan()):
        with pytest.raises(BackendUnavailableError) as error:
            call()
        assert str(error.value) == "LocalBackend(project_id='p'): another backend has taken the project over"
    assert first.status == "failed"
    first.shutdown()
    first.shutdown(save=False)
    assert state.saves == []
    assert second.workspace.read_bytes("kept") == b"1"
    with pytest.raises(ProjectInUseError):
        first.start()
    second.shutdown()
    assert gone_files(home) == []


def test_a_guest_of_a_taken_over_backend_ends_with_what_it_started():
    first = LocalBackend("p")
    first.start()
    first.workspace.run(f"sleep {ASLEEP} >/dev/null 2>&1 </dev/null &")
    assert eventually(lambda: living(ASLEEP))
    with LocalBackend("p", takeover=True):
        with pytest.raises(BackendUnavailableError):
            first.workspace.stat(".")
        assert eventually(lambda: not living(ASLEEP))


def test_shutdown_in_every_state_is_harmless(backend: LocalBackend):
    backend.shutdown()
    assert backend.status == "uninitialized"
    backend.start()
    backend.start()
    backend.workspace.write_bytes("kept", b"1")
    backend.shutdown()
    backend.shutdown()
    backend.shutdown(save=False)
    assert backend.status == "stopped"
    with pytest.raises(BackendNotStartedError, match=r"not running \(status 'stopped'\); call start\(\)"):
        _ = backend.workspace


def test_a_held_workspace_is_useless_after_shutdown(backend: LocalBackend):
    backend.start()
    held = backend.workspace
    backend.shutdown(save=False)
    with pytest.raises(BackendNotStartedError, match="the backend was shut down"):
        held.stat(".")


def test_many_threads_that_start_and_stop_at_once_agree(backend: LocalBackend, home: Path):
    def cycle() -> None:
        for _ in range(3):
            backend.start()
            backend.shutdown(save=False)

    threads = [threading.Thread(target=cycle) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert backend.status == "stopped"
    assert gone_files(home) == []


def test_a_users_directory_is_never_removed(tmp_path: Path):
    mine = tmp_path / "mine"
    with LocalBackend("p", workspace_dir=mine) as backend:
        backend.workspace.write_bytes("a", b"1")
    assert (mine / "a").read_bytes() == b"1"
    assert sorted(os.listdir(mine)) == ["a"]


def test_checkpoints_are_made_by_themselves_and_their_failure_is_there_to_see(
    state: OneFile, caplog: pytest.LogCaptureFixture
):
    backend = LocalBackend("p", state, checkpoint_interval_seconds=0.02)
    with backend:
        assert eventually(lambda: isinstance(backend.last_checkpoint_error, FileNotFoundError))
        assert "automatic checkpoint failed" in caplog.text
        backend.workspace.write_bytes("kept", b"1")
        assert eventually(lambda: state.saves)
        assert eventually(lambda: backend.last_checkpoint_error is None)
        state.before_save = refuse(StateError("offline"))
        assert eventually(lambda: isinstance(backend.last_checkpoint_error, StateError))
        state.before_save = lambda workspace: None
    assert not [thread for thread in threading.enumerate() if thread.name == "omniagents-checkpoints"]


@pytest.mark.parametrize("interval", [None, 0])
def test_without_an_interval_no_checkpoint_is_made(state: OneFile, interval: float | None):
    with LocalBackend("p", state, checkpoint_interval_seconds=interval) as backend:
        backend.workspace.write_bytes("kept", b"1")
        assert backend._checkpoints is None


def test_a_restore_that_the_host_does_not_survive_is_loaded_anew(backend: LocalBackend, state: OneFile, home: Path):
    seen = []
    backend.start()
    backend.workspace.write_bytes("kept", b"1")
    backend.checkpoint()
    state.before_load = lambda workspace: seen.append((workspace_directory(home) / base._LOADING_MARKER).exists())
    backend.restore("any")
    assert seen == [True]
    assert not (workspace_directory(home) / base._LOADING_MARKER).exists()
    state.before_load = refuse(StateCorruptError("damaged"))
    with pytest.raises(StateCorruptError):
        backend.restore("any")
    assert not (workspace_directory(home) / base._LOADING_MARKER).exists()


def test_a_tree_too_deep_for_a_path_does_not_keep_a_shutdown_from_ending(home: Path):
    with LocalBackend("p") as backend:
        made = backend.workspace.run(
            [sys.executable, "-c", "import os\nfor _ in range(1500): os.mkdir('d'); os.chdir('d')"]
        )
        assert made.exit_code == 0
    assert gone_files(home) == []


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_forked_child_that_exits_leaves_the_backend_alone(backend: LocalBackend):
    backend.start()
    base._running.add(backend)
    child = os.fork()
    if not child:
        os._exit(len(base._running))
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert backend.workspace.exists(".")


PROGRAM = """
import os, sys, pathlib
from omniagents.backends.local_backend import LocalBackend
from tests.core.test_backend_lifecycle import OneFile

class OnDisk(OneFile):
    def save(self, project_id, workspace, message=""):
        snapshot = super().save(project_id, workspace, message)
        pathlib.Path(sys.argv[1]).write_bytes(self.content)
        return snapshot

backend = LocalBackend("p", OnDisk())
backend.start()
backend.workspace.write_bytes("kept", b"from the program")
asleep = sys.argv[2]
backend.workspace.run(f"setsid {asleep} >/dev/null 2>&1 </dev/null & env -i {asleep} >/dev/null 2>&1 &")
print("ready", flush=True)
"""


def program(tmp_path: Path, ending: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", PROGRAM + textwrap.dedent(ending), str(tmp_path / "saved"), f"sleep {ASLEEP}"],
        cwd=Path(__file__).parents[2],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


@pytest.mark.parametrize("ending", ["", "sys.exit(3)", "raise SystemExit", "1 / 0"])
def test_a_program_that_ends_without_shutdown_is_saved_all_the_same(tmp_path: Path, home: Path, ending: str):
    process = program(tmp_path, ending)
    process.communicate(timeout=60)
    assert (tmp_path / "saved").read_bytes() == b"from the program"
    assert gone_files(home) == []
    assert not living(ASLEEP)


def test_a_program_that_ends_while_threads_work_is_saved_all_the_same(tmp_path: Path, home: Path):
    ending = """
    import threading
    threading.Thread(target=lambda: backend.workspace.run("sleep 1000"), daemon=True).start()
    """
    program(tmp_path, ending).communicate(timeout=60)
    assert (tmp_path / "saved").read_bytes() == b"from the program"
    assert gone_files(home) == []


def test_a_killed_program_leaves_no_process_and_its_workspace_goes_on(tmp_path: Path, backend: LocalBackend):
    process = program(tmp_path, "sys.stdin.read()")
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    assert eventually(lambda: len(living(ASLEEP)) == 2)
    process.kill()
    assert eventually(lambda: not living(ASLEEP))
    process.communicate()
    backend.start()
    assert backend.workspace.read_bytes("kept") == b"from the program"


def test_a_program_that_is_stopped_keeps_its_project(tmp_path: Path):
    process = program(tmp_path, "sys.stdin.read()")
    assert process.stdout is not None
    process.stdout.readline()
    process.send_signal(signal.SIGSTOP)
    try:
        with pytest.raises(ProjectInUseError, match=f"in process {process.pid} on"):
            LocalBackend("p").start()
    finally:
        process.kill()
        process.communicate()


def test_the_async_twins_start_work_and_stop(state: OneFile, home: Path):
    async def session() -> None:
        async with LocalBackend("p", state) as backend:
            await backend.workspace.awrite_bytes("kept", b"1")
            assert (await backend.acheckpoint()) is not None

    asyncio.run(session())
    assert state.saves == [b"1", b"1"]
    assert gone_files(home) == []


def test_an_idle_session_costs_its_host_little(tmp_path: Path):
    backends = [LocalBackend(f"p{number}", NoOpStateManager()) for number in range(3)]
    before = set(threading.enumerate())
    try:
        for backend in backends:
            backend.start()
        assert len(set(threading.enumerate()) - before) <= 3 * len(backends) + 1  # and the watchdog
    finally:
        for backend in backends:
            backend.shutdown()
