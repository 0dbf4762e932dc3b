"""What is damaged is rebuilt where that can be, named where it cannot, and everything else works again."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

import pytest
from snapshot_support.comparing import state_of, write
from snapshot_support.local_tree import LocalTree, as_workspace
from snapshot_support.stores import WatchedStore, at_each_call

from omniagents._ids import encode_project_id
from omniagents.errors import StateConflictError
from omniagents_snapshot.manager import SnapshotStateManager
from omniagents_snapshot.model import Place
from omniagents_snapshot.repository import Repository

NewManager = Callable[..., SnapshotStateManager]


@pytest.fixture
def ids(new_manager: NewManager, tree: LocalTree) -> list[str]:
    """Three snapshots: ``shared`` is in all, each has a file of its own, that of the second is in the third, too."""
    manager = new_manager()
    write(tree.root, "shared", random.Random(0).randbytes(900_000))
    write(tree.root, "directory/one", random.Random(1).randbytes(700_000))
    first = manager.save("alice", as_workspace(tree), "one").id
    (tree.root / "directory/one").unlink()
    write(tree.root, "directory/two", random.Random(2).randbytes(700_000))
    second = manager.save("alice", as_workspace(tree), "two").id
    write(tree.root, "directory/three", random.Random(3).randbytes(700_000))
    return [first, second, manager.save("alice", as_workspace(tree), "three").id]


def root(store: WatchedStore) -> Path:
    return Path(store.store.root, encode_project_id("alice"))  # type: ignore[attr-defined]


def place_of(store: WatchedStore, snapshot_id: str, path: str) -> Place:
    """Where the first chunk of a file is."""
    repository = Repository(store, "alice")
    tree = repository.get_tree(repository.find(snapshot_id)[1])
    (entry,) = (entry for entry in tree.entries if entry.path == path)
    return tree.places[entry.content[0]]


def damage_file(store: WatchedStore, snapshot_id: str, path: str) -> str:
    """Flip a bit of a file's stored content; the pack's name."""
    place = place_of(store, snapshot_id, path)
    name = place.segment.pack.digest
    pack = root(store) / "packs" / name[:2] / name
    data = bytearray(pack.read_bytes())
    data[place.segment.offset + place.segment.stored // 2] ^= 1
    pack.write_bytes(data)
    return name


def is_whole(manager: SnapshotStateManager) -> bool:
    report = manager.check("alice", read_data=True)
    assert report.problems == ()
    return report.is_whole


def names(path: Path) -> set[str]:
    return {name for name, (kind, *_) in state_of(path).items() if kind == "file"}


def test_a_project_that_is_whole_is_left_alone(
    manager: SnapshotStateManager, ids: list[str], store: WatchedStore
) -> None:
    store.calls.clear()
    report = manager.repair("alice")
    assert (report.actions, report.lost, report.unrepaired) == ((), (), ())
    assert store.count("put_new", "cas", "delete") == 0


@pytest.mark.parametrize("damage", [Path.unlink, lambda path: path.write_bytes(b"{}")], ids=["missing", "damaged"])
def test_a_lost_head_comes_back_from_the_history(
    new_manager: NewManager, tree: LocalTree, other: LocalTree, ids: list[str], store: WatchedStore,
    damage: Callable[[Path], None],
) -> None:  # fmt: skip
    damage(root(store) / "HEAD")
    assert not new_manager().check("alice").is_whole
    planned = new_manager().repair("alice", dry_run=True)
    assert not new_manager().check("alice").is_whole
    report = new_manager().repair("alice")
    assert "HEAD names the newest snapshot that is left" in report.actions
    assert (planned.actions, report.lost, report.unrepaired) == (report.actions, (), ())
    assert is_whole(new_manager())
    loaded = new_manager().load("alice", as_workspace(other))
    assert loaded is not None
    assert loaded.id == ids[2]
    assert state_of(other.root) == state_of(tree.root)


@pytest.mark.parametrize("damage", [Path.unlink, lambda path: path.write_bytes(b"{}")], ids=["missing", "damaged"])
def test_lost_history_entries_come_back_from_the_trees(
    new_manager: NewManager, ids: list[str], store: WatchedStore, damage: Callable[[Path], None]
) -> None:
    history = new_manager().history("alice")
    for entry in (root(store) / "history").iterdir():
        damage(entry)
    report = new_manager().repair("alice")
    assert (report.lost, report.unrepaired) == ((), ())
    assert new_manager().history("alice") == history
    assert is_whole(new_manager())


def test_lost_content_costs_the_files_that_had_it_and_nothing_else(
    new_manager: NewManager, tree: LocalTree, other: LocalTree, ids: list[str], store: WatchedStore
) -> None:
    damage_file(store, ids[1], "directory/two")
    report = new_manager().repair("alice")
    assert {(one.snapshot_id, one.paths, one.unnamed) for one in report.lost} == {
        (ids[1], ("directory/two",), 0),
        (ids[2], ("directory/two",), 0),
    }
    assert report.unrepaired == ()
    assert is_whole(new_manager())
    assert [one.id for one in new_manager().history("alice")] == ids[::-1]
    latest = new_manager().load("alice", as_workspace(other))
    assert latest is not None
    assert (latest.id, latest.files) == (ids[2], 2)
    assert [left.path for left in latest.left_out] == ["directory/two"]
    assert names(other.root) == {"shared", "directory/three"}
    new_manager().restore("alice", ids[0], as_workspace(other))
    assert names(other.root) == {"shared", "directory/one"}
    # Whoever still has the file only needs to save.
    assert new_manager().save("alice", as_workspace(tree)).files == 3
    assert new_manager().repair("alice").actions == ()


def test_a_lost_pack_costs_what_was_only_in_it(
    new_manager: NewManager, other: LocalTree, ids: list[str], store: WatchedStore
) -> None:
    digest = place_of(store, ids[2], "directory/three").segment.pack.digest
    (root(store) / "packs" / digest[:2] / digest).unlink()
    report = new_manager().repair("alice")
    assert [one.snapshot_id for one in report.lost] == [ids[2]]
    assert is_whole(new_manager())
    assert new_manager().load("alice", as_workspace(other)) is not None
    assert "directory/three" not in names(other.root)
    new_manager().restore("alice", ids[1], as_workspace(other))
    assert names(other.root) == {"shared", "directory/two"}


def test_content_that_another_pack_has_too_is_not_lost(
    new_manager: NewManager, tree: LocalTree, other: LocalTree, store: WatchedStore
) -> None:
    write(tree.root, "a", random.Random(1).randbytes(900_000))
    first = new_manager().save("alice", as_workspace(tree))
    (tree.root / "a").unlink()
    new_manager().save("alice", as_workspace(tree))
    write(tree.root, "a", random.Random(1).randbytes(900_000))
    latest = new_manager().save("alice", as_workspace(tree))
    assert place_of(store, first.id, "a").segment.pack != place_of(store, latest.id, "a").segment.pack
    damage_file(store, first.id, "a")
    report = new_manager().repair("alice")
    assert (report.lost, report.unrepaired) == ((), ())
    assert len(report.actions) == 2
    assert is_whole(new_manager())
    new_manager().restore("alice", first.id, as_workspace(other))
    assert (other.root / "a").read_bytes() == random.Random(1).randbytes(900_000)


def test_without_the_key_nothing_is_touched_and_the_reason_is_said(
    manager: SnapshotStateManager, ids: list[str], store: WatchedStore
) -> None:
    (root(store) / "format.json").unlink()
    store.calls.clear()
    report = manager.repair("alice")
    assert report.actions == ()
    assert "nothing can be read without its key: put back a copy of it" in report.unrepaired[0]
    assert store.count("put_new", "cas", "delete") == 0


def test_a_snapshot_whose_tree_is_lost_is_taken_off_the_history_and_named(
    new_manager: NewManager, other: LocalTree, ids: list[str], store: WatchedStore
) -> None:
    repository = Repository(store, "alice")
    for snapshot_id in (ids[1], ids[2]):
        digest = repository.find(snapshot_id)[1].digest
        (root(store) / "trees" / digest).unlink()
    report = new_manager().repair("alice")
    assert len(report.unrepaired) == 3
    assert [one.id for one in new_manager().history("alice")] == [ids[0]]
    assert is_whole(new_manager())
    loaded = new_manager().load("alice", as_workspace(other))
    assert loaded is not None
    assert loaded.id == ids[0]


def test_tags_are_kept_by_a_repair_that_can_read_head(
    new_manager: NewManager, ids: list[str], store: WatchedStore
) -> None:
    new_manager().tag("alice", ids[0], "v1")
    damage_file(store, ids[1], "directory/two")
    new_manager().repair("alice")
    assert new_manager().tags("alice") == {"v1": ids[0]}


def test_a_repair_that_dies_at_any_store_call_can_be_repeated(
    new_manager: NewManager, store: WatchedStore, tmp_path: Path
) -> None:
    for interruption in at_each_call(store, at_least=10):
        new_manager().delete("alice")
        tree = LocalTree(tmp_path / f"tree{interruption.number}")
        manager = new_manager()
        write(tree.root, "kept", random.Random(0).randbytes(600_000))
        write(tree.root, "lost", random.Random(1).randbytes(600_000))
        first = manager.save("alice", as_workspace(tree))
        write(tree.root, "more", random.Random(2).randbytes(600_000))
        second = manager.save("alice", as_workspace(tree))
        damage_file(store, first.id, "lost")
        with interruption.dying():
            new_manager().repair("alice")
        new_manager().repair("alice")
        assert is_whole(new_manager())
        assert {one.id for one in new_manager().history("alice")} == {first.id, second.id}
        loaded = LocalTree(tmp_path / f"loaded{interruption.number}")
        new_manager().load("alice", as_workspace(loaded))
        assert names(loaded.root) == {"kept", "more"}


def test_a_project_saved_while_it_is_repaired_is_not_overwritten(
    new_manager: NewManager, tree: LocalTree, ids: list[str], store: WatchedStore
) -> None:
    damage_file(store, ids[1], "directory/two")
    writer = new_manager()

    def save(count: int, call: str, name: str) -> None:
        if call == "cas":
            store.before = lambda count, call, name: None
            writer.save("alice", as_workspace(tree), "meanwhile")

    write(tree.root, "more")
    store.before = save
    with pytest.raises(StateConflictError, match="was saved while it was repaired; repair again"):
        new_manager().repair("alice")
    new_manager().repair("alice")
    assert new_manager().history("alice")[0].message == "meanwhile"
    assert is_whole(new_manager())
