"""What can be done with snapshots without a workspace: fork, diff, export, stats, part of a restore."""

from __future__ import annotations

import io
import os
import random
import subprocess
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest
import zstandard
from snapshot_support.comparing import state_of, write
from snapshot_support.local_tree import LocalTree, as_workspace
from snapshot_support.stores import Crash, WatchedStore

from omniagents.errors import SnapshotNotFoundError, StateCorruptError, StateError
from omniagents_snapshot.diffing import Change
from omniagents_snapshot.manager import SnapshotStateManager
from omniagents_snapshot.memory_store import MemoryStore

NewManager = Callable[..., SnapshotStateManager]


@pytest.fixture
def ids(manager: SnapshotStateManager, tree: LocalTree) -> tuple[str, str]:
    """Two snapshots that differ in everything that can differ."""
    write(tree.root, "same", "same\n")
    write(tree.root, "text", "one\ntwo\nthree\n")
    write(tree.root, "directory/removed", "gone\n")
    write(tree.root, "binary", b"\0\1")
    write(tree.root, "mode", "x\n", mode=0o644)
    write(tree.root, "large", random.Random(1).randbytes(3 << 20))
    write(tree.root, os.fsdecode(b"odd\n\xff"), "1\n")
    (tree.root / "link").symlink_to("same")
    (tree.root / "empty").mkdir()
    first = manager.save("alice", as_workspace(tree), "one").id
    write(tree.root, "text", "one\n2\nthree\nfour")
    (tree.root / "directory/removed").unlink()
    write(tree.root, "binary", b"\0\2\3")
    (tree.root / "mode").chmod(0o755)
    (tree.root / "link").unlink()
    (tree.root / "link").symlink_to("text")
    write(tree.root, "directory/added", "new\n")
    write(tree.root, os.fsdecode(b"odd\n\xff"), "2\n")
    return first, manager.save("alice", as_workspace(tree), "two").id


def test_a_diff_names_every_path_and_what_of_it_differs(manager: SnapshotStateManager, ids: tuple[str, str]) -> None:
    diff = manager.diff("alice", *ids)
    assert (diff.before.id, diff.after.id) == ids
    found = [
        (one.path, one.action, tuple(part for part in one.parts if part != "time"), one.size_before, one.size_after)
        for one in diff.changes
    ]
    assert found == [
        ("binary", "changed", ("content",), 2, 3),
        ("directory/added", "added", (), None, 4),
        ("directory/removed", "removed", (), 5, None),
        ("link", "changed", ("target",), None, None),
        ("mode", "changed", ("mode",), 2, 2),
        ("odd\n\udcff", "changed", ("content",), 2, 2),
        ("text", "changed", ("content",), 14, 16),
    ]
    assert manager.diff("alice", ids[0], ids[0]).changes == ()
    assert manager.diff("alice", *ids, paths=["directory"]).changes == (
        Change("directory/added", "added", (), None, 4),
        Change("directory/removed", "removed", (), 5, None),
    )


def test_the_text_of_a_diff_is_a_unified_diff(manager: SnapshotStateManager, ids: tuple[str, str]) -> None:
    assert "".join(manager.diff_text("alice", *ids)) == (
        "Binary or large files a/binary and b/binary differ\n"
        "--- /dev/null\n+++ b/directory/added\n@@ -0,0 +1 @@\n+new\n"
        "--- a/directory/removed\n+++ /dev/null\n@@ -1 +0,0 @@\n-gone\n"
        "--- a/link\n+++ b/link\n@@ -1 +1 @@\n-link to same\n+link to text\n"
        '--- "a/odd\\012\\377"\n+++ "b/odd\\012\\377"\n@@ -1 +1 @@\n-1\n+2\n'
        "--- a/text\n+++ b/text\n@@ -1,3 +1,4 @@\n one\n-two\n+2\n three\n+four\n\\ No newline at end of file\n"
    )


