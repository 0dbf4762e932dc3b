"""Retention decides, prune removes, and nobody loses anything that is kept: whoever writes, whoever dies, whenever."""

from __future__ import annotations

import random
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import pytest
from snapshot_support.comparing import State, state_of, write
from snapshot_support.local_tree import LocalTree, as_workspace
from snapshot_support.stores import Crash, WatchedStore, at_each_call

from omniagents.errors import SnapshotNotFoundError, StateConflictError, StateCorruptError, StateError
from omniagents.state import Snapshot
from omniagents_snapshot.manager import SnapshotStateManager
from omniagents_snapshot.retention import Retention

NewManager = Callable[..., SnapshotStateManager]
ONE = Retention(last=1, hourly=0, daily=0, weekly=0)
START = datetime(2026, 3, 1, 12, tzinfo=UTC)


def snapshot(number: int, time: datetime) -> Snapshot:
    return Snapshot(f"{number:032x}", "alice", None, time, "", 0, 0)


def kept_hours(retention: Retention, hours: list[float], tagged: tuple[int, ...] = ()) -> list[float]:
    found = [snapshot(row, START - timedelta(hours=hour)) for row, hour in enumerate(hours)]
    kept = retention.kept(found, found[0].id, [found[row].id for row in tagged])
    return [hours[row] for row, one in enumerate(found) if one.id in kept]


@pytest.mark.parametrize(
    ("retention", "kept"),
    [
        (ONE, [0]),
        (Retention(last=2, hourly=0, daily=0, weekly=0), [0, 0.2]),
        (Retention(last=0, hourly=3, daily=0, weekly=0), [0, 0.2, 1.5]),
        (Retention(last=0, hourly=0, daily=2, weekly=0), [0, 12.5]),
        (Retention(last=0, hourly=0, daily=0, weekly=3), [0, 12.5 + 24 * 6, 12.5 + 24 * 13]),
        (Retention(last=0, hourly=0, daily=0, weekly=0, monthly=2), [0, 12.5]),
        (Retention(last=0, hourly=0, daily=0, weekly=0), [0]),
    ],
)
def test_retention_keeps_the_newest_of_each_hour_day_week_and_month(retention: Retention, kept: list[float]) -> None:
    # 12:00, 11:48, 11:42, 10:30, 10:12, 23:30 the day before, and so on; 2026-03-01 is a Sunday.
    hours = [0, 0.2, 0.3, 1.5, 1.8, 12.5, 12.6, 12.5 + 24 * 6, 12.5 + 24 * 7, 12.5 + 24 * 13]
    assert kept_hours(retention, hours) == kept


def test_a_tagged_snapshot_is_kept_and_a_rule_can_say_otherwise() -> None:
    assert kept_hours(ONE, [0, 1, 2], (2,)) == [0, 2]
    assert kept_hours(Retention(last=1, hourly=0, daily=0, weekly=0, tagged=False), [0, 1, 2], (2,)) == [0]


@pytest.mark.parametrize("value", [-1, 1.5, True, "3"])
def test_a_rule_that_is_no_count_is_refused(value: object) -> None:
    with pytest.raises(ValueError, match="daily is how many snapshots to keep, at least 0, not"):
        Retention(daily=value)  # type: ignore[arg-type]


def versions(tree: LocalTree, manager: SnapshotStateManager, count: int = 3) -> list[tuple[Snapshot, State]]:
    """Saves, oldest first; a file that stays, one that changes, one of each version."""
    saved = []
    write(tree.root, "stays", random.Random(0).randbytes(50_000))
    for number in range(count):
        write(tree.root, "changes", random.Random(number + 1).randbytes(200_000))
        write(tree.root, f"only{number}", random.Random(number + 100).randbytes(50_000))
        (tree.root / f"only{number - 1}").unlink(missing_ok=True)
        saved.append((manager.save("alice", as_workspace(tree), str(number)), state_of(tree.root)))
    return saved


def loaded(manager: SnapshotStateManager, root: Path, snapshot_id: str | None = None) -> State:
    workspace = LocalTree(root)
    if snapshot_id is None:
        manager.load("alice", as_workspace(workspace))
    else:
        manager.restore("alice", snapshot_id, as_workspace(workspace))
    return state_of(root)


def test_what_only_removed_snapshots_needed_is_deleted_and_the_rest_restores(
    new_manager: NewManager, tree: LocalTree, store: WatchedStore, tmp_path: Path
) -> None:
    manager = new_manager()
    saved = versions(tree, manager, 4)
    manager.tag("alice", saved[1][0].id, "v1.0")
    before = manager.stats("alice")
    report = manager.prune("alice", ONE)
    after = manager.stats("alice")
    assert report.kept == {saved[3][0].id: ("latest", "last"), saved[1][0].id: ("tagged",)}
    assert report.removed == (saved[2][0].id, saved[0][0].id)
    assert (after.snapshots, after.unused_bytes) == (2, 0)
    # The marks in HEAD come and go.
    given_back = report.removed_bytes - report.rewritten_bytes
    assert before.stored_bytes - after.stored_bytes == pytest.approx(given_back, abs=1500)
    assert given_back > 450_000
    assert [one.id for one in new_manager().history("alice")] == [saved[3][0].id, saved[1][0].id]
    assert loaded(new_manager(), tmp_path / "latest") == saved[3][1]
    assert loaded(new_manager(), tmp_path / "tagged", saved[1][0].id) == saved[1][1]
    with pytest.raises(SnapshotNotFoundError):
        new_manager().restore("alice", saved[0][0].id, as_workspace(tree))
    checked = manager.check("alice", read_data=True)
    assert (checked.problems, checked.unused_packs, checked.snapshots) == ((), (), 2)


