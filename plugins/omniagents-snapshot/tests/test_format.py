"""What docs/snapshot-format.md says is what is stored."""

from __future__ import annotations

import os
import random
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from snapshot_support.comparing import State, state_of, write
from snapshot_support.independent_reader import Found, Reader
from snapshot_support.local_tree import LocalTree, as_workspace
from snapshot_support.planting import Planter
from snapshot_support.stores import WatchedStore

from omniagents._ids import encode_project_id
from omniagents_snapshot.encryption import Encryption
from omniagents_snapshot.manager import SnapshotStateManager

NewManager = Callable[..., SnapshotStateManager]
PREFIX = encode_project_id("alice")
PAGE = Path(__file__).parents[3] / "docs" / "snapshot-format.md"
_KINDS = ["file", "directory", "link"]


def as_state(found: dict[bytes, Found]) -> State:
    return {
        os.fsdecode(path): (_KINDS[entry.kind], entry.mode, entry.mtime_ns, entry.content)
        for path, entry in found.items()
    }


@pytest.mark.parametrize("key", [None, bytes(range(32))], ids=["plain", "encrypted"])
def test_an_independent_reader_reads_every_snapshot(
    new_manager: NewManager, tree: LocalTree, tmp_path: Path, key: bytes | None
) -> None:
    manager = new_manager(encryption=None if key is None else Encryption.from_callable(lambda: key))
    for number in range(900):
        write(tree.root, f"package{number % 7}/module{number}", f"{number}\n" * (number % 50))
    write(tree.root, os.fsdecode(b"not \xff UTF-8"), random.Random(1).randbytes(3 << 20))
    (tree.root / "link").symlink_to("nowhere/at all")
    (tree.root / "empty").mkdir(mode=0o700)
    reader = None
    for change in range(3):
        write(tree.root, f"package3/module{3 + 7 * change}", f"changed {change}\n")
        manager.save("alice", as_workspace(tree))
        reader = Reader(tmp_path / "store" / PREFIX, key)
        assert as_state(reader.read(reader.head()["tree"])) == state_of(tree.root)
    assert reader is not None


def test_the_worked_example_is_what_is_stored(
    manager: SnapshotStateManager, tree: LocalTree, store: WatchedStore
) -> None:
    path = write(tree.root, "a", "hello", mode=0o644)
    os.utime(path, ns=(1_700_000_000_500_000_000,) * 2)
    manager.save("alice", as_workspace(tree))
    shown = dict(re.findall(r"\"(\w+)\": h'([0-9a-f]*)'", PAGE.read_text(encoding="utf-8")))
    stored = {name: raw.hex() for name, raw in Planter(store, "alice").page.items() if name != "chunk_ids"}
    assert shown == stored
    assert sorted(found.name.split("/")[1] for found in store.list(f"{PREFIX}/")) == [
        "HEAD",
        "format.json",
        "history",
        "packs",
        "trees",
    ]
