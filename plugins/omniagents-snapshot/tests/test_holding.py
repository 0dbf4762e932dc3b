"""A tree is decoded once for a whole call, and afterwards takes no memory for that."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from snapshot_support.comparing import write
from snapshot_support.local_tree import LocalTree, as_workspace

from omniagents_snapshot import stored_tree
from omniagents_snapshot.manager import SnapshotStateManager
from omniagents_snapshot.stored_tree import StoredTree

NewManager = Callable[..., SnapshotStateManager]


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many entries each page had that was decoded."""
    found: list[int] = []
    decode_page = stored_tree.decode_page

    def noting(*arguments: object) -> object:
        page = decode_page(*arguments)  # type: ignore[arg-type]
        found.append(len(page[0]))
        return page

    monkeypatch.setattr(stored_tree, "decode_page", noting)
    return found


def saved(manager: SnapshotStateManager, tree: LocalTree) -> StoredTree:
    for number in range(50):
        write(tree.root, f"directory/file{number}", f"{number}\n")
    manager.save("alice", as_workspace(tree))
    stored = manager._bases["alice"].tree
    assert isinstance(stored, StoredTree)
    return stored


def test_a_load_decodes_what_it_read_once_to_check_it_and_once_to_use_it(
    new_manager: NewManager, tree: LocalTree, other: LocalTree, decoded: list[int]
) -> None:
    entries = len(saved(new_manager(), tree).entries)
    decoded.clear()
    new_manager().load("alice", as_workspace(other))
    assert sum(decoded) == 2 * entries


def test_outside_a_call_nothing_is_held(manager: SnapshotStateManager, tree: LocalTree, decoded: list[int]) -> None:
    stored = saved(manager, tree)
    decoded.clear()
    for _ in range(2):
        assert len(list(stored.entries)) == 51
    assert sum(decoded) == 2 * 51


def test_a_large_tree_is_never_held(
    manager: SnapshotStateManager, tree: LocalTree, decoded: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    stored = saved(manager, tree)
    monkeypatch.setattr(stored_tree, "_HELD_ENTRIES", 50)
    decoded.clear()
    with stored.held():
        for _ in range(2):
            assert len(list(stored.entries)) == 51
    assert sum(decoded) == 2 * 51
