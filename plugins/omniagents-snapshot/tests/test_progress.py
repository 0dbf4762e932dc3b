"""What a progress callback is told."""

from __future__ import annotations

from collections.abc import Callable
from itertools import groupby

import pytest
from snapshot_support.comparing import state_of, write
from snapshot_support.local_tree import LocalTree, as_workspace

from omniagents_snapshot.manager import SnapshotStateManager
from omniagents_snapshot.progress import Progress

NewManager = Callable[..., SnapshotStateManager]
MIB = 1 << 20


@pytest.fixture
def seen() -> list[Progress]:
    return []


@pytest.fixture
def manager(new_manager: NewManager, tree: LocalTree, seen: list[Progress]) -> SnapshotStateManager:
    for name in ("a/one", "a/two"):
        write(tree.root, name, name.encode() * (MIB // 5))
    return new_manager(progress=seen.append)


def last_of_each_phase(seen: list[Progress]) -> list[Progress]:
    return [list(moments)[-1] for _, moments in groupby(seen, key=lambda moment: moment.phase)]


def test_a_save_scans_reads_and_stores(manager: SnapshotStateManager, tree: LocalTree, seen: list[Progress]) -> None:
    size = 10 * (MIB // 5)
    manager.save("alice", as_workspace(tree))
    assert last_of_each_phase(seen) == [
        Progress("alice", "scan", 3),
        Progress("alice", "read", 2, 2, size, size),
        Progress("alice", "store"),
    ]


def test_a_save_with_nothing_to_do_only_scans(
    manager: SnapshotStateManager, tree: LocalTree, seen: list[Progress]
) -> None:
    manager.save("alice", as_workspace(tree))
    seen.clear()
    manager.save("alice", as_workspace(tree))
    assert {moment.phase for moment in seen} == {"scan"}


def test_a_load_writes(manager: SnapshotStateManager, tree: LocalTree, other: LocalTree, seen: list[Progress]) -> None:
    size = 10 * (MIB // 5)
    manager.save("alice", as_workspace(tree))
    seen.clear()
    manager.load("alice", as_workspace(other))
    assert seen[0] == Progress("alice", "write", 0, 3, 0, size)
    assert seen[-1] == Progress("alice", "write", 3, 3, size, size)


def test_a_check_counts_packs(manager: SnapshotStateManager, tree: LocalTree, seen: list[Progress]) -> None:
    manager.save("alice", as_workspace(tree))
    seen.clear()
    manager.check("alice", read_data=True)
    assert (seen[0].phase, seen[0].files, seen[0].total_files) == ("check", 0, 1)
    assert (seen[-1].files, seen[-1].bytes) == (1, seen[0].total_bytes)


def test_it_never_goes_backwards_within_a_phase(
    manager: SnapshotStateManager, tree: LocalTree, seen: list[Progress]
) -> None:
    write(tree.root, "large", bytes(30 * MIB))
    manager.save("alice", as_workspace(tree))
    for _, moments in groupby(seen, key=lambda moment: moment.phase):
        done = [(moment.files, moment.bytes) for moment in moments]
        assert done == sorted(done)


def test_what_it_raises_ends_the_save_and_leaves_the_previous_snapshot(
    new_manager: NewManager, manager: SnapshotStateManager, tree: LocalTree, other: LocalTree
) -> None:
    saved = manager.save("alice", as_workspace(tree))
    write(tree.root, "b", "new")

    def stop(moment: Progress) -> None:
        if moment.phase == "read":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        new_manager(progress=stop).save("alice", as_workspace(tree))
    assert new_manager().load("alice", as_workspace(other)) == saved
    assert "b" not in state_of(other.root)
