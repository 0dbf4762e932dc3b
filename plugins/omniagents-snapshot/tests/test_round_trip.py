"""What is saved comes back: content, names, modes, times, links, empty directories."""

from __future__ import annotations

import os
import random
import shutil
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from snapshot_support.comparing import state_of, write
from snapshot_support.local_tree import LocalTree, as_workspace

from omniagents_snapshot.manager import SnapshotStateManager
from omniagents_snapshot.memory_store import MemoryStore

ODD_NAMES = [
    b"with space",
    b"new\nline",
    b"tab\t",
    b"\xff\xfe not utf-8",
    "ünïcödé".encode(),
    b"-rf",
    b"*",
    b"a\\b",
    b"...",
]


def assert_round_trip(manager: SnapshotStateManager, tree: LocalTree, other: LocalTree) -> None:
    saved = manager.save("alice", as_workspace(tree), "a message")
    assert manager.load("alice", as_workspace(other)) == saved
    assert state_of(other.root) == state_of(tree.root)
    assert manager.check("alice", read_data=True).problems == ()


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\0" * 10,
        bytes(range(256)) * 9,
        b"x" * (1 << 20),
        b"x" * ((1 << 20) + 1),
        random.Random(1).randbytes(9 << 20),
    ],
    ids=["empty", "nul", "binary", "1MiB", "1MiB+1", "9MiB"],
)
def test_content_comes_back(manager: SnapshotStateManager, tree: LocalTree, other: LocalTree, content: bytes) -> None:
    write(tree.root, "directory/file.bin", content)
    assert_round_trip(manager, tree, other)


def test_names_of_any_bytes_come_back(manager: SnapshotStateManager, tree: LocalTree, other: LocalTree) -> None:
    for name in ODD_NAMES:
        os.mkdir(tree.path(os.fsdecode(name)))
        with open(tree.path(os.fsdecode(name + b"/" + name)), "wb") as file:
            file.write(name)
    assert_round_trip(manager, tree, other)


def test_modes_come_back(manager: SnapshotStateManager, tree: LocalTree, other: LocalTree) -> None:
    for mode in (0o400, 0o600, 0o644, 0o755, 0o1777):
        write(tree.root, f"{mode:o}", mode=mode)
        (tree.root / f"d{mode:o}").mkdir()
        (tree.root / f"d{mode:o}").chmod(mode)
    write(tree.root, "closed/inside")
    (tree.root / "closed").chmod(0o555)
    assert_round_trip(manager, tree, other)


def test_set_id_bits_do_not_come_back(manager: SnapshotStateManager, tree: LocalTree, other: LocalTree) -> None:
    write(tree.root, "program", mode=0o6755)
    manager.save("alice", as_workspace(tree))
    manager.load("alice", as_workspace(other))
    assert (other.root / "program").stat().st_mode & 0o7777 == 0o755


def test_links_come_back_as_they_are(manager: SnapshotStateManager, tree: LocalTree, other: LocalTree) -> None:
    write(tree.root, "real")
    for name, target in {"inside": "real", "broken": "nowhere", "up": "../../..", "absolute": "/etc/passwd"}.items():
        (tree.root / name).symlink_to(target)
    (tree.root / "loop").symlink_to("loop")
    os.symlink(b"\xff", tree.path("odd"))
    assert_round_trip(manager, tree, other)


def test_times_come_back_to_the_nanosecond(manager: SnapshotStateManager, tree: LocalTree, other: LocalTree) -> None:
    for number, time_ns in enumerate((0, 1, -1_000_000_001, 1_234_567_890_123_456_789, 4_102_444_800_000_000_001)):
        os.utime(write(tree.root, f"{number}"), ns=(time_ns, time_ns))
        (tree.root / f"d{number}").mkdir()
        os.utime(tree.root / f"d{number}", ns=(time_ns, time_ns))
    assert_round_trip(manager, tree, other)


def test_empty_directories_and_an_empty_workspace_come_back(
    manager: SnapshotStateManager, tree: LocalTree, other: LocalTree
) -> None:
    assert_round_trip(manager, tree, other)
    (tree.root / "a/b/c").mkdir(parents=True)
    assert_round_trip(manager, tree, other)


def test_a_deep_tree_comes_back(manager: SnapshotStateManager, tree: LocalTree, other: LocalTree) -> None:
    write(tree.root, "/".join(["d"] * 400) + "/file")
    assert_round_trip(manager, tree, other)


def test_a_repository_and_files_that_git_ignores_come_back(
    manager: SnapshotStateManager, tree: LocalTree, other: LocalTree
) -> None:
    write(tree.root, ".gitignore", ".env\n*.sqlite\n")
    write(tree.root, ".env", "SECRET=1\n", mode=0o600)
    write(tree.root, "data.sqlite")
    write(tree.root, ".git/objects/ab/cdef", mode=0o444)
    write(tree.root, "nested/.git/HEAD", "ref: refs/heads/main\n")
    assert_round_trip(manager, tree, other)


