"""Whatever ends a save at whatever point: the previous snapshot loads, and the next save works."""

from __future__ import annotations

import contextlib
import errno
import os
import random
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from snapshot_support.comparing import State, state_of, write
from snapshot_support.local_tree import LocalTree, as_workspace
from snapshot_support.stores import Crash, WatchedStore

from omniagents.errors import StateError
from omniagents_snapshot.directory import DirectoryStateManager
from omniagents_snapshot.manager import SnapshotStateManager

NewManager = Callable[..., SnapshotStateManager]
# What a first save and a later one ask of the store.
FIRST_SAVE_CALLS = 7
LATER_SAVE_CALLS = 4


def first_version(tree: LocalTree) -> None:
    write(tree.root, "a", b"first")
    write(tree.root, "big", random.Random(1).randbytes(3 << 20))


def second_version(tree: LocalTree) -> None:
    write(tree.root, "a", b"second")
    write(tree.root, "directory/b", random.Random(2).randbytes(2 << 20))
    (tree.root / "big").unlink()


def fail_at(call_number: int, error: BaseException) -> Callable[[int, str, str], None]:
    def fail(number: int, call: str, name: str) -> None:
        if number >= call_number:
            raise error

    return fail


def loaded_state(manager: SnapshotStateManager, root: Path) -> State:
    manager.load("alice", as_workspace(LocalTree(root)))
    return state_of(root)


@pytest.mark.parametrize("moment", ["before", "after"])
@pytest.mark.parametrize("call_number", range(1, LATER_SAVE_CALLS + 1))
def test_a_host_that_dies_at_a_store_call_loses_only_the_unfinished_save(
    new_manager: NewManager, tree: LocalTree, store: WatchedStore, tmp_path: Path, call_number: int, moment: str
) -> None:
    first_version(tree)
    manager = new_manager()
    manager.save("alice", as_workspace(tree))
    was = state_of(tree.root)
    second_version(tree)
    store.calls.clear()
    setattr(store, moment, fail_at(call_number, Crash()))
    with pytest.raises(Crash):
        manager.save("alice", as_workspace(tree))
    setattr(store, moment, lambda number, call, name: None)
    # The last but one is the swap; the last, the entry in the history.
    took_effect = call_number == LATER_SAVE_CALLS or (call_number == LATER_SAVE_CALLS - 1 and moment == "after")
    is_now = state_of(tree.root)
    assert loaded_state(new_manager(), tmp_path / "loaded") == (is_now if took_effect else was)
    new_manager().save("alice", as_workspace(tree))
    assert loaded_state(new_manager(), tmp_path / "again") == is_now
    assert manager.check("alice", read_data=True).problems == ()


@pytest.mark.parametrize("call_number", range(1, FIRST_SAVE_CALLS))
def test_a_host_that_dies_in_the_first_save_leaves_a_project_never_saved(
    new_manager: NewManager, tree: LocalTree, other: LocalTree, store: WatchedStore, call_number: int
) -> None:
    first_version(tree)
    store.before = fail_at(call_number, Crash())
    with pytest.raises(Crash):
        new_manager().save("alice", as_workspace(tree))
    store.before = lambda number, call, name: None
    assert new_manager().load("alice", as_workspace(other)) is None
    new_manager().save("alice", as_workspace(tree))
    assert loaded_state(new_manager(), other.root) == state_of(tree.root)


def test_the_calls_of_a_save_are_all_tried_above(
    manager: SnapshotStateManager, tree: LocalTree, store: WatchedStore
) -> None:
    first_version(tree)
    manager.save("alice", as_workspace(tree))
    assert len(store.calls) == FIRST_SAVE_CALLS
    store.calls.clear()
    second_version(tree)
    manager.save("alice", as_workspace(tree))
    assert len(store.calls) == LATER_SAVE_CALLS


@pytest.mark.parametrize("call_number", range(1, LATER_SAVE_CALLS))
def test_after_a_store_failed_the_same_manager_saves_again(
    manager: SnapshotStateManager, new_manager: NewManager, tree: LocalTree, other: LocalTree, store: WatchedStore,
    call_number: int,
) -> None:  # fmt: skip
    first_version(tree)
    manager.save("alice", as_workspace(tree))
    second_version(tree)
    store.calls.clear()
    store.before = fail_at(call_number, StateError("the store is away"))
    with pytest.raises(StateError, match="the store is away"):
        manager.save("alice", as_workspace(tree))
    store.before = lambda number, call, name: None
    manager.save("alice", as_workspace(tree))
    assert loaded_state(new_manager(), other.root) == state_of(tree.root)


