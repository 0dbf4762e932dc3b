"""What a save reads, and what it stores."""

from __future__ import annotations

import gc
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from snapshot_support.comparing import state_of, write
from snapshot_support.local_tree import LocalTree, as_workspace
from snapshot_support.stores import WatchedStore

from omniagents.records import LeftOut
from omniagents_snapshot.manager import SnapshotStateManager

NewManager = Callable[..., SnapshotStateManager]


@pytest.fixture
def saved(manager: SnapshotStateManager, tree: LocalTree, store: WatchedStore) -> SnapshotStateManager:
    """A manager that has saved a small workspace; requests and calls from now on are noted."""
    for name in ("a/one", "a/two", "b/three", "four"):
        write(tree.root, name, f"content of {name}\n")
    manager.save("alice", as_workspace(tree))
    forget_noted(tree, store)
    return manager


def forget_noted(tree: LocalTree, store: WatchedStore) -> None:
    tree.requests.clear()
    tree.exported.clear()
    store.calls.clear()


def test_with_nothing_changed_a_save_is_one_scan_and_nothing_else(
    saved: SnapshotStateManager, tree: LocalTree, store: WatchedStore
) -> None:
    latest = saved.history("alice")[0]
    store.calls.clear()
    assert saved.save("alice", as_workspace(tree), "again") == latest
    assert (tree.requests, store.calls) == (["scan"], [])


def test_only_the_changed_file_is_read_and_stored(
    saved: SnapshotStateManager, tree: LocalTree, store: WatchedStore
) -> None:
    write(tree.root, "a/two", "changed\n")
    assert saved.save("alice", as_workspace(tree)).changed == 1
    assert (tree.requests, tree.exported) == (["scan", "export"], ["a/two"])
    kinds = [(call, name.split("/")[1]) for call, name in store.calls]
    assert sorted(kinds[:2]) == [("put_new", "packs"), ("put_new", "trees")]  # at the same time
    assert kinds[2:] == [("cas", "HEAD"), ("put_new", "history")]


def test_removing_a_file_reads_nothing(saved: SnapshotStateManager, tree: LocalTree) -> None:
    (tree.root / "four").unlink()
    assert saved.save("alice", as_workspace(tree)).changed == 1
    assert tree.requests == ["scan"]


def test_a_renamed_file_is_read_and_not_stored_again(
    saved: SnapshotStateManager, tree: LocalTree, store: WatchedStore
) -> None:
    (tree.root / "four").rename(tree.root / "4")
    assert saved.save("alice", as_workspace(tree)).changed == 2
    assert tree.exported == ["4"]
    (pack,) = [name for _, name in store.calls if "/packs/" in name]
    assert (store.head(pack) or 0) < 2_000  # the page that names it


def test_a_changed_mode_is_a_change(saved: SnapshotStateManager, tree: LocalTree) -> None:
    (tree.root / "four").chmod(0o700)
    assert saved.save("alice", as_workspace(tree)).changed == 1


def test_the_time_of_a_directory_alone_is_no_change(
    saved: SnapshotStateManager, tree: LocalTree, store: WatchedStore
) -> None:
    os.utime(tree.root / "a", (0, 0))
    saved.save("alice", as_workspace(tree))
    assert store.calls == []


def test_a_file_changed_within_two_seconds_of_the_scan_is_read_again_next_time(
    saved: SnapshotStateManager, tree: LocalTree, store: WatchedStore
) -> None:
    tree.settled = False
    write(tree.root, "four", "fresh\n")
    saved.save("alice", as_workspace(tree))
    forget_noted(tree, store)
    # The same size within one tick of the clock leaves no trace in lstat, so it is not relied on.
    saved.save("alice", as_workspace(tree))
    assert tree.exported == ["four"]
    assert store.count(*store.WRITES) == 0


def test_a_change_within_one_tick_of_the_clock_is_not_lost(saved: SnapshotStateManager, tree: LocalTree) -> None:
    tree.settled = False
    path = write(tree.root, "four", "fresh 1\n")
    before = tree.info("four")
    saved.save("alice", as_workspace(tree))
    path.write_text("fresh 2\n")
    real = tree.info
    tree.info = lambda name: before if name == "four" else real(name)  # type: ignore[method-assign]
    assert saved.save("alice", as_workspace(tree)).changed == 1


def test_a_file_touched_long_ago_is_read_once(
    saved: SnapshotStateManager, tree: LocalTree, store: WatchedStore
) -> None:
    tree.settled = False
    write(tree.root, "four", "fresh\n")
    saved.save("alice", as_workspace(tree))
    tree.settled = True
    saved.save("alice", as_workspace(tree))
    forget_noted(tree, store)
    saved.save("alice", as_workspace(tree))
    assert tree.requests == ["scan"]


