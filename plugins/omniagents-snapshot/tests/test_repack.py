"""A prune stores again what is needed of packs that mostly are not, whoever reads, writes or dies meanwhile."""

from __future__ import annotations

import random
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import TypeVar

import pytest
from snapshot_support.comparing import State, state_of, write
from snapshot_support.independent_reader import Reader
from snapshot_support.local_tree import LocalTree, as_workspace
from snapshot_support.stores import WatchedStore, at_each_call

from omniagents._ids import encode_project_id
from omniagents.errors import StateConflictError, StateCorruptError, StateError, StateUnavailableError
from omniagents.state import Snapshot
from omniagents_snapshot import repacking
from omniagents_snapshot.encryption import Encryption
from omniagents_snapshot.manager import SnapshotStateManager
from omniagents_snapshot.memory_store import MemoryStore
from omniagents_snapshot.model import TreeName
from omniagents_snapshot.moves import Move, Moves, decode_moves, encode_moves
from omniagents_snapshot.progress import Progress
from omniagents_snapshot.repository import Repository
from omniagents_snapshot.retention import Retention
from omniagents_snapshot.sealing import Sealer

NewManager = Callable[..., SnapshotStateManager]
ONE = Retention(last=1, hourly=0, daily=0, weekly=0)
OLD, KEPT = 24, 4
Done = TypeVar("Done")


def noise(seed: int, size: int = 9_000) -> bytes:
    return random.Random(seed).randbytes(size)