def test_the_same_content_in_many_files_is_stored_once(manager: SnapshotStateManager, tree: LocalTree) -> None:
    content = random.Random(1).randbytes(3 << 20)
    for number in range(5):
        write(tree.root, f"copy{number}", content)
    manager.save("alice", as_workspace(tree))
    assert manager.check("alice").stored_bytes < 4 << 20


def test_more_than_one_pack_comes_back(manager: SnapshotStateManager, tree: LocalTree, other: LocalTree) -> None:
    for number in range(5):
        write(tree.root, f"{number}", random.Random(number).randbytes(8 << 20))
    assert_round_trip(manager, tree, other)
    assert manager.check("alice", read_data=True).packs_read == 6


def test_a_snapshot_tells_what_it_holds(manager: SnapshotStateManager, tree: LocalTree) -> None:
    write(tree.root, "a/one", b"12345")
    write(tree.root, "two", b"123")
    (tree.root / "link").symlink_to("two")
    first = manager.save("alice", as_workspace(tree), "first")
    assert (first.files, first.bytes, first.changed, first.parent_id, first.message) == (2, 8, 4, None, "first")
    (tree.root / "two").unlink()
    write(tree.root, "a/one", b"123456")
    second = manager.save("alice", as_workspace(tree), "second")
    assert (second.files, second.bytes, second.changed, second.parent_id) == (1, 6, 2, first.id)
    assert list(manager.history("alice")) == [second, first]


NAMES = st.sampled_from([*ODD_NAMES[:5], b"a", b"b", b"c"])
CONTENTS = st.one_of(
    st.binary(max_size=40),
    st.builds(lambda seed, size: random.Random(seed).randbytes(size), st.integers(0, 3), st.integers(0, 3 << 20)),
)
EDITS = st.lists(
    st.tuples(
        st.sampled_from(["file", "file", "file", "directory", "link", "remove", "mode", "time"]),
        st.lists(NAMES, min_size=1, max_size=3),
        CONTENTS,
    ),
    max_size=12,
)


def edit(root: bytes, kind: str, names: list[bytes], content: bytes) -> None:
    """Make one change; whatever stands in the way goes."""
    path = os.path.join(root, *names)
    for depth in range(1, len(names)):
        parent = os.path.join(root, *names[:depth])
        if os.path.lexists(parent) and (os.path.islink(parent) or not os.path.isdir(parent)):
            os.unlink(parent)
        os.makedirs(parent, exist_ok=True)
    if kind == "mode" and os.path.lexists(path) and not os.path.islink(path):
        os.chmod(path, 0o700 | len(content) % 64)
    elif kind == "time" and os.path.lexists(path):
        os.utime(path, ns=(len(content), len(content)), follow_symlinks=False)
    elif kind in ("file", "directory", "link", "remove"):
        replace(path, kind, content)


def replace(path: bytes, kind: str, content: bytes) -> None:
    if os.path.isdir(path) and not os.path.islink(path):
        shutil.rmtree(path)
    elif os.path.lexists(path):
        os.unlink(path)
    if kind == "file":
        with open(path, "wb") as file:
            file.write(content)
    elif kind == "directory":
        os.mkdir(path)
    elif kind == "link":
        os.symlink(content[:20].replace(b"\0", b"0") or b".", path)


@settings(max_examples=60)
@given(before=EDITS, after=EDITS, elsewhere=EDITS)
def test_random_trees_and_edits_come_back(before: list, after: list, elsewhere: list) -> None:
    with tempfile.TemporaryDirectory() as directory:
        base = Path(directory)
        tree, other = LocalTree(base / "tree"), LocalTree(base / "other")
        store = MemoryStore()

        def make() -> SnapshotStateManager:
            return SnapshotStateManager(store, cache_directory=base / "cache")

        manager = make()
        for change in before:
            edit(os.fsencode(tree.root), *change)
        first, was = manager.save("p", as_workspace(tree)), state_of(tree.root)
        for change in after:
            edit(os.fsencode(tree.root), *change)
        manager.save("p", as_workspace(tree))
        is_now = state_of(tree.root)
        for change in elsewhere:
            edit(os.fsencode(other.root), *change)
        make().load("p", as_workspace(other))
        assert without_directory_times(state_of(other.root)) == without_directory_times(is_now)
        for workspace, restoring in ((tree, manager), (other, make())):
            restoring.restore("p", first.id, as_workspace(workspace))
            assert state_of(workspace.root) == was
        assert manager.check("p", read_data=True).problems == ()


def without_directory_times(state: dict) -> dict:
    """A save in which nothing but the times of directories changed is no new snapshot."""
    return {
        path: (found[0], found[1], 0 if found[0] == "directory" else found[2], found[3])
        for path, found in state.items()
    }
