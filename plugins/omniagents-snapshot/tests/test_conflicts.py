"""Two writers never lose work silently."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
from snapshot_support.comparing import state_of, write
from snapshot_support.local_tree import LocalTree, as_workspace
from snapshot_support.stores import WatchedStore

from omniagents.errors import StateConflictError
from omniagents.state import Snapshot
from omniagents_snapshot.manager import SnapshotStateManager
from omniagents_snapshot.repository import Repository

NewManager = Callable[..., SnapshotStateManager]


@pytest.fixture
def two(
    new_manager: NewManager, tree: LocalTree, other: LocalTree
) -> tuple[SnapshotStateManager, SnapshotStateManager]:
    """Two managers that loaded the same snapshot into two workspaces."""
    write(tree.root, "shared", "as it was\n")
    mine, theirs = new_manager(), new_manager()
    mine.save("alice", as_workspace(tree), "common")
    theirs.load("alice", as_workspace(other))
    return mine, theirs


def test_the_second_writer_is_told_both_snapshots(
    two: tuple[SnapshotStateManager, SnapshotStateManager], tree: LocalTree, other: LocalTree
) -> None:
    mine, theirs = two
    common = mine.history("alice")[0]
    write(other.root, "shared", "theirs\n")
    latest = theirs.save("alice", as_workspace(other))
    write(tree.root, "shared", "mine\n")
    with pytest.raises(StateConflictError) as caught:
        mine.save("alice", as_workspace(tree))
    ours = next(found for found in mine.history("alice") if found.id not in (latest.id, common.id))
    assert str(caught.value) == (
        f"another writer saved project 'alice' first: the latest is now {latest.id!r}, not {common.id!r}. "
        f"This workspace is kept in the history as {ours.id!r}. "
        "Restore one of the two, then save; or save with on_conflict='merge' or 'overwrite'"
    )
    assert ours.parent_id == latest.parent_id == common.id


def test_a_conflict_lasts_until_one_of_the_two_is_restored(
    two: tuple[SnapshotStateManager, SnapshotStateManager], tree: LocalTree, other: LocalTree, tmp_path: Path
) -> None:
    mine, theirs = two
    write(other.root, "shared", "theirs\n")
    latest = theirs.save("alice", as_workspace(other))
    write(tree.root, "shared", "mine\n")
    for _ in range(2):
        with pytest.raises(StateConflictError):
            mine.save("alice", as_workspace(tree), "lost")
    lost = next(found for found in mine.history("alice") if found.message == "lost")
    mine.restore("alice", lost.id, as_workspace(tree))
    assert mine.save("alice", as_workspace(tree), "mine again").parent_id == latest.id
    loaded = LocalTree(tmp_path / "loaded")
    theirs.load("alice", as_workspace(loaded))
    assert (loaded.root / "shared").read_text() == "mine\n"


def test_of_many_writers_at_once_exactly_one_wins(new_manager: NewManager, tree: LocalTree, tmp_path: Path) -> None:
    write(tree.root, "shared", "as it was\n")
    new_manager().save("alice", as_workspace(tree))
    ready = threading.Barrier(6)

    def save(number: int) -> Snapshot | None:
        workspace, manager = LocalTree(tmp_path / f"w{number}"), new_manager()
        manager.load("alice", as_workspace(workspace))
        write(workspace.root, "shared", f"{number}\n")
        ready.wait()
        try:
            return manager.save("alice", as_workspace(workspace))
        except StateConflictError:
            return None

    with ThreadPoolExecutor(6) as executor:
        saved = list(executor.map(save, range(6)))
    (winner,) = (snapshot for snapshot in saved if snapshot is not None)
    loaded = LocalTree(tmp_path / "loaded")
    manager = new_manager()
    assert manager.load("alice", as_workspace(loaded)) == winner
    assert (loaded.root / "shared").read_text() == f"{saved.index(winner)}\n"
    assert len(manager.history("alice")) == 7
    assert manager.check("alice", read_data=True).is_whole


def test_of_two_first_saves_at_once_exactly_one_wins(
    new_manager: NewManager, tree: LocalTree, other: LocalTree
) -> None:
    write(tree.root, "mine")
    write(other.root, "theirs")
    mine, theirs = new_manager(), new_manager()
    mine.load("alice", as_workspace(tree))
    theirs.load("alice", as_workspace(other))
    theirs.save("alice", as_workspace(other))
    with pytest.raises(StateConflictError, match="not none"):
        mine.save("alice", as_workspace(tree))


def test_saving_a_project_that_was_deleted_meanwhile_is_a_conflict(
    two: tuple[SnapshotStateManager, SnapshotStateManager], tree: LocalTree
) -> None:
    mine, theirs = two
    theirs.delete("alice")
    write(tree.root, "shared", "mine\n")
    with pytest.raises(StateConflictError) as caught:
        mine.save("alice", as_workspace(tree))
    assert str(caught.value) == (
        "project 'alice' was deleted while this workspace was in use; it was not saved. "
        "Saving once more makes a new project of it"
    )
    assert mine.history("alice") == []
    assert mine.save("alice", as_workspace(tree)).parent_id is None


def test_a_writer_of_a_deleted_project_does_not_spoil_the_one_saved_after_it(
    two: tuple[SnapshotStateManager, SnapshotStateManager], tree: LocalTree, other: LocalTree, new_manager: NewManager
) -> None:
    mine, theirs = two
    theirs.delete("alice")
    theirs.save("alice", as_workspace(other), "anew")
    write(tree.root, "shared", "mine\n")
    with pytest.raises(StateConflictError, match="was deleted while this workspace was in use"):
        mine.save("alice", as_workspace(tree))
    assert [snapshot.message for snapshot in new_manager().history("alice")] == ["anew"]
    assert new_manager().check("alice", read_data=True).is_whole


def test_a_swap_whose_answer_was_lost_counts(
    manager: SnapshotStateManager, tree: LocalTree, store: WatchedStore
) -> None:
    """Google's client repeats an upload whose answer was lost, and then reports a failed precondition."""
    real = store.store.cas
    store.store.cas = lambda *arguments: real(*arguments) and None  # type: ignore[method-assign]
    write(tree.root, "a")
    saved = manager.save("alice", as_workspace(tree))
    store.store.cas = real  # type: ignore[method-assign]
    write(tree.root, "a", "more\n")
    assert manager.save("alice", as_workspace(tree)).parent_id == saved.id


