"""What a store answers damaged once is read once more; what is damaged in the store is not loaded."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

import pytest
from snapshot_support.comparing import state_of, write
from snapshot_support.local_tree import LocalTree, as_workspace
from snapshot_support.stores import WatchedStore

from omniagents.errors import StateCorruptError
from omniagents_snapshot.manager import SnapshotStateManager

NewManager = Callable[..., SnapshotStateManager]


def damage_ranges(store: WatchedStore, times: int) -> list[str]:
    """Every range of a pack, ``times`` each, comes with another last byte; the names in the order of reading."""
    read: list[str] = []
    seen: list[tuple[str, tuple[int, int]]] = []
    get = store.get

    def damaging(name: str, byte_range: tuple[int, int] | None = None) -> bytes:
        data = get(name, byte_range)
        if "/packs/" not in name or byte_range is None:
            return data
        read.append(name)
        seen.append((name, byte_range))
        return data[:-1] + bytes((data[-1] ^ 1,)) if seen.count(seen[-1]) <= times else data

    store.get = damaging  # type: ignore[method-assign]
    return read


@pytest.mark.parametrize("cache_bytes", [0, 1 << 20])
def test_parts_of_packs_that_come_damaged_once_are_read_once_more(
    new_manager: NewManager, store: WatchedStore, tree: LocalTree, other: LocalTree, tmp_path: Path, cache_bytes: int
) -> None:
    write(tree.root, "a", random.Random(1).randbytes(70_000))
    new_manager().save("alice", as_workspace(tree))
    loading = new_manager(cache_bytes=cache_bytes, cache_directory=tmp_path / "elsewhere")
    read = damage_ranges(store, 1)
    loading.load("alice", as_workspace(other))
    assert state_of(other.root) == state_of(tree.root)
    assert len(read) == 4  # the tree's page and the content, twice each
    again = LocalTree(tmp_path / "again")
    loading.load("alice", as_workspace(again))
    assert state_of(again.root) == state_of(tree.root)
    assert len(read) == (4 if cache_bytes else 5)  # the manager still has the tree


def test_parts_of_packs_that_stay_damaged_are_read_twice_and_not_loaded(
    new_manager: NewManager, store: WatchedStore, tree: LocalTree, other: LocalTree
) -> None:
    write(tree.root, "a", random.Random(1).randbytes(70_000))
    new_manager().save("alice", as_workspace(tree))
    read = damage_ranges(store, 2)
    with pytest.raises(StateCorruptError, match="packs/"):
        new_manager().load("alice", as_workspace(other))
    assert len(read) == 2
    assert list(other.root.iterdir()) == []
