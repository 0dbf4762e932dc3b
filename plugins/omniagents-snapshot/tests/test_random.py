"""Random trees, random edits, a crash at any store call: what loads is the state before or after, to the last byte."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from snapshot_support.comparing import State, state_of, write
from snapshot_support.local_tree import LocalTree, as_workspace
from snapshot_support.stores import Crash, WatchedStore

from omniagents_snapshot import repacking
from omniagents_snapshot.manager import SnapshotStateManager
from omniagents_snapshot.memory_store import MemoryStore
from omniagents_snapshot.retention import Retention

NAMES = ["a", "b", "dir", "dir/a", "dir/deep/a", ".env", "x\ny", os.fsdecode(b"\xff"), "dir/.git/HEAD", "é"]
ONE = Retention(last=1, hourly=0, daily=0, weekly=0)

contents = st.one_of(st.binary(max_size=40), st.integers(0, 3).map(lambda seed: bytes([seed]) * 1_200_000))
edits = st.lists(
    st.one_of(
        st.tuples(st.just("write"), st.sampled_from(NAMES), contents),
        st.tuples(st.just("remove"), st.sampled_from(NAMES), st.just(b"")),
        st.tuples(st.just("link"), st.sampled_from(NAMES), st.sampled_from([b"a", b"no/where", b"/etc/passwd"])),
        st.tuples(st.just("mkdir"), st.sampled_from(NAMES), st.just(b"")),
        st.tuples(st.just("mode"), st.sampled_from(NAMES), st.sampled_from([b"\x01", b"\x00", b"\xff"])),
    ),
    max_size=6,
)
#: Edits, then what becomes of the save: the store call to die at, before or after it (0: none); a prune afterwards.
rounds = st.lists(st.tuples(edits, st.integers(0, 7), st.booleans(), st.booleans()), min_size=1, max_size=5)


def clear(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def edit(root: Path, what: str, name: str, value: bytes) -> None:
    path = root / name
    for parent in reversed(path.relative_to(root).parents[:-1]):
        if not (root / parent).is_dir() or (root / parent).is_symlink():
            clear(root / parent)
            (root / parent).mkdir()
    if what == "mode":
        if path.exists() and not path.is_symlink():
            path.chmod(0o700 | value[0])
        return
    clear(path)
    if what == "write":
        write(root, name, value)
    elif what == "link":
        path.symlink_to(os.fsdecode(value))
    elif what == "mkdir":
        path.mkdir()


def without_directory_times(state: State) -> State:
    """A directory's time alone makes no snapshot."""
    return {
        path: ("directory", entry[1], 0, b"") if entry[0] == "directory" else entry for path, entry in state.items()
    }


def prune_eagerly(manager: SnapshotStateManager) -> None:
    """With all that can be stored again stored again."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(repacking, "_WORTH_BYTES", 1)
        patched.setattr(repacking, "_SMALL_PACKS", 1)
        manager.prune("alice", ONE)


@settings(max_examples=60, deadline=None)
@given(rounds)
def test_whatever_is_edited_and_whenever_the_host_dies(
    plan: list[tuple[list[tuple[str, str, bytes]], int, bool, bool]],
) -> None:
    with tempfile.TemporaryDirectory() as directory:
        store = WatchedStore(MemoryStore())
        top = Path(directory)

        def new_manager() -> SnapshotStateManager:
            return SnapshotStateManager(store, cache_directory=top / "cache", cache_bytes=0)

        tree, manager, saved = LocalTree(top / "tree"), new_manager(), State()
        for number, (changes, call, is_after, is_pruned) in enumerate(plan):
            for change in changes:
                edit(tree.root, *change)
            now = without_directory_times(state_of(tree.root))
            store.calls.clear()

            def die(count: int, kind: str, name: str, call: int = call) -> None:
                if count == call:
                    raise Crash

            setattr(store, "after" if is_after else "before", die)
            try:
                manager.save("alice", as_workspace(tree))
            except Crash:
                manager = new_manager()
                possible = [saved, now]
            else:
                possible = [now]
            store.before = store.after = lambda count, kind, name: None
            if is_pruned:
                prune_eagerly(new_manager())
            loaded = LocalTree(top / f"loaded{number}")
            new_manager().load("alice", as_workspace(loaded))
            saved = without_directory_times(state_of(loaded.root))
            assert saved in possible
            assert new_manager().check("alice", read_data=True).problems == ()
        manager.save("alice", as_workspace(tree))
        new_manager().load("alice", as_workspace(final := LocalTree(top / "final")))
        assert without_directory_times(state_of(final.root)) == without_directory_times(state_of(tree.root))
