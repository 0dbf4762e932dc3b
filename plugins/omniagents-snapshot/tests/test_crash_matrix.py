"""A host process on a real environment and directory, killed with -9 before, during and after each store call."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from snapshot_support.stores import WatchedStore

from omniagents.backends.local_backend import LocalBackend
from omniagents_snapshot.directory import DirectoryStateManager
from omniagents_snapshot.directory_store import DirectoryStore
from omniagents_snapshot.manager import SnapshotStateManager
from omniagents_snapshot.packing import Packer
from omniagents_snapshot.retention import Retention


def run_child(what: str, store: Path, data: Path, number: int, moment: str) -> bool:
    """Whether it survived."""
    path = os.pathsep.join([str(Path(__file__).parent), *sys.path])
    command = [sys.executable, "-m", "snapshot_support.matrix_child", what, str(store), str(data), str(number), moment]
    done = subprocess.run(command, capture_output=True, env={**os.environ, "PYTHONPATH": path}, check=False)
    assert done.returncode in (0, -9), done.stderr.decode()
    return done.returncode == 0


@pytest.fixture
def prepared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory with one saved session."""
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "first"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    with LocalBackend("alice", state_manager=DirectoryStateManager(tmp_path / "store")) as backend:
        backend.workspace.run("echo first > which; head -c 2000000 /dev/urandom > kept; echo x > gone")
    return tmp_path / "store"


