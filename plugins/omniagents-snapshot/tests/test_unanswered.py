"""Swaps of ``HEAD`` that take effect although nobody is told: the next save knows its own work."""

from __future__ import annotations

from pathlib import Path

import pytest
from snapshot_support.comparing import state_of, write
from snapshot_support.local_tree import LocalTree, as_workspace
from snapshot_support.stores import WatchedStore

from omniagents.errors import StateConflictError, StateUnavailableError
from omniagents.state import Snapshot
from omniagents_snapshot.manager import SnapshotStateManager
from omniagents_snapshot.memory_store import MemoryStore


class Deaf:
    """A store in memory that answers no swap while ``is_deaf``; they take effect unless ``is_dead``."""

    def __init__(self) -> None:
        self.store = WatchedStore(MemoryStore())
        self.is_deaf = self.is_dead = False
        self.store.after = lambda number, call, name: self._fail(call, self.is_deaf)
        self.store.before = lambda number, call, name: self._fail(call, self.is_dead)

    def _fail(self, call: str, fails: bool) -> None:
        if fails and call == "cas":
            raise StateUnavailableError("no answer came")


@pytest.fixture
def deaf() -> Deaf:
    return Deaf()


@pytest.fixture
def manager(deaf: Deaf, tmp_path: Path) -> SnapshotStateManager:
    return SnapshotStateManager(deaf.store, cache_directory=tmp_path / "cache", cache_bytes=0)


def save_unheard(manager: SnapshotStateManager, deaf: Deaf, tree: LocalTree, message: str) -> None:
    deaf.is_deaf = True
    with pytest.raises(StateUnavailableError):
        manager.save("alice", as_workspace(tree), message)
    deaf.is_deaf = False


@pytest.mark.parametrize("is_first", [True, False], ids=["the first save", "a later one"])
def test_what_was_saved_unheard_is_what_the_next_save_returns(
    manager: SnapshotStateManager, deaf: Deaf, tree: LocalTree, is_first: bool
) -> None:
    if not is_first:
        write(tree.root, "before", "one\n")
        manager.save("alice", as_workspace(tree))
    write(tree.root, "a", "one\n")
    save_unheard(manager, deaf, tree, "unheard")
    deaf.store.calls.clear()
    assert manager.save("alice", as_workspace(tree), "again").message == "unheard"
    assert deaf.store.count("cas") == 0
    assert [found.message for found in manager.history("alice")] == ["unheard", *[""] * (not is_first)]


def test_a_later_save_is_on_top_of_one_that_was_not_heard_of(
    manager: SnapshotStateManager, deaf: Deaf, tree: LocalTree
) -> None:
    write(tree.root, "a", "one\n")
    manager.save("alice", as_workspace(tree))
    write(tree.root, "a", "two\n")
    save_unheard(manager, deaf, tree, "unheard")
    write(tree.root, "a", "three\n")
    saved = manager.save("alice", as_workspace(tree))
    unheard = next(found for found in manager.history("alice") if found.message == "unheard")
    assert (saved.parent_id, saved.changed) == (unheard.id, 1)
    assert manager.check("alice", read_data=True).is_whole


def test_swaps_that_never_arrived_are_made_again(manager: SnapshotStateManager, deaf: Deaf, tree: LocalTree) -> None:
    write(tree.root, "a", "one\n")
    first = manager.save("alice", as_workspace(tree))
    write(tree.root, "a", "two\n")
    deaf.is_dead = True
    for _ in range(20):
        with pytest.raises(StateUnavailableError):
            manager.save("alice", as_workspace(tree))
    deaf.is_dead = False
    assert manager.save("alice", as_workspace(tree), "heard").parent_id == first.id
    assert [found.message for found in manager.history("alice")] == ["heard", ""]


def test_a_swap_may_arrive_while_it_is_made_again(manager: SnapshotStateManager, deaf: Deaf, tree: LocalTree) -> None:
    write(tree.root, "a", "one\n")
    manager.save("alice", as_workspace(tree))
    write(tree.root, "a", "two\n")
    late: list[tuple[str, bytes, str | None]] = []
    cas = deaf.store.cas

    def delayed(name: str, data: bytes, expected: str | None) -> str | None:
        if not late:
            late.append((name, data, expected))
            raise StateUnavailableError("no answer came")
        return cas(name, data, expected)

    deaf.store.cas = delayed  # type: ignore[method-assign]
    with pytest.raises(StateUnavailableError):
        manager.save("alice", as_workspace(tree), "late")
    write(tree.root, "b", "three\n")

    def arrive(number: int, call: str, name: str) -> None:
        deaf.store.before = lambda number, call, name: None
        assert cas(*late[0]) is not None

    deaf.store.before = lambda number, call, name: arrive(number, call, name) if call == "cas" else None
    saved = manager.save("alice", as_workspace(tree), "on time")
    assert [found.message for found in manager.history("alice")] == ["on time", "late", ""]
    assert saved.changed == 1


def test_others_work_on_top_of_what_was_not_heard_of_is_a_conflict_with_that_only(
    manager: SnapshotStateManager, deaf: Deaf, tree: LocalTree, other: LocalTree, tmp_path: Path
) -> None:
    write(tree.root, "a", "one\n")
    manager.save("alice", as_workspace(tree))
    write(tree.root, "a", "two\n")
    save_unheard(manager, deaf, tree, "unheard")
    theirs = SnapshotStateManager(deaf.store, cache_directory=tmp_path / "theirs", cache_bytes=0)
    theirs.load("alice", as_workspace(other))
    write(other.root, "a", "theirs\n")
    theirs.save("alice", as_workspace(other))
    write(tree.root, "b", "ours\n")
    merged = manager.save("alice", as_workspace(tree), on_conflict="merge")
    assert merged.files == 2
    loaded = LocalTree(tmp_path / "loaded")
    theirs.load("alice", as_workspace(loaded))
    assert {path: (loaded.root / path).read_text() for path in ("a", "b")} == {"a": "theirs\n", "b": "ours\n"}


def test_a_merge_that_was_not_heard_of_is_found_again(
    manager: SnapshotStateManager, deaf: Deaf, tree: LocalTree, other: LocalTree, tmp_path: Path
) -> None:
    write(tree.root, "a", "one\n")
    manager.save("alice", as_workspace(tree))
    theirs = SnapshotStateManager(deaf.store, cache_directory=tmp_path / "theirs", cache_bytes=0)
    theirs.load("alice", as_workspace(other))
    write(other.root, "theirs", "theirs\n")
    latest = theirs.save("alice", as_workspace(other))
    write(tree.root, "ours", "ours\n")
    merged = unheard_merge(manager, deaf, tree)
    assert (merged.message, merged.parent_id) == ("merge", latest.id)
    state = state_of(tree.root)
    theirs.load("alice", as_workspace(other))
    assert state_of(other.root).keys() == state.keys() | {"theirs"}


def unheard_merge(manager: SnapshotStateManager, deaf: Deaf, tree: LocalTree) -> Snapshot:
    swaps = []

    def second_fails(number: int, call: str, name: str) -> None:
        if call == "cas":
            swaps.append(name)
            if len(swaps) == 2:  # the first one finds out about the other writer
                raise StateUnavailableError("no answer came")

    deaf.store.after = second_fails
    with pytest.raises(StateUnavailableError):
        manager.save("alice", as_workspace(tree), "merge", on_conflict="merge")
    try:
        return manager.save("alice", as_workspace(tree))
    except StateConflictError as error:
        raise AssertionError("our own merge is taken for another writer's work") from error
