"""The copies of packs and trees on this machine."""

from __future__ import annotations

import functools
import os
import random
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from snapshot_support.comparing import state_of, write
from snapshot_support.local_tree import LocalTree, as_workspace
from snapshot_support.stores import WatchedStore

from omniagents_snapshot.manager import SnapshotStateManager
from omniagents_snapshot.pack_cache import PackCache
from omniagents_snapshot.sealing import Hasher

NewManager = Callable[..., SnapshotStateManager]
HASHER = Hasher(bytes(32))


@pytest.fixture
def new_manager(new_manager: NewManager) -> NewManager:
    """Makes managers with a cache."""
    return functools.partial(new_manager, cache_bytes=1 << 30)


@pytest.fixture
def saved(new_manager: NewManager, tree: LocalTree, store: WatchedStore) -> SnapshotStateManager:
    write(tree.root, "small", "text\n")
    write(tree.root, "large", random.Random(1).randbytes(20 << 20))
    manager = new_manager()
    manager.save("alice", as_workspace(tree))
    store.calls.clear()
    return manager


def parts(tmp_path: Path) -> list[Path]:
    return sorted((tmp_path / "cache" / "packs").glob("*/*"))


def read_packs(store: WatchedStore) -> int:
    return sum(call == "get" and ("/packs/" in name or "/trees/" in name) for call, name in store.calls)


def test_what_was_saved_here_is_restored_by_two_requests(
    saved: SnapshotStateManager, new_manager: NewManager, tree: LocalTree, other: LocalTree, store: WatchedStore
) -> None:
    new_manager().load("alice", as_workspace(other))
    assert [(call, name.partition("/")[2]) for call, name in store.calls] == [
        ("read_versioned", "HEAD"),
        ("get", "format.json"),
    ]
    assert state_of(other.root) == state_of(tree.root)


def test_what_was_restored_here_is_restored_again_by_two_requests(
    saved: SnapshotStateManager, new_manager: NewManager, tree: LocalTree, store: WatchedStore, tmp_path: Path
) -> None:
    for path in parts(tmp_path):
        path.unlink()
    new_manager().load("alice", as_workspace(LocalTree(tmp_path / "one")))
    assert read_packs(store) > 3
    store.calls.clear()
    new_manager().load("alice", as_workspace(LocalTree(tmp_path / "two")))
    assert len(store.calls) == 2
    assert state_of(tmp_path / "two") == state_of(tree.root)


@pytest.mark.parametrize("poison", ["flipped", "cut", "empty", "swapped", "forged"])
def test_a_poisoned_part_is_found_and_fetched_again(
    saved: SnapshotStateManager, new_manager: NewManager, tree: LocalTree, other: LocalTree, store: WatchedStore,
    tmp_path: Path, poison: str,
) -> None:  # fmt: skip
    found = parts(tmp_path)
    for number, path in enumerate(found):
        data = path.read_bytes()
        bad = {
            "flipped": bytes([data[0] ^ 1]) + data[1:],
            "cut": data[:-1],
            "empty": b"",
            "swapped": found[number - 1].read_bytes(),
            "forged": bytes(len(data) - 32) + bytes.fromhex(HASHER.digest(bytes(len(data) - 32))),
        }[poison]
        path.write_bytes(bad)
    new_manager().load("alice", as_workspace(other))
    assert state_of(other.root) == state_of(tree.root)
    assert read_packs(store) > 0
    store.calls.clear()
    new_manager().load("alice", as_workspace(LocalTree(tmp_path / "again")))
    assert read_packs(store) == 0


def test_another_project_of_the_same_content_gets_nothing_from_it(
    saved: SnapshotStateManager, new_manager: NewManager, tree: LocalTree, store: WatchedStore, tmp_path: Path
) -> None:
    new_manager(cache_bytes=0).save("bob", as_workspace(tree))
    store.calls.clear()
    new_manager().load("bob", as_workspace(LocalTree(tmp_path / "bob")))
    assert read_packs(store) > 3


def test_a_check_looks_at_the_store_itself(saved: SnapshotStateManager, store: WatchedStore) -> None:
    for found in list(store.list("")):
        if "/packs/" in found.name or "/trees/" in found.name:
            store.delete(found.name)
    assert not saved.check("alice").is_whole


def test_deleting_a_project_deletes_its_copies(saved: SnapshotStateManager, tmp_path: Path) -> None:
    saved.delete("alice")
    assert parts(tmp_path) == []


def test_its_files_are_for_the_owner_only(saved: SnapshotStateManager, tmp_path: Path) -> None:
    assert {path.stat().st_mode & 0o777 for path in parts(tmp_path)} == {0o600}
    assert {path.parent.stat().st_mode & 0o777 for path in parts(tmp_path)} == {0o700}


def test_none_is_kept_where_the_limit_is_nothing(new_manager: NewManager, tree: LocalTree, tmp_path: Path) -> None:
    write(tree.root, "a")
    new_manager(cache_bytes=0).save("alice", as_workspace(tree))
    assert parts(tmp_path) == []


def test_the_longest_unused_goes_first(tmp_path: Path) -> None:
    cache = PackCache(tmp_path, max_bytes=10_000)
    project = cache.project("store", "alice")
    for number in range(8):
        project.put(HASHER, f"{number}", 0, bytes(1000))
        os.utime(next(tmp_path.glob(f"*/{number}-*")), ns=(number, number))
    assert project.get(HASHER, "0", 100, 200) == bytes(200)  # used again
    project.put(HASHER, "8", 0, bytes(3000))
    assert {path.name[0] for path in tmp_path.glob("*/*")} == {"0", "4", "5", "6", "7", "8"}
    assert project.get(HASHER, "1", 0, 1000) is None


def test_two_processes_may_fill_and_empty_it_at_once(tmp_path: Path) -> None:
    """Each with its own idea of what is there; nobody ever gets other bytes than were put."""
    wrong: list[int] = []

    def work(seed: int) -> None:
        project = PackCache(tmp_path, max_bytes=60_000).project("store", "alice")
        choose = random.Random(seed)
        for _ in range(300):
            number = choose.randrange(30)
            found = project.get(HASHER, f"{number}", 10, 20)
            if found is None:
                project.put(HASHER, f"{number}", 0, bytes([number]) * 5000)
            elif found != bytes([number]) * 20:
                wrong.append(number)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
    assert sum(path.stat().st_size for path in tmp_path.glob("*/*")) < 100_000