def test_what_need_not_be_read_is_remembered_by_a_new_host_process(
    saved: SnapshotStateManager, tree: LocalTree, store: WatchedStore, new_manager: NewManager
) -> None:
    write(tree.root, "four", "changed\n")
    assert new_manager().save("alice", as_workspace(tree)).changed == 1
    assert tree.exported == ["four"]


def test_a_damaged_or_missing_memory_costs_only_reading(
    saved: SnapshotStateManager, tree: LocalTree, store: WatchedStore, new_manager: NewManager, tmp_path: object
) -> None:
    (cache,) = (tree.root.parent / "cache").iterdir()
    cache.write_bytes(cache.read_bytes()[:-3])
    new_manager().save("alice", as_workspace(tree))
    assert sorted(tree.exported) == ["a/one", "a/two", "b/three", "four"]
    assert store.count(*store.WRITES) == 0


def test_the_memory_of_another_environment_never_hides_a_change(
    saved: SnapshotStateManager, other: LocalTree, new_manager: NewManager
) -> None:
    """Same paths, sizes and times, other content, in an environment the memory was not made in."""
    for name in ("a/one", "a/two", "b/three", "four"):
        write(other.root, name, f"CONTENT OF {name}\n")
        time_ns = (other.root.parent / "tree" / name).stat().st_mtime_ns
        os.utime(other.root / name, ns=(time_ns, time_ns))
    assert new_manager().save("alice", as_workspace(other)).changed == 4


def test_after_a_load_nothing_needs_to_be_read(
    saved: SnapshotStateManager, other: LocalTree, store: WatchedStore, new_manager: NewManager, tree: LocalTree
) -> None:
    for path in (p for p in tree.root.rglob("*") if p.is_file()):
        os.utime(path, (10, 10))
    saved.save("alice", as_workspace(tree))
    fresh = new_manager()
    fresh.load("alice", as_workspace(other))
    forget_noted(other, store)
    other.settled = False
    fresh.save("alice", as_workspace(other))
    assert (other.requests, store.calls) == (["scan"], [])


def test_two_projects_of_one_manager_do_not_meet(
    saved: SnapshotStateManager, other: LocalTree, tree: LocalTree
) -> None:
    write(other.root, "bob", "bob's\n")
    for project in ("bob", "Alice", "alice/", "../alice", "a_lice", "ali-ce"):
        assert saved.load(project, as_workspace(other)) is None
        saved.save(project, as_workspace(other))
    assert list(state_of(other.root)) == ["bob"]
    assert [snapshot.files for snapshot in saved.history("alice")] == [4]


class TestLeftOut:
    def test_caches_are_left_out_and_reported(self, manager: SnapshotStateManager, tree: LocalTree) -> None:
        for name in ("node_modules", "__pycache__", ".mypy_cache", ".pytest_cache", ".ruff_cache", ".tox"):
            write(tree.root, f"web/{name}/x")
        write(tree.root, "web/node_modules.txt")
        snapshot = manager.save("alice", as_workspace(tree))
        assert snapshot.files == 1
        assert [left_out.path for left_out in snapshot.left_out] == [
            f"web/{name}"
            for name in (".mypy_cache", ".pytest_cache", ".ruff_cache", ".tox", "__pycache__", "node_modules")
        ]

    def test_an_empty_list_keeps_everything(self, new_manager: NewManager, tree: LocalTree) -> None:
        write(tree.root, "node_modules/x")
        snapshot = new_manager(leave_out=()).save("alice", as_workspace(tree))
        assert (snapshot.files, snapshot.left_out) == (1, ())

    def test_the_workspace_adds_its_own_rules(self, manager: SnapshotStateManager, tree: LocalTree) -> None:
        write(tree.root, ".omniagentsignore", "*.log\n!keep.log\n")
        write(tree.root, "a.log")
        write(tree.root, "keep.log")
        assert manager.save("alice", as_workspace(tree)).left_out == (LeftOut("a.log", "*.log"),)

    def test_a_virtual_environment_beside_its_lock_file_is_left_out(
        self, manager: SnapshotStateManager, tree: LocalTree
    ) -> None:
        for name in ("pyproject.toml", "uv.lock", ".venv/bin/python"):
            write(tree.root, f"service/{name}")
        snapshot = manager.save("alice", as_workspace(tree))
        assert snapshot.left_out == (LeftOut("service/.venv", ".venv/"),)
        assert tree.requests.count("scan") == 1

    def test_a_virtual_environment_that_nothing_rebuilds_is_kept(
        self, manager: SnapshotStateManager, tree: LocalTree, other: LocalTree
    ) -> None:
        write(tree.root, "odd [name]*/.venv/bin/python")
        write(tree.root, "pyproject.toml")
        write(tree.root, ".venv/bin/python")
        assert manager.save("alice", as_workspace(tree)).left_out == ()
        manager.load("alice", as_workspace(other))
        assert state_of(other.root) == state_of(tree.root)

    def test_that_a_virtual_environment_is_kept_costs_one_scan_more_only_once(
        self, manager: SnapshotStateManager, tree: LocalTree
    ) -> None:
        write(tree.root, ".venv/bin/python")
        manager.save("alice", as_workspace(tree))
        tree.requests.clear()
        manager.save("alice", as_workspace(tree))
        assert tree.requests == ["scan"]

    def test_a_virtual_environment_is_left_out_as_soon_as_it_has_a_lock_file(
        self, manager: SnapshotStateManager, tree: LocalTree
    ) -> None:
        write(tree.root, ".venv/bin/python")
        manager.save("alice", as_workspace(tree))
        write(tree.root, "pyproject.toml")
        write(tree.root, "uv.lock")
        assert manager.save("alice", as_workspace(tree)).left_out == (LeftOut(".venv", ".venv/"),)

    def test_what_is_no_file_is_left_out_and_reported(self, manager: SnapshotStateManager, tree: LocalTree) -> None:
        os.mkfifo(tree.root / "pipe")
        snapshot = manager.save("alice", as_workspace(tree))
        assert snapshot.left_out == (LeftOut("pipe", "is a FIFO, socket or device"),)
        assert snapshot.changed == 0


