"""What every store promises, and what the directory store does besides."""

from __future__ import annotations

import errno
import os
import stat
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from omniagents.errors import StateError
from omniagents_snapshot.directory_store import DirectoryStore
from omniagents_snapshot.memory_store import MemoryStore
from omniagents_snapshot.store import ObjectMissingError, Store, StoredObject, Versioned


@pytest.fixture(params=["memory", "directory"])
def any_store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    return MemoryStore() if request.param == "memory" else DirectoryStore(tmp_path / "store")


def test_an_object_is_created_once_and_keeps_its_content(any_store: Store) -> None:
    assert any_store.put_new("p/packs/ab/one", b"first")
    assert not any_store.put_new("p/packs/ab/one", b"second")
    assert any_store.get("p/packs/ab/one") == b"first"


@pytest.mark.parametrize(
    ("byte_range", "found"), [((0, 3), b"012"), ((4, 3), b"456"), ((8, 9), b"89"), ((10, 1), b""), ((50, 1), b"")]
)
def test_a_range_is_part_of_the_object(any_store: Store, byte_range: tuple[int, int], found: bytes) -> None:
    any_store.put_new("p/x", b"0123456789")
    assert any_store.get("p/x", byte_range) == found


def test_a_missing_object_is_an_error_that_names_it(any_store: Store) -> None:
    with pytest.raises(ObjectMissingError, match="no object 'p/nothing'"):
        any_store.get("p/nothing")


def test_missing_objects_have_neither_version_nor_size(any_store: Store) -> None:
    assert any_store.read_versioned("p/HEAD") is None
    assert any_store.head("p/HEAD") is None


def test_a_swap_with_the_read_version_replaces_the_object(any_store: Store) -> None:
    first = any_store.cas("p/HEAD", b"one", None)
    assert any_store.read_versioned("p/HEAD") == Versioned(b"one", str(first))
    second = any_store.cas("p/HEAD", b"two", first)
    assert any_store.read_versioned("p/HEAD") == Versioned(b"two", str(second))
    assert any_store.head("p/HEAD") == 3


def test_a_swap_with_an_old_version_does_nothing(any_store: Store) -> None:
    first = any_store.cas("p/HEAD", b"one", None)
    any_store.cas("p/HEAD", b"two", first)
    assert any_store.cas("p/HEAD", b"three", first) is None
    assert any_store.cas("p/HEAD", b"three", None) is None
    assert any_store.get("p/HEAD") == b"two"


def test_a_swap_of_a_deleted_object_does_nothing(any_store: Store) -> None:
    version = any_store.cas("p/HEAD", b"one", None)
    any_store.delete("p/HEAD")
    assert any_store.cas("p/HEAD", b"two", version) is None
    assert any_store.read_versioned("p/HEAD") is None


def test_of_many_swaps_at_once_each_counts(any_store: Store) -> None:
    def increment() -> None:
        while True:
            found = any_store.read_versioned("p/HEAD")
            number = int(found.data) if found else 0
            if any_store.cas("p/HEAD", str(number + 1).encode(), found.version if found else None):
                return

    with ThreadPoolExecutor(8) as executor:
        for done in [executor.submit(increment) for _ in range(80)]:
            done.result()
    assert any_store.get("p/HEAD") == b"80"


def test_of_many_creations_at_once_one_wins(any_store: Store) -> None:
    ready = threading.Barrier(8)

    def create(number: int) -> bool:
        ready.wait()
        return any_store.put_new("p/deep/er/x", str(number).encode())

    with ThreadPoolExecutor(8) as executor:
        won = list(executor.map(create, range(8)))
    assert won.count(True) == 1
    assert any_store.get("p/deep/er/x") == str(won.index(True)).encode()


def test_a_listing_has_the_objects_below_a_prefix_with_their_sizes(any_store: Store) -> None:
    any_store.put_new("p/history/1", b"a")
    any_store.put_new("p/history/2", b"bb")
    any_store.put_new("p/trees/1", b"c")
    any_store.put_new("pp/history/3", b"d")
    assert sorted(any_store.list("p/history/")) == [StoredObject("p/history/1", 1), StoredObject("p/history/2", 2)]
    assert len(list(any_store.list("p/"))) == 3
    assert list(any_store.list("nobody/")) == []


def test_deleting_twice_is_fine(any_store: Store) -> None:
    any_store.put_new("p/x", b"a")
    any_store.delete("p/x")
    any_store.delete("p/x")
    assert list(any_store.list("p/")) == []


@pytest.mark.parametrize(
    "name", ["", "/etc/passwd", "../x", "p/../../x", "p/./x", "p//x", "p/", ".locks/00", "p/\0", "p/x\n"]
)
@pytest.mark.parametrize(
    "call",
    [
        lambda store, name: store.get(name),
        lambda store, name: store.put_new(name, b""),
        lambda store, name: store.read_versioned(name),
        lambda store, name: store.cas(name, b"", None),
        lambda store, name: store.delete(name),
        lambda store, name: store.head(name),
    ],
    ids=["get", "put_new", "read_versioned", "cas", "delete", "head"],
)
def test_names_that_are_no_names_are_refused(any_store: Store, call: Callable[[Store, str], object], name: str) -> None:
    with pytest.raises(ValueError) as caught:
        call(any_store, name)
    assert str(caught.value) == f"not a name of an object: {name!r}"


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
