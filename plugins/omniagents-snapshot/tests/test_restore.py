"""Going back to a point, and what stays where it is."""

from __future__ import annotations

import os
from collections.abc import Callable

import pytest
from snapshot_support.comparing import state_of, write
from snapshot_support.local_tree import LocalTree, as_workspace
from snapshot_support.stores import WatchedStore

from omniagents.errors import SnapshotNotFoundError, StateQuotaError
from omniagents_snapshot.manager import SnapshotStateManager

NewManager = Callable[..., SnapshotStateManager]


@pytest.fixture
def points(manager: SnapshotStateManager, tree: LocalTree) -> tuple[str, str]:
    """Two snapshots' ids; the workspace is as in the second."""
    write(tree.root, "kept", "same\n")
    write(tree.root, "changed", "one\n")
    write(tree.root, "removed/deep/file")
    for name in ("kept", "changed", "removed/deep/file"):
        os.utime(tree.root / name, (10, 10))
    first = manager.save("alice", as_workspace(tree), "one")
    write(tree.root, "changed", "two\n")
    (tree.root / "removed/deep/file").unlink()
    write(tree.root, "added/file")
    for name in ("changed", "added/file"):
        os.utime(tree.root / name, (20, 20))
    return first.id, manager.save("alice", as_workspace(tree), "two").id


def test_restoring_makes_the_workspace_equal_to_the_snapshot(
    manager: SnapshotStateManager, tree: LocalTree, points: tuple[str, str], new_manager: NewManager, other: LocalTree
) -> None:
    second = state_of(tree.root)
    manager.restore("alice", points[0], as_workspace(tree))
    assert (tree.root / "changed").read_text() == "one\n"
    assert not (tree.root / "added").exists()
    new_manager().restore("alice", points[0], as_workspace(other))
    assert state_of(other.root) == state_of(tree.root)
    manager.restore("alice", points[1], as_workspace(tree))
    assert state_of(tree.root) == second


def test_restoring_does_not_move_the_latest(
    manager: SnapshotStateManager, tree: LocalTree, points: tuple[str, str], other: LocalTree, new_manager: NewManager
) -> None:
    manager.restore("alice", points[0], as_workspace(tree))
    latest = new_manager().load("alice", as_workspace(other))
    assert latest is not None
    assert latest.id == points[1]


def test_saving_after_a_restore_is_a_new_snapshot_on_top_of_the_latest(
    manager: SnapshotStateManager, tree: LocalTree, points: tuple[str, str], store: WatchedStore
) -> None:
    manager.restore("alice", points[0], as_workspace(tree))
    tree.requests.clear()
    third = manager.save("alice", as_workspace(tree), "back")
    assert (third.parent_id, third.changed) == (points[1], 4)
    assert "export" not in tree.requests
    assert [snapshot.message for snapshot in manager.history("alice")] == ["back", "two", "one"]
    assert manager.save("alice", as_workspace(tree)).id == third.id


def test_restoring_where_the_workspace_is_already_equal_writes_nothing(
    manager: SnapshotStateManager, tree: LocalTree, points: tuple[str, str]
) -> None:
    tree.requests.clear()
    manager.restore("alice", points[1], as_workspace(tree))
    assert tree.requests == ["scan"]


def test_only_what_differs_is_written(manager: SnapshotStateManager, tree: LocalTree, points: tuple[str, str]) -> None:
    with open(tree.root / "kept") as kept:  # open, so that its inode cannot be given to a new file
        manager.restore("alice", points[0], as_workspace(tree))
        assert os.path.samestat(os.fstat(kept.fileno()), (tree.root / "kept").stat())


def test_a_file_changed_behind_our_back_is_restored(
    manager: SnapshotStateManager, tree: LocalTree, points: tuple[str, str]
) -> None:
    path = tree.root / "kept"
    times = path.stat().st_mtime_ns
    path.write_text("SAME\n")
    os.utime(path, ns=(times, times))
    manager.restore("alice", points[1], as_workspace(tree))
    assert path.read_text() == "same\n"


def test_what_is_left_out_stays(manager: SnapshotStateManager, tree: LocalTree, points: tuple[str, str]) -> None:
    write(tree.root, "added/node_modules/x")
    write(tree.root, "added/more/file")
    os.mkfifo(tree.root / "added/pipe")
    manager.restore("alice", points[0], as_workspace(tree))
    assert set(state_of(tree.root / "added")) == {"node_modules", "node_modules/x", "pipe"}


def test_kinds_that_changed_are_replaced(manager: SnapshotStateManager, tree: LocalTree, other: LocalTree) -> None:
    write(tree.root, "file")
    write(tree.root, "directory/inside")
    (tree.root / "link").symlink_to("file")
    manager.save("alice", as_workspace(tree))
    write(other.root, "file/now/a/directory")
    write(other.root, "link/now/a/directory")
    (other.root / "directory").symlink_to("/etc")
    manager.load("alice", as_workspace(other))
    assert state_of(other.root) == state_of(tree.root)