def test_a_dry_run_says_the_same_and_writes_nothing(
    manager: SnapshotStateManager, tree: LocalTree, store: WatchedStore
) -> None:
    versions(tree, manager)
    store.calls.clear()
    planned = manager.prune("alice", ONE, dry_run=True)
    assert store.count("put_new", "cas", "delete") == 0
    done = manager.prune("alice", ONE)
    assert (planned.dry_run, done.dry_run) == (True, False)
    assert (planned.kept, planned.removed, planned.removed_bytes) == (done.kept, done.removed, done.removed_bytes)


def test_pruning_again_finds_nothing_and_writes_nothing(
    manager: SnapshotStateManager, tree: LocalTree, store: WatchedStore
) -> None:
    versions(tree, manager)
    manager.prune("alice", ONE)
    store.calls.clear()
    report = manager.prune("alice", ONE)
    assert (report.removed, report.removed_objects) == ((), 0)
    assert store.count("put_new", "cas", "delete") == 0


def test_a_project_never_saved_has_nothing_to_prune(manager: SnapshotStateManager) -> None:
    assert manager.prune("alice").kept == {}


def test_what_an_interrupted_save_left_is_deleted(
    new_manager: NewManager, tree: LocalTree, store: WatchedStore
) -> None:
    versions(tree, new_manager(), 1)
    write(tree.root, "more", random.Random(7).randbytes(80_000))

    def die(number: int, call: str, name: str) -> None:
        if call == "cas":
            raise Crash

    store.before = die
    with pytest.raises(Crash):
        new_manager().save("alice", as_workspace(tree))
    store.before = lambda number, call, name: None
    manager = new_manager()
    assert manager.stats("alice").unused_bytes > 80_000
    assert manager.prune("alice").removed == ()
    assert manager.stats("alice").unused_bytes == 0


def test_a_damaged_project_is_not_pruned(manager: SnapshotStateManager, tree: LocalTree, store: WatchedStore) -> None:
    versions(tree, manager)
    packs = list(Path(store.store.root).glob("*/packs/*/*"))  # type: ignore[attr-defined]
    for pack in packs:
        pack.unlink()
    store.calls.clear()
    with pytest.raises(StateCorruptError, match="is missing; check\\(\\) lists everything"):
        manager.prune("alice", ONE)
    assert store.count("put_new", "cas", "delete") == 0


def test_a_tag_names_one_snapshot_until_it_is_taken_away(manager: SnapshotStateManager, tree: LocalTree) -> None:
    first, second = (one for one, _ in versions(tree, manager, 2))
    manager.tag("alice", first.id, "v1")
    manager.tag("alice", first.id, "v1")
    assert manager.tags("alice") == {"v1": first.id}
    with pytest.raises(StateError) as raised:
        manager.tag("alice", second.id, "v1")
    assert str(raised.value) == f"the tag 'v1' of project 'alice' names the snapshot {first.id!r}; untag it first"
    manager.untag("alice", "v1")
    with pytest.raises(SnapshotNotFoundError, match="has no tag 'v1'; it has: none"):
        manager.untag("alice", "v1")
    with pytest.raises(SnapshotNotFoundError):
        manager.tag("alice", "0" * 32, "v1")
    assert manager.tags("alice") == {}


@pytest.mark.parametrize("tag", ["", "latest", "0" * 32, "-x", "a/b", "a b", "x" * 101, "ä", "a\n"])
def test_what_is_no_tag_is_refused(manager: SnapshotStateManager, tree: LocalTree, tag: str) -> None:
    (saved, _), *_ = versions(tree, manager, 1)
    with pytest.raises(ValueError, match="is no tag"):
        manager.tag("alice", saved.id, tag)


def test_tags_survive_saves_and_prunes(new_manager: NewManager, tree: LocalTree) -> None:
    manager = new_manager()
    (saved, _), *_ = versions(tree, manager, 2)
    manager.tag("alice", saved.id, "v1")
    write(tree.root, "more")
    new_manager().save("alice", as_workspace(tree))
    new_manager().prune("alice", ONE)
    assert new_manager().tags("alice") == {"v1": saved.id}