@pytest.mark.parametrize("error", [Crash(), StateError("the store is away")], ids=["crash", "failure"])
def test_a_snapshot_without_its_history_entry_is_in_the_history_all_the_same_and_gets_one(
    new_manager: NewManager, tree: LocalTree, other: LocalTree, store: WatchedStore, error: BaseException
) -> None:
    first_version(tree)
    store.before = fail_at(FIRST_SAVE_CALLS, error)
    with contextlib.suppress(Crash):
        new_manager().save("alice", as_workspace(tree), "first")
    store.before = lambda number, call, name: None
    (first,) = new_manager().history("alice")
    assert new_manager().restore("alice", first.id, as_workspace(other)) == first
    write(tree.root, "b")
    second = new_manager().save("alice", as_workspace(tree), "second")
    entries = [path.name.rpartition("-")[2] for path in store.store.root.glob("*/history/*")]  # type: ignore[attr-defined]
    assert sorted(entries) == sorted([first.id, second.id])
    assert new_manager().history("alice") == [second, first]


def test_a_full_disk_fails_the_save_and_leaves_the_previous_snapshot(
    manager: SnapshotStateManager, new_manager: NewManager, tree: LocalTree, other: LocalTree,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    first_version(tree)
    manager.save("alice", as_workspace(tree))
    was = state_of(tree.root)
    second_version(tree)
    written = os.write
    room = [1 << 20]

    def write_until_full(descriptor: int, data: bytes) -> int:
        room[0] -= len(data)
        if room[0] < 0:
            raise OSError(errno.ENOSPC, "No space left on device")
        return written(descriptor, data)

    with monkeypatch.context() as patched:
        patched.setattr(os, "write", write_until_full)
        with pytest.raises(StateError, match="No space left on device; free some space and save again"):
            manager.save("alice", as_workspace(tree))
    assert loaded_state(new_manager(), other.root) == was
    manager.save("alice", as_workspace(tree))
    assert manager.check("alice", read_data=True).is_whole


def test_the_environment_dying_during_a_save_leaves_the_previous_snapshot(
    manager: SnapshotStateManager, new_manager: NewManager, tree: LocalTree, other: LocalTree
) -> None:
    first_version(tree)
    manager.save("alice", as_workspace(tree))
    was = state_of(tree.root)
    second_version(tree)

    def die(name: str, number: int) -> None:
        if number == 3:
            raise ConnectionError("the environment is gone")

    tree.while_reading = die
    with pytest.raises(ConnectionError, match="the environment is gone"):
        manager.save("alice", as_workspace(tree))
    assert loaded_state(new_manager(), other.root) == was


def test_an_interrupted_load_is_repeated(
    manager: SnapshotStateManager, tree: LocalTree, other: LocalTree, store: WatchedStore, new_manager: NewManager
) -> None:
    first_version(tree)
    manager.save("alice", as_workspace(tree))
    for call_number in range(1, 5):
        store.calls.clear()
        store.before = fail_at(call_number, StateError("the store is away"))
        with pytest.raises(StateError, match="the store is away"):
            new_manager().load("alice", as_workspace(other))
    store.before = lambda number, call, name: None
    assert loaded_state(new_manager(), other.root) == state_of(tree.root)


def test_a_load_that_failed_halfway_does_not_spoil_the_next_save(
    manager: SnapshotStateManager, tree: LocalTree, store: WatchedStore
) -> None:
    first_version(tree)
    first = manager.save("alice", as_workspace(tree))
    second_version(tree)
    manager.save("alice", as_workspace(tree))
    is_now = state_of(tree.root)
    store.before = lambda number, call, name: (
        fail_at(1, StateError("away"))(1, call, name) if "/packs/" in name else None
    )
    with pytest.raises(StateError, match="away"):
        manager.restore("alice", first.id, as_workspace(tree))
    store.before = lambda number, call, name: None
    manager.load("alice", as_workspace(tree))
    assert state_of(tree.root) == is_now


@pytest.mark.slow
def test_a_host_killed_at_twenty_random_moments_never_damages_what_was_saved(tmp_path: Path) -> None:
    root, store = tmp_path / "tree", tmp_path / "store"
    moments = random.Random()
    manager = DirectoryStateManager(store)
    for round_number in range(20):
        done = last_number_before_kill(root, store, moments.uniform(0.0, 0.15))
        report = manager.check("alice", read_data=True)
        assert report.problems == ()
        loaded = LocalTree(tmp_path / f"loaded{round_number}")
        snapshot = DirectoryStateManager(store).load("alice", as_workspace(loaded))
        if snapshot is None:
            assert done is None
            continue
        assert done is None or int(snapshot.message) >= done
        assert (loaded.root / "latest").read_text() == f"{snapshot.message}\n"


def last_number_before_kill(root: Path, store: Path, seconds: float) -> int | None:
    """Start a saving process, kill it ``seconds`` after it is ready; the last save it called done."""
    path = os.pathsep.join([str(Path(__file__).parent), *sys.path])
    command = [sys.executable, "-m", "snapshot_support.saving_child", str(root), str(store)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, env={**os.environ, "PYTHONPATH": path}) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        try:
            process.wait(seconds)
        except subprocess.TimeoutExpired:
            process.kill()
        done = process.stdout.read().split(b"\n")[:-1]
    assert process.returncode == -9
    return int(done[-1]) if done else None