def which(manager: DirectoryStateManager, data: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[str, list[str]]:
    """What the next session finds, on this machine or, with other data, on another one."""
    monkeypatch.setenv("XDG_DATA_HOME", str(data))
    backend = LocalBackend("alice", state_manager=manager, checkpoint_interval_seconds=None)
    backend.start()
    try:
        names = sorted(entry.path for entry in backend.workspace.list() if entry.path != ".omniagents")
        return backend.workspace.read_bytes("which").decode().strip(), names
    finally:
        backend.shutdown(save=False)


FIRST = ("first", ["gone", "kept", "which"])
SECOND = ("second", ["d", "kept", "more", "which"])


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("moment", ["before", "during", "after"])
def test_a_host_killed_at_each_store_call_of_a_save(
    prepared: Path, tmp_path: Path, moment: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    latest, number, seen = FIRST, 0, []
    while True:
        number += 1
        data = tmp_path / f"data{number}"
        survived = run_child("save", prepared, data, number, moment)
        manager = DirectoryStateManager(prepared)
        assert manager.check("alice", read_data=True).problems == ()
        found = which(DirectoryStateManager(prepared), tmp_path / f"other machine {number}", monkeypatch)
        assert found in (latest, SECOND)
        seen.append(found)
        # The environment outlived its host: the next one on this machine goes on with it, and saves it.
        monkeypatch.setenv("XDG_DATA_HOME", str(data))
        with LocalBackend("alice", state_manager=DirectoryStateManager(prepared)) as backend:
            assert backend.workspace.read_bytes("more") == (data / "expected").read_bytes()
            # Changed by its time alone; so something is saved whatever the killed one got done.
            backend.workspace.write_bytes("which", b"second\n")
        latest = SECOND
        assert which(DirectoryStateManager(prepared), tmp_path / f"yet another {number}", monkeypatch) == SECOND
        if survived:
            break
    assert number > 4
    assert seen[0] == FIRST


@pytest.mark.slow
def test_a_host_killed_at_each_store_call_of_a_load(
    prepared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(1, 20):
        data = tmp_path / f"data{number}"
        survived = run_child("load", prepared, data, number, "after")
        assert which(DirectoryStateManager(prepared), data, monkeypatch) == FIRST
        if survived:
            break
    assert survived
    assert number > 2


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("moment", ["before", "after"])
def test_a_host_killed_at_each_store_call_of_a_prune(
    prepared: Path, tmp_path: Path, moment: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    number = 0
    while True:
        number += 1
        assert run_child("save", prepared, tmp_path / f"data{number}", 10_000, "before")
        survived = run_child("prune", prepared, tmp_path / f"data{number}", number, moment)
        manager = DirectoryStateManager(prepared)
        assert manager.check("alice", read_data=True).problems == ()
        assert which(manager, tmp_path / f"other{number}", monkeypatch) == SECOND
        manager.prune("alice", Retention(last=1, hourly=0, daily=0, weekly=0))
        assert manager.stats("alice").unused_bytes == 0
        if survived:
            break
    assert number > 6


@pytest.fixture
def backend(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[LocalBackend]:
    """Running, with a manager whose store can be held up."""
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    store = WatchedStore(DirectoryStore(tmp_path / "store"))
    manager = SnapshotStateManager(store, cache_directory=tmp_path / "cache")
    made = LocalBackend("alice", state_manager=manager, checkpoint_interval_seconds=None)
    made.start()
    yield made
    made.shutdown(save=False)


def test_calls_are_answered_while_a_checkpoint_waits_for_its_store(backend: LocalBackend) -> None:
    """At every call of the store, for as long as it takes."""
    manager = backend.state_manager
    assert isinstance(manager, SnapshotStateManager)
    store = manager.store
    assert isinstance(store, WatchedStore)
    reached, go_on = threading.Event(), threading.Event()

    def hold_up(number: int, call: str, name: str) -> None:
        reached.set()
        assert go_on.wait(60)

    backend.workspace.write_bytes("a.txt", b"one")
    store.before = hold_up
    saving = threading.Thread(target=backend.checkpoint)
    saving.start()
    assert reached.wait(60)
    assert backend.workspace.run("echo answered").stdout == b"answered\n"
    backend.workspace.write_bytes("b.txt", b"written meanwhile")
    assert backend.workspace.read_bytes("b.txt") == b"written meanwhile"
    assert saving.is_alive()
    go_on.set()
    saving.join(60)
    store.before = lambda number, call, name: None
    assert manager.history("alice")[0].files == 1
    assert backend.checkpoint() != manager.history("alice")[1]
    assert manager.history("alice")[0].files == 2


def test_calls_are_answered_while_a_checkpoint_does_not_take_what_it_asked_for(
    backend: LocalBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The files on their way out of the environment wait; nobody waits for them."""
    reached, go_on = threading.Event(), threading.Event()
    add = Packer.add

    def hold_up(self: Packer, chunk: bytes) -> bytes:
        reached.set()
        assert go_on.wait(60)
        return add(self, chunk)

    backend.workspace.run("for i in $(seq 30); do head -c 1000000 /dev/urandom > f$i; done")
    monkeypatch.setattr(Packer, "add", hold_up)
    saving = threading.Thread(target=backend.checkpoint)
    saving.start()
    assert reached.wait(60)
    assert backend.workspace.run("echo answered; echo changed > f30").stdout == b"answered\n"
    assert backend.workspace.read_bytes("f30") == b"changed\n"
    assert saving.is_alive()
    go_on.set()
    saving.join(60)
    assert backend.state_manager.history("alice")[0].files == 30


def test_a_full_disk_under_the_cache_costs_time_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    program = """
import os, resource, sys
from pathlib import Path
from omniagents.backends.local_backend import LocalBackend
from omniagents_snapshot.manager import SnapshotStateManager
from omniagents_snapshot.memory_store import MemoryStore

store, cache = MemoryStore(), Path(sys.argv[1])

def manager():
    return SnapshotStateManager(store, cache_directory=cache)

def session(workspace, work, **options):
    backend = LocalBackend("alice", state_manager=manager(), workspace_dir=workspace, checkpoint_interval_seconds=None)
    backend.start()
    # No file that this process writes may be longer than 100 bytes from now on; the environment runs already.
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, resource.RLIM_INFINITY))
    try:
        return work(backend)
    finally:
        backend.shutdown(save=False)
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))

def save(backend):
    backend.workspace.run("for i in 1 2 3; do head -c 500000 /dev/urandom > f$i; done")
    return backend.checkpoint("saved").files

assert session(sys.argv[2] + "/one", save) == 3
assert manager().check("alice", read_data=True).is_whole

def load(backend):
    return manager().load("alice", backend.workspace).files

assert session(sys.argv[2] + "/two", load) == 3
print("all well")
"""
    done = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path / "cache"), str(tmp_path)], capture_output=True, check=False
    )
    assert (done.returncode, done.stdout) == (0, b"all well\n"), done.stderr.decode()
    assert b"could not write the stat cache" in done.stderr