def mostly_garbage(tree: LocalTree, manager: SnapshotStateManager, seed: int = 0) -> tuple[Snapshot, Snapshot]:
    """Two snapshots; of what the first has stored, the second needs a few files that share segments with others."""
    for number in range(OLD):
        write(tree.root, f"old/{number:02}", noise(1000 * seed + number))
    write(tree.root, "old/large", noise(1000 * seed + 500, 700_000))
    write(tree.root, "link-to/nothing", "text\n" * 100)
    first = manager.save("alice", as_workspace(tree), "first")
    for path in (tree.root / "old").iterdir():
        if path.name == "large" or int(path.name) % (OLD // KEPT):
            path.unlink()
    write(tree.root, "new", noise(1000 * seed + 501, 20_000))
    return first, manager.save("alice", as_workspace(tree), "second")


def loaded(manager: SnapshotStateManager, root: Path) -> State:
    manager.load("alice", as_workspace(LocalTree(root)))
    return state_of(root)


def assert_sound(manager: SnapshotStateManager, root: Path, state: State) -> None:
    assert manager.check("alice", read_data=True).problems == ()
    assert loaded(manager, root) == state


def moves_of(store: WatchedStore, **options: object) -> Moves:
    repository = Repository(store, "alice", **options)  # type: ignore[arg-type]
    head = repository.read_head().head
    assert head is not None
    return repository.moves_of(head)


@pytest.fixture(params=["plain", "encrypted"])
def new_keeper(request: pytest.FixtureRequest, new_manager: NewManager) -> NewManager:
    """Makes managers with and without a key."""
    key = Encryption.new_key()
    options = {"encryption": Encryption.from_callable(lambda: key)} if request.param == "encrypted" else {}
    return partial(new_manager, **options)


def test_a_project_that_is_mostly_garbage_becomes_as_small_as_what_is_in_it(
    new_keeper: NewManager, tree: LocalTree, tmp_path: Path
) -> None:
    mostly_garbage(tree, new_keeper())
    before = new_keeper().stats("alice").stored_bytes
    report = new_keeper().prune("alice", ONE)
    after = new_keeper().stats("alice")
    fresh = SnapshotStateManager(MemoryStore(), cache_directory=tmp_path / "fresh", cache_bytes=0)
    fresh.save("alice", as_workspace(tree))
    ideal = fresh.stats("alice").stored_bytes
    assert before > 10 * ideal
    assert after.stored_bytes < 1.15 * ideal
    assert after.unused_bytes == 0
    assert before - after.stored_bytes == pytest.approx(report.removed_bytes - report.rewritten_bytes, abs=2000)
    assert report.rewritten_bytes < 1.1 * ideal
    assert_sound(new_keeper(), tmp_path / "loaded", state_of(tree.root))


def test_pruning_again_moves_nothing_again(manager: SnapshotStateManager, tree: LocalTree, store: WatchedStore) -> None:
    mostly_garbage(tree, manager)
    manager.prune("alice", ONE)
    store.calls.clear()
    report = manager.prune("alice", ONE)
    assert (report.removed_objects, report.rewritten_bytes) == (0, 0)
    assert store.count("put_new", "cas", "delete") == 0


def test_a_dry_run_says_how_much_would_be_stored_again_and_writes_nothing(
    manager: SnapshotStateManager, tree: LocalTree, store: WatchedStore
) -> None:
    mostly_garbage(tree, manager)
    store.calls.clear()
    planned = manager.prune("alice", ONE, dry_run=True)
    assert store.count("put_new", "cas", "delete") == 0
    done = manager.prune("alice", ONE)
    assert (planned.removed_objects, planned.removed_bytes) == (done.removed_objects, done.removed_bytes)
    assert planned.rewritten_bytes == pytest.approx(done.rewritten_bytes, rel=0.1)


def test_little_garbage_is_left_where_it_is(manager: SnapshotStateManager, tree: LocalTree) -> None:
    for number in range(20):
        write(tree.root, str(number), noise(number))
    manager.save("alice", as_workspace(tree))
    (tree.root / "3").unlink()
    manager.save("alice", as_workspace(tree))
    assert manager.prune("alice", ONE).rewritten_bytes == 0


def test_many_small_packs_become_one(
    new_manager: NewManager, tree: LocalTree, store: WatchedStore, tmp_path: Path
) -> None:
    manager = new_manager()
    states = []
    for number in range(20):
        write(tree.root, f"file{number}", noise(number, 2000))
        states.append((manager.save("alice", as_workspace(tree)).id, state_of(tree.root)))
    assert manager.stats("alice").packs == 20
    manager.prune("alice", Retention(last=100))
    assert manager.stats("alice").packs == 1
    assert manager.check("alice", read_data=True).problems == ()
    for snapshot_id, state in states[::5]:
        root = tmp_path / snapshot_id
        new_manager().restore("alice", snapshot_id, as_workspace(LocalTree(root)))
        assert state_of(root) == state
    store.calls.clear()
    loaded(new_manager(), tmp_path / "latest")
    assert sum(call == "get" and "/packs/" in name for call, name in store.calls) <= 2


def test_what_was_moved_can_be_moved_again(
    new_keeper: NewManager, tree: LocalTree, store: WatchedStore, tmp_path: Path
) -> None:
    manager = new_keeper()
    for seed in range(3):
        mostly_garbage(tree, manager, seed)
        assert manager.prune("alice", ONE).rewritten_bytes > 0
        assert_sound(new_keeper(), tmp_path / f"loaded{seed}", state_of(tree.root))
    (tree.root / "old/00").unlink()
    manager.save("alice", as_workspace(tree))
    manager.prune("alice", ONE)
    assert_sound(new_keeper(), tmp_path / "last", state_of(tree.root))
    assert manager.stats("alice").unused_bytes == 0
    assert sum("/moves/" in found.name for found in store.list("")) == 1


def test_a_segment_that_is_needed_whole_is_taken_as_it_is(
    new_manager: NewManager, tree: LocalTree, store: WatchedStore, tmp_path: Path
) -> None:
    write(tree.root, "large", noise(5, 600_000))
    mostly_garbage(tree, new_manager())
    repository = Repository(store, "alice")
    head = repository.read_head().head
    assert head is not None
    stored_tree = repository.get_tree(head.tree)
    (entry,) = (entry for entry in stored_tree.entries if entry.path == "large")
    segment = stored_tree.places[entry.content[0]].segment
    before = repository.read_segment(segment)
    new_manager().prune("alice", ONE)
    moved = moves_of(store).locate(segment)
    assert moved != segment
    assert repository.get_pack_range(moved.pack.digest, moved.offset, moved.stored) == before
    assert_sound(new_manager(), tmp_path / "loaded", state_of(tree.root))


@pytest.fixture
def eager(monkeypatch: pytest.MonkeyPatch) -> None:
    """Everything that could be stored again is."""
    monkeypatch.setattr(repacking, "_WASTE", 0.01)
    monkeypatch.setattr(repacking, "_WORTH_BYTES", 1)
    monkeypatch.setattr(repacking, "_SMALL_PACKS", 2)


@pytest.mark.usefixtures("eager")
def test_of_three_at_once_who_save_and_prune_nobody_loses_anything(new_manager: NewManager, tmp_path: Path) -> None:
    few = Retention(last=2, hourly=0, daily=0, weekly=0)
    rewritten: list[int] = []

    def work(number: int) -> LocalTree:
        writer, tree = new_manager(on_conflict="merge"), LocalTree(tmp_path / f"writer{number}")
        for version in range(8):
            write(tree.root, f"of{number}/{version % 3}", noise(100 * number + version, 30_000))
            insist(partial(writer.save, "alice", as_workspace(tree)))
            rewritten.append(insist(partial(new_manager().prune, "alice", few)).rewritten_bytes)
        return tree

    with ThreadPoolExecutor(3) as executor:
        trees = list(executor.map(work, range(3)))
    assert any(rewritten)
    manager = new_manager()
    assert manager.check("alice", read_data=True).problems == ()
    state = loaded(manager, tmp_path / "loaded")
    for tree in trees:
        ours = {path: content for path, (kind, _, _, content) in state_of(tree.root).items() if kind == "file"}
        assert {path: state[path][3] for path in ours} == ours


def insist(act: Callable[[], Done]) -> Done:
    """As errors say, do it again if others were faster every time."""
    while True:
        try:
            return act()
        except StateError as error:
            if "its HEAD changed 5 times meanwhile" not in str(error):
                raise


def test_progress_tells_what_is_stored_again(new_manager: NewManager, tree: LocalTree) -> None:
    mostly_garbage(tree, new_manager())
    seen: list[Progress] = []
    new_manager(progress=seen.append).prune("alice", ONE)
    last = [event for event in seen if event.phase == "repack"][-1]
    assert (last.files, last.bytes) == (last.total_files, last.total_bytes)
    assert last.bytes > 0


def test_damaged_content_is_not_stored_again_and_nothing_is_removed(
    manager: SnapshotStateManager, tree: LocalTree, store: WatchedStore
) -> None:
    _, second = mostly_garbage(tree, manager)
    repository = Repository(store, "alice")
    stored_tree = repository.get_tree(repository.find(second.id)[1])
    (entry,) = (entry for entry in stored_tree.entries if entry.path == "old/06")
    segment = stored_tree.places[entry.content[0]].segment
    path = Path(store.store.root, repository.pack_name(segment.pack.digest))  # type: ignore[attr-defined]
    data = bytearray(path.read_bytes())
    data[segment.offset + segment.stored // 2] ^= 1
    path.write_bytes(data)
    before = {found.name for found in store.list("")}
    with pytest.raises(StateCorruptError, match=f"{segment.pack.digest}.*check\\(\\) lists everything"):
        manager.prune("alice", ONE)
    assert before <= {found.name for found in store.list("")}


@pytest.mark.parametrize("moment", ["before", "after"])
def test_a_host_that_dies_at_any_store_call_harms_nothing(
    new_manager: NewManager, store: WatchedStore, tmp_path: Path, moment: str
) -> None:
    for interruption in at_each_call(store, at_least=15):
        new_manager().delete("alice")
        tree = LocalTree(tmp_path / f"tree{interruption.number}")
        mostly_garbage(tree, new_manager())
        with interruption.dying(moment):
            new_manager().prune("alice", ONE)
        assert_sound(new_manager(), tmp_path / f"loaded{interruption.number}", state_of(tree.root))
        new_manager().prune("alice", ONE)
        stats = new_manager().stats("alice")
        assert (stats.snapshots, stats.unused_bytes) == (1, 0)
        assert stats.stored_bytes < 120_000
        assert_sound(new_manager(), tmp_path / f"again{interruption.number}", state_of(tree.root))


def test_a_swap_whose_answer_is_lost_is_finished_by_the_next_prune(
    new_manager: NewManager, tree: LocalTree, store: WatchedStore, tmp_path: Path
) -> None:
    mostly_garbage(tree, new_manager())

    def lose(number: int, call: str, name: str) -> None:
        if call == "cas":
            raise StateUnavailableError("no answer came")

    store.after = lose
    with pytest.raises(StateUnavailableError):
        new_manager().prune("alice", ONE)
    store.after = lambda number, call, name: None
    assert_sound(new_manager(), tmp_path / "loaded", state_of(tree.root))
    new_manager().prune("alice", ONE)
    assert new_manager().stats("alice").unused_bytes == 0
    assert_sound(new_manager(), tmp_path / "again", state_of(tree.root))


def test_a_save_at_any_store_call_loses_nothing(new_manager: NewManager, store: WatchedStore, tmp_path: Path) -> None:
    for interruption in at_each_call(store, at_least=15):
        new_manager().delete("alice")
        tree, writer = LocalTree(tmp_path / f"tree{interruption.number}"), new_manager()
        mostly_garbage(tree, writer)
        write(tree.root, "more", noise(77))
        save = partial(writer.save, "alice", as_workspace(tree))
        with interruption.by(save):
            new_manager().prune("alice", ONE)
        if not interruption.happened:
            save()
        assert_sound(new_manager(), tmp_path / f"loaded{interruption.number}", state_of(tree.root))


def test_at_any_store_call_of_a_save_a_prune_costs_it_nothing_but_its_own_upload(
    new_manager: NewManager, store: WatchedStore, tmp_path: Path
) -> None:
    """What a writer stands on stays where trees say, however often it is moved."""
    for interruption in at_each_call(store, at_least=3):
        new_manager().delete("alice")
        tree, writer = LocalTree(tmp_path / f"tree{interruption.number}"), new_manager()
        mostly_garbage(tree, writer)
        write(tree.root, "more", noise(77))
        tree.requests.clear()
        with interruption.by(lambda: new_manager().prune("alice", ONE)):
            writer.save("alice", as_workspace(tree))
        assert tree.requests.count("scan") <= 2
        assert_sound(new_manager(), tmp_path / f"loaded{interruption.number}", state_of(tree.root))


def test_a_writer_of_old_content_at_any_store_call_loses_nothing(
    new_manager: NewManager, store: WatchedStore, tmp_path: Path
) -> None:
    """It has restored a snapshot whose content the prune leaves behind."""
    for interruption in at_each_call(store, at_least=15):
        new_manager().delete("alice")
        tree, writer = LocalTree(tmp_path / f"tree{interruption.number}"), new_manager()
        first, _ = mostly_garbage(tree, writer)
        writer.restore("alice", first.id, as_workspace(tree))
        write(tree.root, "more", noise(77))
        save = partial(writer.save, "alice", as_workspace(tree))
        with interruption.by(save):
            new_manager().prune("alice", ONE)
        save()
        assert_sound(new_manager(), tmp_path / f"loaded{interruption.number}", state_of(tree.root))


def test_work_aside_at_any_store_call_is_whole(new_manager: NewManager, store: WatchedStore, tmp_path: Path) -> None:
    for interruption in at_each_call(store, at_least=15):
        new_manager().delete("alice")
        number = interruption.number
        tree, other = LocalTree(tmp_path / f"tree{number}"), LocalTree(tmp_path / f"other{number}")
        writer, rival = new_manager(), new_manager()
        mostly_garbage(tree, writer)
        rival.load("alice", as_workspace(other))
        write(other.root, "theirs", noise(78))
        rival.save("alice", as_workspace(other))
        write(tree.root, "ours", noise(79))

        def lose(writer: SnapshotStateManager = writer, tree: LocalTree = tree) -> None:
            with pytest.raises(StateConflictError):
                writer.save("alice", as_workspace(tree))

        with interruption.by(lose):
            new_manager().prune("alice", ONE)
        if not interruption.happened:
            lose()
        assert_sound(new_manager(), tmp_path / f"loaded{number}", state_of(other.root))
        merged = writer.save("alice", as_workspace(tree), on_conflict="merge")
        assert new_manager().check("alice", read_data=True).problems == ()
        assert merged.files == sum(kind == "file" for kind, *_ in state_of(tree.root).values()) + 1


def test_another_prune_at_any_store_call_loses_nothing(
    new_manager: NewManager, store: WatchedStore, tmp_path: Path
) -> None:
    for interruption in at_each_call(store, at_least=15):
        new_manager().delete("alice")
        tree = LocalTree(tmp_path / f"tree{interruption.number}")
        mostly_garbage(tree, new_manager())
        with interruption.by(lambda: new_manager().prune("alice", ONE)):
            new_manager().prune("alice", ONE)
        assert_sound(new_manager(), tmp_path / f"loaded{interruption.number}", state_of(tree.root))
        assert new_manager().stats("alice").stored_bytes < 120_000


@pytest.mark.parametrize("is_moved_before", [False, True], ids=["for the first time", "once more"])
def test_a_prune_at_any_store_call_of_a_load_is_not_noticed(
    new_manager: NewManager, store: WatchedStore, tmp_path: Path, is_moved_before: bool
) -> None:
    for interruption in at_each_call(store, at_least=3):
        new_manager().delete("alice")
        tree = LocalTree(tmp_path / f"tree{interruption.number}")
        if is_moved_before:
            mostly_garbage(tree, new_manager(), 1)
            new_manager().prune("alice", ONE)
        mostly_garbage(tree, new_manager())
        with interruption.by(lambda: new_manager().prune("alice", ONE)):
            state = loaded(new_manager(), tmp_path / f"loaded{interruption.number}")
        assert state == state_of(tree.root)


def test_a_prune_at_any_store_call_of_a_check_is_no_damage(
    new_manager: NewManager, store: WatchedStore, tmp_path: Path
) -> None:
    for interruption in at_each_call(store, at_least=6):
        new_manager().delete("alice")
        mostly_garbage(LocalTree(tmp_path / f"tree{interruption.number}"), new_manager())
        with interruption.by(lambda: new_manager().prune("alice", ONE)):
            report = new_manager().check("alice", read_data=True)
        assert report.problems == ()


def test_a_prune_at_any_store_call_of_a_fork_is_not_noticed(
    new_keeper: NewManager, store: WatchedStore, tmp_path: Path
) -> None:
    for interruption in at_each_call(store, at_least=5):
        new_keeper().delete("alice")
        new_keeper().delete("bob")
        tree = LocalTree(tmp_path / f"tree{interruption.number}")
        mostly_garbage(tree, new_keeper())
        with interruption.by(lambda: new_keeper().prune("alice", ONE)):
            new_keeper().fork("alice", "bob")
        new_keeper().delete("alice")
        assert new_keeper().check("bob", read_data=True).problems == ()
        forked = LocalTree(tmp_path / f"forked{interruption.number}")
        new_keeper().load("bob", as_workspace(forked))
        assert state_of(forked.root) == state_of(tree.root)


def test_a_fork_of_moved_content_stands_on_its_own(
    new_keeper: NewManager, store: WatchedStore, tree: LocalTree, other: LocalTree
) -> None:
    mostly_garbage(tree, new_keeper())
    new_keeper().prune("alice", ONE)
    new_keeper().fork("alice", "bob")
    new_keeper().delete("alice")
    assert new_keeper().check("bob", read_data=True).problems == ()
    new_keeper().load("bob", as_workspace(other))
    assert state_of(other.root) == state_of(tree.root)
    write(other.root, "more", noise(9))
    new_keeper().save("bob", as_workspace(other))
    new_keeper().prune("bob", ONE)
    assert new_keeper().check("bob", read_data=True).problems == ()


@pytest.mark.parametrize("user_key", [None, bytes(32)], ids=["plain", "encrypted"])
def test_somebody_elses_reader_finds_what_was_moved(
    new_manager: NewManager, store: WatchedStore, tree: LocalTree, user_key: bytes | None
) -> None:
    options = {"encryption": Encryption.from_callable(lambda: user_key)} if user_key else {}
    manager = new_manager(**options)
    mostly_garbage(tree, manager)
    manager.prune("alice", ONE)
    reader = Reader(Path(store.store.root, encode_project_id("alice")), user_key)  # type: ignore[attr-defined]
    found = reader.read(reader.head()["tree"])
    assert {path.decode(): entry.content for path, entry in found.items() if entry.kind == 0} == {
        path: content for path, (kind, _, _, content) in state_of(tree.root).items() if kind == "file"
    }


@pytest.mark.parametrize("what", ["HEAD", "moves", "both"])
@pytest.mark.parametrize("damage", [Path.unlink, lambda path: path.write_bytes(b"{}")], ids=["missing", "damaged"])
def test_a_repair_finds_out_where_content_was_moved(
    new_keeper: NewManager, store: WatchedStore, tree: LocalTree, tmp_path: Path, what: str,
    damage: Callable[[Path], None],
) -> None:  # fmt: skip
    mostly_garbage(tree, new_keeper())
    new_keeper().prune("alice", ONE)
    root = Path(store.store.root, encode_project_id("alice"))  # type: ignore[attr-defined]
    if what != "HEAD":
        damage(next((root / "moves").iterdir()))
    if what != "moves":
        damage(root / "HEAD")
    assert not new_keeper().check("alice").is_whole
    report = new_keeper().repair("alice")
    assert (report.lost, report.unrepaired) == ((), ())
    assert new_keeper().repair("alice").actions == ()
    assert_sound(new_keeper(), tmp_path / "loaded", state_of(tree.root))
    new_keeper().prune("alice", ONE)
    assert_sound(new_keeper(), tmp_path / "again", state_of(tree.root))


def test_an_older_snapshot_with_moved_content_is_restored_although_head_is_damaged(
    new_manager: NewManager, store: WatchedStore, tree: LocalTree, other: LocalTree
) -> None:
    _, second = mostly_garbage(tree, new_manager())
    new_manager().prune("alice", ONE)
    Path(store.store.root, encode_project_id("alice"), "HEAD").write_bytes(b"{}")  # type: ignore[attr-defined]
    new_manager().restore("alice", second.id, as_workspace(other))
    assert state_of(other.root) == state_of(tree.root)


def test_a_save_over_a_damaged_head_knows_where_content_was_moved(
    new_manager: NewManager, store: WatchedStore, tree: LocalTree, tmp_path: Path
) -> None:
    _, second = mostly_garbage(tree, new_manager())
    new_manager().prune("alice", ONE)
    Path(store.store.root, encode_project_id("alice"), "HEAD").write_bytes(b"{}")  # type: ignore[attr-defined]
    manager = new_manager()
    manager.restore("alice", second.id, as_workspace(tree))
    write(tree.root, "more", noise(9))
    manager.save("alice", as_workspace(tree))
    assert_sound(new_manager(), tmp_path / "loaded", state_of(tree.root))
    new_manager().prune("alice", ONE)
    assert_sound(new_manager(), tmp_path / "again", state_of(tree.root))


def test_after_a_save_without_the_lost_head_a_repair_finds_what_was_moved_before(
    new_manager: NewManager, store: WatchedStore, tree: LocalTree, other: LocalTree, tmp_path: Path
) -> None:
    _, second = mostly_garbage(tree, new_manager())
    new_manager().prune("alice", ONE)
    Path(store.store.root, encode_project_id("alice"), "HEAD").unlink()  # type: ignore[attr-defined]
    write(other.root, "anew", noise(9))
    new_manager().save("alice", as_workspace(other))
    with pytest.raises(StateCorruptError, match="is missing"):
        new_manager().prune("alice")
    report = new_manager().repair("alice")
    assert (report.lost, report.unrepaired) == ((), ())
    assert_sound(new_manager(), tmp_path / "loaded", state_of(other.root))
    root = tmp_path / "old"
    new_manager().restore("alice", second.id, as_workspace(LocalTree(root)))
    assert state_of(root) == state_of(tree.root)


def test_lost_moved_content_costs_the_files_that_had_it(
    new_manager: NewManager, store: WatchedStore, tree: LocalTree, other: LocalTree
) -> None:
    _, second = mostly_garbage(tree, new_manager())
    new_manager().prune("alice", ONE)
    repository = Repository(store, "alice")
    stored_tree = repository.get_tree(repository.find(second.id)[1])
    (entry,) = (entry for entry in stored_tree.entries if entry.path == "old/06")
    segment = moves_of(store).locate(stored_tree.places[entry.content[0]].segment)
    path = Path(store.store.root, repository.pack_name(segment.pack.digest))  # type: ignore[attr-defined]
    data = bytearray(path.read_bytes())
    data[segment.offset + segment.stored // 2] ^= 1
    path.write_bytes(data)
    report = new_manager().check("alice", read_data=True)
    assert [problem.name for problem in report.problems] == [repository.pack_name(segment.pack.digest)]
    lost = new_manager().repair("alice").lost
    assert all("old/06" in one.paths for one in lost)
    assert new_manager().check("alice", read_data=True).problems == ()
    new_manager().load("alice", as_workspace(other))
    assert (other.root / "new").read_bytes() == (tree.root / "new").read_bytes()
    assert new_manager().save("alice", as_workspace(tree)).files == second.files


def test_the_list_of_moves_comes_back_as_it_was(
    manager: SnapshotStateManager, tree: LocalTree, store: WatchedStore
) -> None:
    mostly_garbage(tree, manager)
    manager.prune("alice", ONE)
    moves = moves_of(store)
    assert len(moves) > 0
    first, second = (encode_moves(moves, Sealer()) for _ in range(2))
    assert first != second
    assert decode_moves(first, Sealer()) == decode_moves(second, Sealer()) == moves


def test_a_list_of_moves_that_names_impossible_places_is_refused(
    manager: SnapshotStateManager, tree: LocalTree, store: WatchedStore
) -> None:
    mostly_garbage(tree, manager)
    manager.prune("alice", ONE)
    (origin, move), *_ = moves_of(store)
    outside = Moves({origin: Move(move.to._replace(offset=move.to.pack.size), move.kept)})
    with pytest.raises(ValueError, match="has an impossible size"):
        decode_moves(encode_moves(outside, Sealer()), Sealer())
    name = Repository(store, "alice").put_moves(outside)
    with pytest.raises(StateCorruptError, match=f"moves/{name.digest}.* has an impossible size"):
        Repository(store, "alice").get_moves(TreeName(name.digest, name.size))