def test_the_text_of_a_diff_can_be_applied_by_patch(
    manager: SnapshotStateManager, ids: tuple[str, str], tmp_path: Path
) -> None:
    write(tmp_path, "t/text", "one\ntwo\nthree\n")
    text = "".join(manager.diff_text("alice", *ids, paths=["text"]))
    subprocess.run(["patch", "-p1"], input=text, text=True, cwd=tmp_path / "t", check=True, capture_output=True)
    assert (tmp_path / "t/text").read_text() == "one\n2\nthree\nfour"


def test_a_large_file_is_not_read_for_a_diff(
    manager: SnapshotStateManager, tree: LocalTree, ids: tuple[str, str]
) -> None:
    write(tree.root, "text", "x\n" * 1000)
    third = manager.save("alice", as_workspace(tree)).id
    assert list(manager.diff_text("alice", ids[1], third, max_file_bytes=1999)) == [
        "Binary or large files a/text and b/text differ\n"
    ]


def extracted(archive: Path, directory: Path) -> Path:
    directory.mkdir()
    subprocess.run(["tar", "-xpf", archive, "-C", directory], check=True)
    return directory


@pytest.mark.parametrize("compression", [None, "zstd"])
def test_an_exported_archive_has_everything_of_the_snapshot(
    manager: SnapshotStateManager, tree: LocalTree, ids: tuple[str, str], tmp_path: Path, compression: None
) -> None:
    os.utime(tree.root / "same", ns=(0, -1_500_000_001))
    latest = manager.save("alice", as_workspace(tree)).id
    with (tmp_path / "archive").open("wb") as file:
        assert manager.export("alice", latest, file, compression=compression).id == latest
        assert not file.closed
    if compression:
        with (tmp_path / "archive").open("rb") as packed, (tmp_path / "unpacked").open("wb") as file:
            zstandard.ZstdDecompressor().copy_stream(packed, file)
        (tmp_path / "unpacked").rename(tmp_path / "archive")
    assert state_of(extracted(tmp_path / "archive", tmp_path / "out")) == state_of(tree.root)


def test_part_of_a_snapshot_can_be_exported(manager: SnapshotStateManager, ids: tuple[str, str]) -> None:
    file = io.BytesIO()
    manager.export("alice", ids[1], file, paths=["directory/"])
    file.seek(0)
    with tarfile.open(fileobj=file) as archive:
        assert archive.getnames() == ["directory", "directory/added"]
    with pytest.raises(FileNotFoundError, match="has no such path: 'missing'"):
        manager.export("alice", ids[1], file, paths=["text", "missing"])


def test_part_of_a_snapshot_can_be_restored_and_the_rest_stays(
    manager: SnapshotStateManager, tree: LocalTree, ids: tuple[str, str]
) -> None:
    write(tree.root, "text", "mine\n")
    write(tree.root, "directory/mine", "mine\n")
    manager.restore("alice", ids[0], as_workspace(tree), paths=["directory", "link"])
    assert sorted(path.name for path in (tree.root / "directory").iterdir()) == ["removed"]
    assert (tree.root / "link").readlink() == Path("same")
    assert (tree.root / "text").read_text() == "mine\n"
    saved = manager.save("alice", as_workspace(tree))
    assert saved.parent_id == ids[1]
    assert [one.path for one in manager.diff("alice", ids[1], saved.id).changes] == [
        "directory/added", "directory/removed", "link", "text",
    ]  # fmt: skip
    with pytest.raises(FileNotFoundError, match="has no such path: 'missing'"):
        manager.restore("alice", ids[0], as_workspace(tree), paths=["missing"])