def test_a_writer_uploads_again_what_was_condemned_meanwhile(
    manager: SnapshotStateManager, new_manager: NewManager, tree: LocalTree, other: LocalTree, store: WatchedStore
) -> None:
    """A pruner that marks packs between our load and our swap makes us repeat the save without those packs."""
    write(tree.root, "a", "kept\n")
    manager.save("alice", as_workspace(tree))
    repository = Repository(store, "alice")
    state = repository.read_head()
    assert state.head is not None
    condemned = next(iter(repository.get_tree(state.head.tree).places.values())).segment.pack.digest
    repository.swap_head(replace(state.head, condemned=(condemned,), commit_id="pruner"), state.version)
    write(tree.root, "b", "new\n")
    manager.save("alice", as_workspace(tree))
    now = repository.read_head().head
    assert now is not None
    assert now.condemned == (condemned,)
    packs = {place.segment.pack.digest for place in repository.get_tree(now.tree).places.values()}
    assert condemned not in packs
    assert len(manager.history("alice")) == 2
    new_manager().load("alice", as_workspace(other))
    assert state_of(other.root) == state_of(tree.root)


def test_one_manager_saves_several_projects_at_once(manager: SnapshotStateManager, tmp_path: Path) -> None:
    def save(number: int) -> bool:
        workspace = LocalTree(tmp_path / f"w{number}")
        for version in range(3):
            write(workspace.root, "file", f"{number} {version}\n" * 1000)
            manager.save(f"project {number}", as_workspace(workspace))
        loaded = LocalTree(tmp_path / f"l{number}")
        manager.load(f"project {number}", as_workspace(loaded))
        return state_of(loaded.root) == state_of(workspace.root)

    with ThreadPoolExecutor(8) as executor:
        assert all(executor.map(save, range(8)))


def test_head_does_not_grow_from_session_to_session(
    new_manager: NewManager, tree: LocalTree, store: WatchedStore
) -> None:
    for number in range(4):
        write(tree.root, "a", f"{number}\n")
        new_manager().save("alice", as_workspace(tree))
        head = Repository(store, "alice").read_head().head
        assert head is not None
        assert head.unrecorded == ()
    assert len(new_manager().history("alice")) == 4