class TestMovingFiles:
    def test_a_file_that_changed_while_it_was_read_is_read_again(
        self, manager: SnapshotStateManager, tree: LocalTree, other: LocalTree
    ) -> None:
        path = write(tree.root, "log", b"old" * 200_000)

        def rewrite(name: str, number: int) -> None:
            tree.while_reading = lambda name, number: None
            path.write_bytes(b"new" * 200_001)

        tree.while_reading = rewrite
        snapshot = manager.save("alice", as_workspace(tree))
        assert (tree.exported, snapshot.left_out) == (["log", "log"], ())
        manager.load("alice", as_workspace(other))
        assert (other.root / "log").read_bytes() == b"new" * 200_001

    def test_a_file_that_keeps_changing_is_saved_as_last_read_and_reported(
        self, manager: SnapshotStateManager, tree: LocalTree
    ) -> None:
        path = write(tree.root, "log", b"0")

        def append(name: str, number: int) -> None:
            with path.open("ab") as file:
                file.write(b"1")

        tree.while_reading = append
        snapshot = manager.save("alice", as_workspace(tree))
        assert snapshot.left_out == (
            LeftOut("log", "kept changing while it was read: saved as last read, which may mix two versions"),
        )
        assert (len(tree.exported), snapshot.files) == (3, 1)
        tree.while_reading = lambda name, number: None
        tree.exported.clear()
        assert manager.save("alice", as_workspace(tree)).left_out == ()
        assert tree.exported == ["log"]

    def test_a_file_that_vanished_is_not_saved(self, manager: SnapshotStateManager, tree: LocalTree) -> None:
        write(tree.root, "a")
        second = write(tree.root, "b")
        tree.while_reading = lambda name, number: second.unlink(missing_ok=True)
        snapshot = manager.save("alice", as_workspace(tree))
        assert (snapshot.files, snapshot.left_out) == (1, ())

    def test_a_file_that_became_a_link_is_saved_as_one(
        self, manager: SnapshotStateManager, tree: LocalTree, other: LocalTree
    ) -> None:
        write(tree.root, "a")
        second = write(tree.root, "b")

        def relink(name: str, number: int) -> None:
            second.unlink(missing_ok=True)
            second.symlink_to("a")

        tree.while_reading = relink
        manager.save("alice", as_workspace(tree))
        manager.load("alice", as_workspace(other))
        assert os.readlink(other.root / "b") == "a"


def test_a_workspace_that_is_gone_is_forgotten(manager: SnapshotStateManager, tmp_path: Path) -> None:
    """A host that serves many users for months must not keep a tree in memory for each."""
    for number in range(3):
        workspace = LocalTree(tmp_path / str(number))
        manager.save(str(number), as_workspace(workspace))
    del workspace
    gc.collect()
    assert manager._bases == {}
