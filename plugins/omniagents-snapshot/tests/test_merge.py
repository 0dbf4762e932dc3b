"""Two writers whose work can be brought together, and those whose cannot."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from snapshot_support.comparing import state_of, write
from snapshot_support.local_tree import LocalTree, as_workspace
from snapshot_support.stores import WatchedStore

from omniagents.errors import StateConflictError
from omniagents_snapshot.manager import SnapshotStateManager
from omniagents_snapshot.merging import merge
from omniagents_snapshot.model import Entry, Tree
from omniagents_snapshot.retention import Retention

NewManager = Callable[..., SnapshotStateManager]


def tree_of(files: Mapping[str, str]) -> Tree:
    """Content as chunk ids; a path that ends in a slash is a directory, ``->x`` a link to x."""
    entries = []
    for path, content in sorted(files.items()):
        if path.endswith("/"):
            entries.append(Entry(path[:-1], "directory", 0o755, 0))
        elif content.startswith("->"):
            entries.append(Entry(path, "link", 0, 0, target=content[2:]))
        else:
            entries.append(Entry(path, "file", 0o644, 0, len(content), (content.encode(),)))
    return Tree(None, entries, {})  # type: ignore[arg-type]


COMMON = {"a": "1", "b": "1", "d/": "", "d/x": "1"}


@pytest.mark.parametrize(
    ("mine", "theirs", "conflicts"),
    [
        ({"a": "2"}, {"b": "2"}, ()),
        ({"a": "2"}, {"a": "2"}, ()),
        ({"a": "2"}, {"a": "3"}, ("a",)),
        ({"a": None}, {"a": "3"}, ("a",)),
        ({"a": None}, {"a": None}, ()),
        ({"new": "1"}, {"new": "2"}, ("new",)),
        ({"a": "->b"}, {"a": "->c"}, ("a",)),
        ({"d/": None, "d/x": None}, {"d/y": "1"}, ("d/y",)),
        ({"d/": None, "d/x": None, "d": "a file"}, {"d/y": "1"}, ("d/y",)),
        ({"d/y": "1"}, {"d/z": "1"}, ()),
        ({"p/": "", "p/.git/": "", "p/.git/a": "1"}, {"p/": "", "p/.git/": "", "p/.git/b": "1"}, ("p/.git",)),
        ({"db": "2"}, {"db-wal": "2"}, ("db",)),
    ],
)
def test_paths_that_one_side_changed_are_merged_and_others_are_conflicts(
    mine: dict[str, str | None], theirs: dict[str, str | None], conflicts: tuple[str, ...]
) -> None:
    def changed(changes: dict[str, str | None]) -> Tree:
        return tree_of({path: content for path, content in (COMMON | changes).items() if content is not None})

    found = merge(tree_of(COMMON), changed(mine), changed(theirs))
    assert found.conflicts == conflicts
    if not conflicts:
        assert list(found.entries) == list(changed(mine | theirs).entries)


@pytest.fixture
def two(
    new_manager: NewManager, tree: LocalTree, other: LocalTree
) -> tuple[SnapshotStateManager, SnapshotStateManager]:
    """Two managers that merge, and loaded the same snapshot into two workspaces."""
    for name in ("mine", "theirs", "both", "old"):
        write(tree.root, name, "as it was\n")
    first, second = new_manager(on_conflict="merge"), new_manager(on_conflict="merge")
    first.save("alice", as_workspace(tree), "common")
    second.load("alice", as_workspace(other))
    return first, second


def their_save(theirs: SnapshotStateManager, other: LocalTree) -> str:
    write(other.root, "theirs", "changed by them\n")
    write(other.root, "new/theirs")
    (other.root / "old").unlink()
    return theirs.save("alice", as_workspace(other), "theirs").id


def test_disjoint_changes_are_merged_and_both_sides_are_in_the_history(
    two: tuple[SnapshotStateManager, SnapshotStateManager], new_manager: NewManager, tree: LocalTree, other: LocalTree,
    tmp_path: Path,
) -> None:  # fmt: skip
    mine, theirs = two
    latest = their_save(theirs, other)
    write(tree.root, "mine", "changed by me\n")
    merged = mine.save("alice", as_workspace(tree), "mine")
    assert (merged.parent_id, merged.message, merged.changed, merged.files) == (latest, "mine", 1, 4)
    assert (tree.root / "theirs").read_text() == "as it was\n"
    loaded = LocalTree(tmp_path / "loaded")
    assert new_manager().load("alice", as_workspace(loaded)) == merged
    texts = {path: content for path, (kind, *_, content) in state_of(loaded.root).items() if kind == "file"}
    assert texts == {
        "mine": b"changed by me\n", "theirs": b"changed by them\n", "both": b"as it was\n", "new/theirs": b"content\n",
    }  # fmt: skip
    history = new_manager().history("alice")
    assert [one.message for one in history] in (
        ["mine", "mine", "theirs", "common"],
        ["mine", "theirs", "mine", "common"],
    )
    assert mine.check("alice", read_data=True).problems == ()


def test_the_workspace_goes_on_after_a_merge_without_undoing_the_others_work(
    two: tuple[SnapshotStateManager, SnapshotStateManager], new_manager: NewManager, tree: LocalTree, other: LocalTree,
    store: WatchedStore, tmp_path: Path,
) -> None:  # fmt: skip
    mine, theirs = two
    their_save(theirs, other)
    write(tree.root, "mine", "changed by me\n")
    merged = mine.save("alice", as_workspace(tree), "mine")
    store.calls.clear()
    assert mine.save("alice", as_workspace(tree), "again") == merged
    assert store.calls == []
    write(tree.root, "mine", "changed by me again\n")
    second = mine.save("alice", as_workspace(tree), "more")
    assert second.parent_id == merged.id
    loaded = LocalTree(tmp_path / "loaded")
    new_manager().load("alice", as_workspace(loaded))
    assert (loaded.root / "theirs").read_text() == "changed by them\n"
    assert (loaded.root / "mine").read_text() == "changed by me again\n"
    write(tree.root, "theirs", "now by me, who never saw theirs\n")
    with pytest.raises(StateConflictError, match="Both changed 'theirs'"):
        mine.save("alice", as_workspace(tree))
    mine.load("alice", as_workspace(tree))
    assert state_of(tree.root).keys() == state_of(loaded.root).keys()


def test_a_merge_is_refused_where_both_changed_a_path_and_names_it(
    two: tuple[SnapshotStateManager, SnapshotStateManager], tree: LocalTree, other: LocalTree, store: WatchedStore
) -> None:
    mine, theirs = two
    common = mine.history("alice")[0].id
    for number in range(7):
        write(other.root, f"both{number}", "theirs\n")
        write(tree.root, f"both{number}", "mine\n")
    latest = theirs.save("alice", as_workspace(other)).id
    with pytest.raises(StateConflictError) as raised:
        mine.save("alice", as_workspace(tree), "mine")
    (ours,) = (one.id for one in mine.history("alice") if one.message == "mine")
    assert str(raised.value) == (
        f"another writer saved project 'alice' first: the latest is now {latest!r}, not {common!r}. This workspace is "
        f"kept in the history as {ours!r}. Both changed 'both0', 'both1', 'both2', 'both3', 'both4' and 2 more. "
        "Restore one of the two, then save; or save with on_conflict='overwrite'"
    )
    store.calls.clear()
    with pytest.raises(StateConflictError) as again:
        mine.save("alice", as_workspace(tree), "mine")
    assert again.value is raised.value
    assert store.calls == []


def test_a_conflict_can_be_answered_by_saving_with_overwrite(
    two: tuple[SnapshotStateManager, SnapshotStateManager], new_manager: NewManager, tree: LocalTree, other: LocalTree,
    tmp_path: Path,
) -> None:  # fmt: skip
    mine, theirs = two
    write(other.root, "both", "theirs\n")
    latest = theirs.save("alice", as_workspace(other), "theirs")
    write(tree.root, "both", "mine\n")
    with pytest.raises(StateConflictError):
        mine.save("alice", as_workspace(tree))
    saved = mine.save("alice", as_workspace(tree), "mine", on_conflict="overwrite")
    assert saved.parent_id == latest.id
    loaded = LocalTree(tmp_path / "loaded")
    assert new_manager().load("alice", as_workspace(loaded)) == saved
    assert state_of(loaded.root) == state_of(tree.root)
    new_manager().restore("alice", latest.id, as_workspace(loaded))
    assert (loaded.root / "both").read_text() == "theirs\n"


def test_a_conflict_that_was_raised_can_be_answered_by_a_merge(
    two: tuple[SnapshotStateManager, SnapshotStateManager], tree: LocalTree, other: LocalTree
) -> None:
    mine, theirs = two
    latest = their_save(theirs, other)
    write(tree.root, "mine", "changed by me\n")
    with pytest.raises(StateConflictError):
        mine.save("alice", as_workspace(tree), on_conflict="error")
    assert mine.save("alice", as_workspace(tree), on_conflict="merge").parent_id == latest


def test_two_first_saves_of_different_files_are_merged(
    new_manager: NewManager, tree: LocalTree, other: LocalTree, tmp_path: Path
) -> None:
    write(tree.root, "mine")
    write(other.root, "theirs")
    mine, theirs = new_manager(on_conflict="merge"), new_manager()
    mine.load("alice", as_workspace(tree))
    theirs.save("alice", as_workspace(other))
    mine.save("alice", as_workspace(tree))
    loaded = LocalTree(tmp_path / "loaded")
    new_manager().load("alice", as_workspace(loaded))
    assert sorted(path.name for path in loaded.root.iterdir()) == ["mine", "theirs"]


def test_a_workspace_that_outlived_its_process_does_not_undo_what_others_saved_since(
    new_manager: NewManager, tree: LocalTree, other: LocalTree, tmp_path: Path
) -> None:
    write(tree.root, "mine", "as it was\n")
    write(tree.root, "theirs", "as it was\n")
    new_manager().save("alice", as_workspace(tree))
    elsewhere = new_manager(cache_directory=tmp_path / "another machine")
    elsewhere.load("alice", as_workspace(other))
    write(other.root, "theirs", "changed by them\n")
    latest = elsewhere.save("alice", as_workspace(other))
    # Nothing of ours is new: then there is nothing to save, and nothing to undo.
    assert new_manager().save("alice", as_workspace(tree)) == latest
    write(tree.root, "mine", "changed by me\n")
    with pytest.raises(StateConflictError):
        new_manager().save("alice", as_workspace(tree))
    merged = new_manager(on_conflict="merge").save("alice", as_workspace(tree))
    loaded = LocalTree(tmp_path / "loaded")
    assert new_manager(cache_directory=tmp_path / "third").load("alice", as_workspace(loaded)) == merged
    assert (loaded.root / "theirs").read_text() == "changed by them\n"
    assert (loaded.root / "mine").read_text() == "changed by me\n"


def test_a_way_that_does_not_exist_is_refused(new_manager: NewManager, tree: LocalTree) -> None:
    with pytest.raises(ValueError, match="on_conflict is 'error', 'merge' or 'overwrite', not 'theirs'"):
        new_manager(on_conflict="theirs")
    with pytest.raises(ValueError, match="not 'mine'"):
        new_manager().save("alice", as_workspace(tree), on_conflict="mine")  # type: ignore[arg-type]


def test_work_kept_aside_and_pruned_since_is_stored_again(
    two: tuple[SnapshotStateManager, SnapshotStateManager], new_manager: NewManager, tree: LocalTree, other: LocalTree,
    tmp_path: Path,
) -> None:  # fmt: skip
    mine, theirs = two
    write(other.root, "both", "theirs\n")
    theirs.save("alice", as_workspace(other))
    write(tree.root, "both", "mine\n")
    with pytest.raises(StateConflictError):
        mine.save("alice", as_workspace(tree))
    assert len(theirs.prune("alice", Retention(last=1, hourly=0, daily=0, weekly=0)).removed) == 2
    mine.save("alice", as_workspace(tree), on_conflict="overwrite")
    loaded = LocalTree(tmp_path / "loaded")
    new_manager().load("alice", as_workspace(loaded))
    assert state_of(loaded.root) == state_of(tree.root)
    assert mine.check("alice", read_data=True).problems == ()


def test_many_writers_at_once_are_all_merged(new_manager: NewManager, tree: LocalTree, tmp_path: Path) -> None:
    write(tree.root, "start")
    new_manager().save("alice", as_workspace(tree))

    def save(number: int) -> None:
        workspace, manager = LocalTree(tmp_path / f"w{number}"), new_manager(on_conflict="merge")
        manager.load("alice", as_workspace(workspace))
        for version in range(3):
            write(workspace.root, f"of{number}", f"{version}\n")
            manager.save("alice", as_workspace(workspace), f"{number} {version}")

    with ThreadPoolExecutor(8) as executor:
        list(executor.map(save, range(8)))
    loaded = LocalTree(tmp_path / "loaded")
    new_manager().load("alice", as_workspace(loaded))
    assert {path.name: path.read_text() for path in loaded.root.iterdir()} == {
        "start": "content\n",
        **{f"of{number}": "2\n" for number in range(8)},
    }
    messages = {one.message for one in new_manager().history("alice")}
    assert messages == {"", *(f"{number} {version}" for number in range(8) for version in range(3))}