@pytest.mark.parametrize("moment", ["before", "after"])
def test_a_host_that_dies_at_any_store_call_of_a_prune_harms_nothing_that_is_kept(
    new_manager: NewManager, store: WatchedStore, tmp_path: Path, moment: str
) -> None:
    for interruption in at_each_call(store, at_least=10):
        new_manager().delete("alice")
        latest, state = versions(LocalTree(tmp_path / f"tree{interruption.number}"), new_manager())[-1]
        with interruption.dying(moment):
            new_manager().prune("alice", ONE)
        manager = new_manager()
        assert manager.check("alice", read_data=True).problems == ()
        assert loaded(manager, tmp_path / f"loaded{interruption.number}") == state
        for one in manager.history("alice"):
            loaded(manager, tmp_path / f"loaded{interruption.number}", one.id)
        new_manager().prune("alice", ONE)
        assert [one.id for one in manager.history("alice")] == [latest.id]
        assert manager.stats("alice").unused_bytes == 0
        assert loaded(new_manager(), tmp_path / f"again{interruption.number}") == state


def about_to_save_old_content(new_manager: NewManager, tree: LocalTree) -> SnapshotStateManager:
    """A writer that has brought back content that a prune will delete, and something new."""
    new_manager().delete("alice")
    writer = new_manager()
    (first, _), *_ = versions(tree, writer)
    writer.restore("alice", first.id, as_workspace(tree))
    write(tree.root, "more", random.Random(9).randbytes(60_000))
    return writer


def test_a_prune_at_any_store_call_of_a_save_loses_nothing(
    new_manager: NewManager, store: WatchedStore, tmp_path: Path
) -> None:
    for interruption in at_each_call(store, at_least=4):
        tree = LocalTree(tmp_path / f"tree{interruption.number}")
        writer = about_to_save_old_content(new_manager, tree)
        with interruption.by(lambda: new_manager().prune("alice", ONE)):
            writer.save("alice", as_workspace(tree), "the writer's")
        assert writer.check("alice", read_data=True).problems == ()
        assert loaded(new_manager(), tmp_path / f"loaded{interruption.number}") == state_of(tree.root)


def test_a_save_at_any_store_call_of_a_prune_loses_nothing(
    new_manager: NewManager, store: WatchedStore, tmp_path: Path
) -> None:
    for interruption in at_each_call(store, at_least=10):
        tree = LocalTree(tmp_path / f"tree{interruption.number}")
        writer = about_to_save_old_content(new_manager, tree)
        with interruption.by(partial(writer.save, "alice", as_workspace(tree), "the writer's")):
            new_manager().prune("alice", ONE)
        if not interruption.happened:
            writer.save("alice", as_workspace(tree), "the writer's")
        assert writer.check("alice", read_data=True).problems == ()
        assert loaded(new_manager(), tmp_path / f"loaded{interruption.number}") == state_of(tree.root)


def test_a_writer_killed_after_a_prune_came_between_leaves_no_broken_snapshot(
    new_manager: NewManager, store: WatchedStore, tmp_path: Path
) -> None:
    """At each store call of a save: a whole prune runs, and the writer never wakes up again."""

    def prune_and_die() -> None:
        new_manager().prune("alice", ONE)
        raise Crash

    for interruption in at_each_call(store, at_least=4):
        new_manager().delete("alice")
        tree = LocalTree(tmp_path / f"tree{interruption.number}")
        writer = new_manager()
        (first, _), *_, (_, latest) = versions(tree, writer)
        writer.restore("alice", first.id, as_workspace(tree))
        with suppress(Crash), interruption.by(prune_and_die):
            writer.save("alice", as_workspace(tree))
        assert loaded(new_manager(), tmp_path / f"loaded{interruption.number}") in (latest, state_of(tree.root))
        assert new_manager().check("alice", read_data=True).problems == ()


def test_a_side_snapshot_at_any_store_call_of_a_prune_is_whole(
    new_manager: NewManager, store: WatchedStore, tmp_path: Path
) -> None:
    """The writer loses to another one, and its work is kept aside while packs are being deleted."""
    for interruption in at_each_call(store, at_least=10):
        number = interruption.number
        new_manager().delete("alice")
        tree, other = LocalTree(tmp_path / f"tree{number}"), LocalTree(tmp_path / f"other{number}")
        writer, rival = new_manager(), new_manager()
        versions(tree, writer)
        rival.load("alice", as_workspace(other))
        write(other.root, "changes", "the rival's\n")
        rival.save("alice", as_workspace(other), "rival")
        write(tree.root, "changes", "the writer's\n")
        mine = state_of(tree.root)

        def lose(writer: SnapshotStateManager = writer, tree: LocalTree = tree) -> None:
            with pytest.raises(StateConflictError):
                writer.save("alice", as_workspace(tree), "aside")

        with interruption.by(lose):
            new_manager().prune("alice", ONE)
        manager = new_manager()
        assert manager.check("alice", read_data=True).problems == ()
        aside = [one for one in manager.history("alice") if one.message == "aside"]
        # A prune that saw it may not have kept it.
        for one in aside:
            assert loaded(manager, tmp_path / f"aside{number}", one.id) == mine
