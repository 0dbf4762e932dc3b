"""What every store promises, and what the directory store does besides."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

import pytest

from omniagents.errors import StateError
from omniagents_snapshot.directory_store import DirectoryStore
from omniagents_snapshot.memory_store import MemoryStore
from omniagents_snapshot.store import Store
from omniagents_snapshot.testing import CopyingStoreContract, StoreContract


class TestMemoryStore(StoreContract):
    """In a dictionary."""

    @pytest.fixture
    def any_store(self) -> Store:
        return MemoryStore()


class TestDirectoryStore(CopyingStoreContract):
    """In files."""

    @pytest.fixture
    def any_store(self, tmp_path: Path) -> Store:
        return DirectoryStore(tmp_path / "store")


def test_another_directory_store_on_the_same_directory_sees_the_same(tmp_path: Path) -> None:
    first, second = DirectoryStore(tmp_path), DirectoryStore(str(tmp_path))
    version = first.cas("p/HEAD", b"one", None)
    assert second.cas("p/HEAD", b"two", version) is not None
    assert first.get("p/HEAD") == b"two"
    assert first.identity == second.identity


def test_files_of_a_directory_store_are_for_their_owner_only(tmp_path: Path) -> None:
    store = DirectoryStore(tmp_path / "store")
    store.put_new("p/packs/ab/x", b"secret")
    store.cas("p/HEAD", b"secret", None)
    modes = {stat.S_IMODE(path.stat().st_mode) & 0o077 for path in (tmp_path / "store").rglob("*")}
    assert modes == {0}


def test_deleting_the_last_object_of_a_directory_removes_the_directory(tmp_path: Path) -> None:
    store = DirectoryStore(tmp_path)
    store.put_new("p/packs/ab/x", b"")
    store.delete("p/packs/ab/x")
    assert [path.name for path in tmp_path.iterdir() if not path.name.startswith(".")] == []


def test_what_a_killed_writer_left_is_not_listed_and_is_removed_a_day_later(tmp_path: Path) -> None:
    store = DirectoryStore(tmp_path)
    store.put_new("p/x", b"")
    abandoned = tmp_path / ".temporary" / "1-dead"
    abandoned.write_bytes(b"half of an obj")
    assert [found.name for found in store.list("")] == ["p/x"]
    os.utime(abandoned, (0, 0))
    store.put_new("p/y", b"")
    assert not abandoned.exists()


def test_a_full_disk_is_an_error_that_says_so_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = DirectoryStore(tmp_path)

    def write(descriptor: int, data: bytes) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "write", write)
    with pytest.raises(StateError) as caught:
        store.put_new("p/x", b"data")
    assert str(caught.value) == (
        f"could not write 'p/x' in {str(tmp_path)!r}: No space left on device; free some space and save again"
    )
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_an_unreadable_directory_is_an_error_that_names_the_object(tmp_path: Path) -> None:
    (tmp_path / "store").write_bytes(b"not a directory")
    with pytest.raises(StateError, match=r"could not read 'p/x' in '.*/store': Not a directory"):
        DirectoryStore(tmp_path / "store").get("p/x")