def test_nothing_is_written_through_a_link(manager: SnapshotStateManager, tree: LocalTree, other: LocalTree) -> None:
    write(tree.root, "directory/inside")
    manager.save("alice", as_workspace(tree))
    outside = other.root.parent / "outside"
    outside.mkdir()
    (other.root / "directory").symlink_to(outside)
    manager.load("alice", as_workspace(other))
    assert list(outside.iterdir()) == []


def test_an_unknown_snapshot_is_an_error_that_tells_what_there_is(
    manager: SnapshotStateManager, tree: LocalTree, points: tuple[str, str]
) -> None:
    with pytest.raises(SnapshotNotFoundError) as caught:
        manager.restore("alice", "0" * 32, as_workspace(tree))
    assert str(caught.value) == (
        f"project 'alice' has no snapshot '{'0' * 32}': it has 2, and the newest is {points[1]!r}"
    )


def test_a_snapshot_of_another_project_is_unknown(
    manager: SnapshotStateManager, tree: LocalTree, points: tuple[str, str]
) -> None:
    with pytest.raises(
        SnapshotNotFoundError, match=r"project 'bob' has no snapshot .*: it has 0, and nothing was saved"
    ):
        manager.restore("bob", points[0], as_workspace(tree))


def test_a_project_never_saved_loads_nothing_and_asks_nothing_of_the_workspace(
    manager: SnapshotStateManager, tree: LocalTree
) -> None:
    write(tree.root, "mine")
    assert manager.load("alice", as_workspace(tree)) is None
    assert tree.requests == []
    assert manager.history("alice") == []


def test_deleting_forgets_everything_and_may_be_repeated(
    manager: SnapshotStateManager, tree: LocalTree, points: tuple[str, str], store: WatchedStore
) -> None:
    manager.save("bob", as_workspace(tree))
    manager.delete("alice")
    manager.delete("alice")
    assert manager.history("alice") == []
    assert {found.name.split("-")[0] for found in store.list("")} == {"bob"}
    again = manager.save("alice", as_workspace(tree))
    assert (again.parent_id, again.changed) == (None, 6)


class TestQuota:
    @pytest.mark.parametrize(
        ("options", "message"),
        [
            (
                {"max_bytes": 9},
                "the workspace of project 'alice' holds 10 bytes, more than the limit of 9; "
                "remove some, list them in .omniagentsignore, or raise max_bytes",
            ),
            (
                {"max_files": 2},
                "the workspace of project 'alice' holds 3 files, directories and links, more than the limit of 2; "
                "remove some, list them in .omniagentsignore, or raise max_files",
            ),
        ],
    )
    def test_a_workspace_over_a_limit_is_refused_before_anything_is_stored(
        self, new_manager: NewManager, tree: LocalTree, store: WatchedStore, options: dict[str, int], message: str
    ) -> None:
        write(tree.root, "a/b", b"12345")
        write(tree.root, "c", b"12345")
        with pytest.raises(StateQuotaError) as caught:
            new_manager(**options).save("alice", as_workspace(tree))
        assert str(caught.value) == message
        assert store.count(*store.WRITES) == 0
        assert "export" not in tree.requests

    def test_a_workspace_at_the_limits_is_saved(self, new_manager: NewManager, tree: LocalTree) -> None:
        write(tree.root, "a/b", b"12345")
        assert new_manager(max_bytes=5, max_files=2).save("alice", as_workspace(tree)).files == 1

    def test_an_environment_that_lies_about_sizes_is_stopped(self, new_manager: NewManager, tree: LocalTree) -> None:
        write(tree.root, "a", b"12345" * 100_000)
        real = tree.scan

        def lying(*args: object, **options: object) -> object:
            found = real(*args, **options)  # type: ignore[arg-type]
            found.entries[:] = [entry._replace(size=0) for entry in found.entries]
            return found

        tree.scan = lying  # type: ignore[method-assign, assignment]
        with pytest.raises(StateQuotaError, match="the files of the workspace hold more than the limit of 1,000 bytes"):
            new_manager(max_bytes=1000).save("alice", as_workspace(tree))

    def test_a_snapshot_over_a_limit_is_not_loaded(
        self, new_manager: NewManager, manager: SnapshotStateManager, tree: LocalTree, other: LocalTree
    ) -> None:
        write(tree.root, "a", b"12345")
        manager.save("alice", as_workspace(tree))
        with pytest.raises(StateQuotaError, match="holds 5 bytes, more than the limit of 4"):
            new_manager(max_bytes=4).load("alice", as_workspace(other))
