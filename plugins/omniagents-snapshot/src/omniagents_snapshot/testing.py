"""What every store of the snapshot engine promises, as tests; for whoever writes one. Needs pytest.

class TestMyStore(StoreContract):
    @pytest.fixture
    def any_store(self):
        return MyStore()
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from omniagents_snapshot.store import CopyingStore, ObjectMissingError, Store, StoredObject, Versioned

__all__ = ["CopyingStoreContract", "StoreContract"]

_NO_NAMES = ["", "/etc/passwd", "../x", "p/../../x", "p/./x", "p//x", "p/", ".locks/00", "p/\0", "p/x\n"]
_PACK_MAX_BYTES = 16 << 20


class StoreContract:
    """Subclass this with a fixture ``any_store`` that makes an empty store for each test."""

    def test_an_object_is_created_once_and_keeps_its_content(self, any_store: Store) -> None:
        assert any_store.put_new("p/packs/ab/one", b"first")
        assert not any_store.put_new("p/packs/ab/one", b"second")
        assert any_store.get("p/packs/ab/one") == b"first"

    @pytest.mark.parametrize(
        "size", [0, 1, (8 << 20) + 1, _PACK_MAX_BYTES], ids=["empty", "a byte", "over 8 MiB", "a pack"]
    )
    def test_objects_of_all_sizes_come_back_as_they_were(self, any_store: Store, size: int) -> None:
        data = hashlib.shake_256(b"seed").digest(size)
        assert any_store.put_new("p/x", data)
        assert any_store.head("p/x") == size
        assert any_store.get("p/x") == data
        assert any_store.get("p/x", (0, 2 * _PACK_MAX_BYTES)) == data

    @pytest.mark.parametrize(
        ("byte_range", "found"),
        [((0, 3), b"012"), ((4, 3), b"456"), ((8, 9), b"89"), ((10, 1), b""), ((50, 1), b""), ((3, 0), b"")],
    )
    def test_a_range_is_part_of_the_object(self, any_store: Store, byte_range: tuple[int, int], found: bytes) -> None:
        any_store.put_new("p/x", b"0123456789")
        assert any_store.get("p/x", byte_range) == found

    @pytest.mark.parametrize("byte_range", [None, (0, 5), (0, 0)])
    def test_a_missing_object_is_an_error_that_names_it(
        self, any_store: Store, byte_range: tuple[int, int] | None
    ) -> None:
        with pytest.raises(ObjectMissingError, match="no object 'p/nothing'"):
            any_store.get("p/nothing", byte_range)

    def test_missing_objects_have_neither_version_nor_size(self, any_store: Store) -> None:
        assert any_store.read_versioned("p/HEAD") is None
        assert any_store.head("p/HEAD") is None

    def test_a_swap_with_the_read_version_replaces_the_object(self, any_store: Store) -> None:
        first = any_store.cas("p/HEAD", b"one", None)
        assert any_store.read_versioned("p/HEAD") == Versioned(b"one", str(first))
        second = any_store.cas("p/HEAD", b"two", first)
        assert any_store.read_versioned("p/HEAD") == Versioned(b"two", str(second))
        assert any_store.head("p/HEAD") == 3

    def test_a_swap_with_an_old_version_does_nothing(self, any_store: Store) -> None:
        first = any_store.cas("p/HEAD", b"one", None)
        any_store.cas("p/HEAD", b"two", first)
        assert any_store.cas("p/HEAD", b"three", first) is None
        assert any_store.cas("p/HEAD", b"three", None) is None
        assert any_store.get("p/HEAD") == b"two"

    def test_a_swap_of_a_deleted_object_does_nothing(self, any_store: Store) -> None:
        version = any_store.cas("p/HEAD", b"one", None)
        any_store.delete("p/HEAD")
        assert any_store.cas("p/HEAD", b"two", version) is None
        assert any_store.read_versioned("p/HEAD") is None

    def test_of_many_swaps_at_once_each_counts(self, any_store: Store) -> None:
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

    def test_of_many_creations_at_once_one_wins(self, any_store: Store) -> None:
        ready = threading.Barrier(8)

        def create(number: int) -> bool:
            ready.wait()
            return any_store.put_new("p/deep/er/x", str(number).encode())

        with ThreadPoolExecutor(8) as executor:
            won = list(executor.map(create, range(8)))
        assert won.count(True) == 1
        assert any_store.get("p/deep/er/x") == str(won.index(True)).encode()

    def test_a_listing_has_the_objects_below_a_prefix_with_their_sizes(self, any_store: Store) -> None:
        any_store.put_new("p/history/1", b"a")
        any_store.put_new("p/history/2", b"bb")
        any_store.put_new("p/trees/1", b"c")
        any_store.put_new("pp/history/3", b"d")
        assert sorted(any_store.list("p/history/")) == [StoredObject("p/history/1", 1), StoredObject("p/history/2", 2)]
        assert len(list(any_store.list("p/"))) == 3
        assert len(list(any_store.list(""))) == 4
        assert list(any_store.list("nobody/")) == []

    def test_deleting_twice_is_fine(self, any_store: Store) -> None:
        any_store.put_new("p/x", b"a")
        any_store.delete("p/x")
        any_store.delete("p/x")
        assert list(any_store.list("p/")) == []

    @pytest.mark.parametrize("name", _NO_NAMES)
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
    def test_names_that_are_no_names_are_refused(
        self, any_store: Store, call: Callable[[Store, str], object], name: str
    ) -> None:
        with pytest.raises(ValueError) as caught:
            call(any_store, name)
        assert str(caught.value) == f"not a name of an object: {name!r}"


class CopyingStoreContract(StoreContract):
    """For a store that can copy (``CopyingStore``); ``any_store`` as in ``StoreContract``."""

    def test_a_copy_has_the_content(self, any_store: Store) -> None:
        assert isinstance(any_store, CopyingStore)
        any_store.put_new("p/x", b"content")
        assert any_store.copy_new("p/x", "q/x")
        assert any_store.get("q/x") == b"content"

    def test_a_copy_replaces_nothing(self, any_store: Store) -> None:
        assert isinstance(any_store, CopyingStore)
        any_store.put_new("p/x", b"content")
        any_store.put_new("q/x", b"other")
        assert not any_store.copy_new("p/x", "q/x")
        assert any_store.get("q/x") == b"other"

    def test_a_copy_of_nothing_is_an_error_that_names_it(self, any_store: Store) -> None:
        assert isinstance(any_store, CopyingStore)
        with pytest.raises(ObjectMissingError, match="no object 'p/nothing'"):
            any_store.copy_new("p/nothing", "q/x")