def test_a_fork_begins_with_the_latest_or_another_snapshot_and_shares_nothing(
    manager: SnapshotStateManager, new_manager: NewManager, tree: LocalTree, ids: tuple[str, str], store: WatchedStore,
    tmp_path: Path,
) -> None:  # fmt: skip
    now = state_of(tree.root)
    store.calls.clear()
    forked = manager.fork("alice", "bob")
    assert not [name for call, name in store.calls if call in ("get", "put_new") and "/packs/" in name]
    assert (forked.project_id, forked.parent_id, forked.message, forked.files) == ("bob", None, "two", 7)
    assert forked.id not in ids
    older = manager.fork("alice", "carol", snapshot_id=ids[0])
    manager.delete("alice")
    loaded = LocalTree(tmp_path / "loaded")
    assert new_manager().load("bob", as_workspace(loaded)) == forked
    assert state_of(loaded.root) == now
    assert manager.history("carol") == [older]
    write(loaded.root, "text", "bob's\n")
    bobs = new_manager()
    bobs.load("bob", as_workspace(LocalTree(tmp_path / "again")))
    assert bobs.save("bob", as_workspace(LocalTree(tmp_path / "again"))) == forked
    assert all(manager.check(project, read_data=True).is_whole for project in ("bob", "carol"))


def test_a_store_that_cannot_copy_is_read_and_written(tree: LocalTree, other: LocalTree, tmp_path: Path) -> None:
    manager = SnapshotStateManager(MemoryStore(), cache_directory=tmp_path / "cache")
    write(tree.root, "a", random.Random(1).randbytes(100_000))
    manager.save("alice", as_workspace(tree))
    manager.fork("alice", "bob")
    manager.load("bob", as_workspace(other))
    assert state_of(other.root) == state_of(tree.root)


def test_an_existing_project_is_not_forked_over(
    manager: SnapshotStateManager, tree: LocalTree, ids: tuple[str, str]
) -> None:
    manager.save("bob", as_workspace(tree))
    with pytest.raises(StateError) as raised:
        manager.fork("alice", "bob")
    assert str(raised.value) == (
        "project 'bob' exists already, at least in part; delete it first, or fork to another id"
    )
    with pytest.raises(SnapshotNotFoundError):
        manager.fork("alice", "carol", snapshot_id="0" * 32)
    with pytest.raises(SnapshotNotFoundError):
        manager.fork("nobody", "carol")
    assert manager.projects() == ["alice", "bob"]


def test_a_fork_that_dies_at_any_store_call_leaves_the_source_and_can_be_repeated(
    manager: SnapshotStateManager, tree: LocalTree, ids: tuple[str, str], store: WatchedStore
) -> None:
    store.calls.clear()
    manager.fork("alice", "counted")
    for number in range(1, len(store.calls) + 1):
        store.calls.clear()

        def die(count: int, call: str, name: str, number: int = number) -> None:
            if count >= number:
                raise Crash

        store.before = die
        with pytest.raises(Crash):
            manager.fork("alice", "bob")
        store.before = lambda count, call, name: None
        manager.delete("bob")
        assert manager.check("alice").is_whole
    assert manager.fork("alice", "bob").files == 7


def test_stats_add_up(manager: SnapshotStateManager, tree: LocalTree, ids: tuple[str, str]) -> None:
    manager.tag("alice", ids[0], "v1")
    stats = manager.stats("alice")
    report = manager.check("alice")
    assert (stats.snapshots, stats.tags, stats.files) == (2, 1, 7)
    assert (stats.objects, stats.stored_bytes) == (report.objects, report.stored_bytes)
    assert stats.unused_bytes == 0
    assert stats.bytes > 3 << 20
    assert stats.saved_bytes > 6 << 20
    assert stats.stored_bytes < 4 << 20
    assert (stats.oldest, stats.newest) == tuple(one.created_at for one in manager.history("alice")[::-1])


def test_a_project_never_saved_has_empty_stats(manager: SnapshotStateManager) -> None:
    assert manager.stats("alice").stored_bytes == 0


def test_damaged_content_is_never_exported_as_if_it_were_whole(
    manager: SnapshotStateManager, ids: tuple[str, str], store: WatchedStore
) -> None:
    for path in Path(store.store.root).glob("*/packs/*/*"):  # type: ignore[attr-defined]
        data = bytearray(path.read_bytes())
        data[len(data) // 2] ^= 1
        path.write_bytes(data)
    with pytest.raises(StateCorruptError):
        manager.export("alice", ids[1], io.BytesIO())
