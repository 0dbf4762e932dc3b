"""Part of a snapshot comes back, and nothing else is touched or read."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest
from snapshot_support.comparing import state_of, write
from snapshot_support.local_tree import LocalTree, as_workspace
from snapshot_support.stores import WatchedStore

from omniagents_snapshot.manager import SnapshotStateManager

NewManager = Callable[..., SnapshotStateManager]


@pytest.fixture
def snapshot_id(manager: SnapshotStateManager, tree: LocalTree) -> str:
    write(tree.root, "deep/er/wanted", "wanted\n")
    (tree.root / "deep").chmod(0o750)
    for number in range(4):
        write(tree.root, f"other{number}", random.Random(number).randbytes(9 << 20))
    return manager.save("alice", as_workspace(tree)).id


def test_only_what_is_below_the_paths_comes_back(
    new_manager: NewManager, tree: LocalTree, other: LocalTree, snapshot_id: str
) -> None:
    write(other.root, "own", "stays\n")
    before = state_of(other.root)
    new_manager().restore("alice", snapshot_id, as_workspace(other), paths=["deep/er"])
    saved = state_of(tree.root)
    wanted = {path: saved[path] for path in ("deep", "deep/er", "deep/er/wanted")}
    assert state_of(other.root) == before | wanted


def test_only_the_packs_it_needs_are_read(
    new_manager: NewManager, other: LocalTree, store: WatchedStore, snapshot_id: str
) -> None:
    store.calls.clear()
    new_manager().restore("alice", snapshot_id, as_workspace(other), paths=["deep"])
    assert len({name for call, name in store.calls if call == "get" and "/packs/" in name}) == 2  # the file, the page


def test_of_the_latest_snapshot_everything_is_read_once(
    new_manager: NewManager, other: LocalTree, store: WatchedStore, snapshot_id: str
) -> None:
    store.calls.clear()
    new_manager(cache_bytes=0).restore("alice", snapshot_id, as_workspace(other), paths=["deep"])
    read = [name.split("/")[1] for _, name in store.calls]
    assert sorted(read) == ["HEAD", "format.json", "packs", "packs", "trees"]


def test_what_is_not_in_the_snapshot_goes_only_there(
    new_manager: NewManager, tree: LocalTree, snapshot_id: str
) -> None:
    write(tree.root, "deep/new")
    write(tree.root, "new")
    write(tree.root, "deep/er/wanted", "changed\n")
    new_manager().restore("alice", snapshot_id, as_workspace(tree), paths=["deep"])
    assert not (tree.root / "deep/new").exists()
    assert (tree.root / "new").exists()
    assert (tree.root / "deep/er/wanted").read_bytes() == b"wanted\n"


def test_a_save_after_it_keeps_everything(
    new_manager: NewManager, manager: SnapshotStateManager, tree: LocalTree, other: LocalTree, snapshot_id: str
) -> None:
    write(tree.root, "deep/er/wanted", "changed\n")
    manager.save("alice", as_workspace(tree))
    manager.restore("alice", snapshot_id, as_workspace(tree), paths=["deep"])
    manager.save("alice", as_workspace(tree))
    new_manager().load("alice", as_workspace(other))
    assert state_of(other.root) == state_of(tree.root)
    assert (other.root / "deep/er/wanted").read_bytes() == b"wanted\n"
