"""What every store of the snapshot engine promises, kept on two servers."""

from __future__ import annotations

import hashlib
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from google.auth.credentials import AnonymousCredentials
from google.cloud import storage
from tests.services.gcs.fault_server import FaultServer

from omniagents.errors import StateConfigurationError
from omniagents_gcs.naming import clean_prefix
from omniagents_gcs.store import GCSStore
from omniagents_snapshot.store import ObjectMissingError, StoredObject, Versioned

pytestmark = pytest.mark.service


@pytest.fixture(params=["emulator", "server"])
def any_store(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> GCSStore:
    """A store of the test's own on either server."""
    found = request.getfixturevalue(request.param)
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", found.url if isinstance(found, FaultServer) else found)
    return GCSStore("sessions", hashlib.sha256(request.node.nodeid.encode()).hexdigest())


def test_an_object_is_created_once_and_keeps_its_content(any_store: GCSStore) -> None:
    assert any_store.put_new("p/packs/ab/one", b"first")
    assert not any_store.put_new("p/packs/ab/one", b"second")
    assert any_store.get("p/packs/ab/one") == b"first"


@pytest.mark.parametrize("size", [0, 1, (8 << 20) + 1, 16 << 20], ids=["empty", "a byte", "over 8 MiB", "a pack"])
def test_objects_of_all_sizes_come_back_as_they_were(any_store: GCSStore, size: int) -> None:
    data = hashlib.shake_256(b"seed").digest(size)
    assert any_store.put_new("p/x", data)
    assert any_store.head("p/x") == size
    assert any_store.get("p/x") == data
    assert any_store.get("p/x", (0, 32 << 20)) == data


@pytest.mark.parametrize(
    ("byte_range", "found"),
    [((0, 3), b"012"), ((4, 3), b"456"), ((8, 9), b"89"), ((10, 1), b""), ((50, 1), b""), ((3, 0), b"")],
)
def test_a_range_is_part_of_the_object(any_store: GCSStore, byte_range: tuple[int, int], found: bytes) -> None:
    any_store.put_new("p/x", b"0123456789")
    assert any_store.get("p/x", byte_range) == found


@pytest.mark.parametrize("byte_range", [None, (0, 5), (0, 0)])
def test_a_missing_object_is_an_error_that_names_it(any_store: GCSStore, byte_range: tuple[int, int] | None) -> None:
    with pytest.raises(ObjectMissingError, match=r"no object 'p/nothing' in 'gs://sessions/"):
        any_store.get("p/nothing", byte_range)


def test_missing_objects_have_neither_version_nor_size(any_store: GCSStore) -> None:
    assert any_store.read_versioned("p/HEAD") is None
    assert any_store.head("p/HEAD") is None


def test_a_swap_with_the_read_version_replaces_the_object(any_store: GCSStore) -> None:
    first = any_store.cas("p/HEAD", b"one", None)
    assert any_store.read_versioned("p/HEAD") == Versioned(b"one", str(first))
    second = any_store.cas("p/HEAD", b"two", first)
    assert any_store.read_versioned("p/HEAD") == Versioned(b"two", str(second))


def test_a_swap_with_an_old_version_does_nothing(any_store: GCSStore) -> None:
    first = any_store.cas("p/HEAD", b"one", None)
    any_store.cas("p/HEAD", b"two", first)
    assert any_store.cas("p/HEAD", b"three", first) is None
    assert any_store.cas("p/HEAD", b"three", None) is None
    assert any_store.get("p/HEAD") == b"two"


def test_a_swap_of_a_deleted_object_does_nothing(any_store: GCSStore) -> None:
    version = any_store.cas("p/HEAD", b"one", None)
    any_store.delete("p/HEAD")
    assert any_store.cas("p/HEAD", b"two", version) is None
    assert any_store.read_versioned("p/HEAD") is None


def test_of_many_swaps_at_once_each_counts(any_store: GCSStore) -> None:
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


def test_of_many_creations_at_once_one_wins(any_store: GCSStore) -> None:
    ready = threading.Barrier(8)

    def create(number: int) -> bool:
        ready.wait()
        return any_store.put_new("p/deep/er/x", str(number).encode())

    with ThreadPoolExecutor(8) as executor:
        won = list(executor.map(create, range(8)))
    assert won.count(True) == 1
    assert any_store.get("p/deep/er/x") == str(won.index(True)).encode()


def test_a_listing_has_the_objects_below_a_prefix_with_their_sizes(any_store: GCSStore) -> None:
    any_store.put_new("p/history/1", b"a")
    any_store.put_new("p/history/2", b"bb")
    any_store.put_new("p/trees/1", b"c")
    any_store.put_new("pp/history/3", b"d")
    assert sorted(any_store.list("p/history/")) == [StoredObject("p/history/1", 1), StoredObject("p/history/2", 2)]
    assert len(list(any_store.list("p/"))) == 3
    assert len(list(any_store.list(""))) == 4
    assert list(any_store.list("nobody/")) == []


def test_deleting_twice_is_fine(any_store: GCSStore) -> None:
    any_store.put_new("p/x", b"a")
    any_store.delete("p/x")
    any_store.delete("p/x")
    assert list(any_store.list("p/")) == []


def test_a_copy_has_the_content(any_store: GCSStore) -> None:
    any_store.put_new("p/x", b"content")
    assert any_store.copy_new("p/x", "q/x")
    assert any_store.get("q/x") == b"content"
    with pytest.raises(ObjectMissingError, match="no object 'p/nothing'"):
        any_store.copy_new("p/nothing", "q/y")


def test_a_copy_replaces_nothing(store: GCSStore) -> None:
    store.put_new("p/x", b"content")
    store.put_new("q/x", b"other")
    assert not store.copy_new("p/x", "q/x")
    assert store.get("q/x") == b"other"


def test_a_copy_never_leaves_the_bucket(store: GCSStore, server: FaultServer) -> None:
    store.put_new("p/x", b"content")
    store.copy_new("p/x", "q/x")
    assert (server.count("copy"), server.count("download")) == (1, 0)


@pytest.mark.parametrize("name", ["", "/etc/passwd", "../x", "p/../../x", "p//x", "p/", ".locks/00", "p/\0", "p/x\n"])
def test_names_that_are_no_names_are_refused_before_anybody_is_asked(
    store: GCSStore, server: FaultServer, name: str
) -> None:
    for call in (store.get, store.read_versioned, store.delete, store.head, lambda name: store.copy_new(name, "p/x")):
        with pytest.raises(ValueError) as caught:
            call(name)
        assert str(caught.value) == f"not a name of an object: {name!r}"
    assert server.seen == []


def test_a_listing_goes_on_over_all_its_pages(store: GCSStore, server: FaultServer) -> None:
    server.buckets.page_size = 3
    names = [f"p/{number}" for number in range(10)]
    for name in names:
        store.put_new(name, b"")
    assert [found.name for found in store.list("p/")] == names
    assert server.count("list") == 4


def test_what_strangers_put_beside_the_objects_is_not_listed(store: GCSStore, server: FaultServer) -> None:
    store.put_new("p/history/1", b"a")
    for name in ("prefix/p/history/", "prefix/p/.hidden", "prefix/p/a b", "elsewhere"):
        server.buckets.write("sessions", name, b"", {}, {})
    assert [found.name for found in store.list("")] == ["p/history/1"]


def test_a_head_and_a_manifest_are_stored_by_one_request(store: GCSStore, server: FaultServer) -> None:
    store.cas("p/HEAD", bytes(8 << 20), None)
    store.put_new("p/trees/x", bytes(1 << 20))
    assert [seen.operation for seen in server.seen] == ["upload", "upload"]


def test_a_pack_is_announced_and_then_streamed(store: GCSStore, server: FaultServer) -> None:
    store.put_new("p/packs/x", bytes(16 << 20))
    assert [seen.operation for seen in server.seen] == ["announce", "upload"]


def test_requests_say_who_asks(store: GCSStore, server: FaultServer) -> None:
    store.head("p/x")
    assert "omniagents-gcs/" in server.seen[0].headers["user-agent"]


@pytest.mark.parametrize("prefix", ["team/alice", "/team/alice/", "team/alice/"])
def test_slashes_around_a_prefix_make_no_difference(prefix: str) -> None:
    assert clean_prefix(prefix) == "team/alice/"
    assert GCSStore("b", prefix).identity == GCSStore("b", "team/alice").identity


def test_stores_with_other_prefixes_never_meet(server: FaultServer) -> None:
    first, second, whole = GCSStore("sessions", "a"), GCSStore("sessions", "a-b"), GCSStore("sessions")
    first.put_new("p/x", b"first")
    second.put_new("p/x", b"second")
    assert (first.get("p/x"), second.get("p/x"), whole.get("a/p/x")) == (b"first", b"second", b"first")
    assert [found.name for found in first.list("")] == ["p/x"]
    assert len({store.identity for store in (first, second, whole)}) == 3


@pytest.mark.parametrize(
    ("prefix", "problem"),
    [
        ("a\nb", "it contains control characters"),
        ("a//b", "between its slashes must be names, neither empty nor '.' nor '..'"),
        ("../a", "between its slashes must be names, neither empty nor '.' nor '..'"),
        ("é" * 400, "it has 800 bytes, more than 700"),
        ("\ud800", "it is not valid Unicode"),
        (".well-known/acme-challenge", "Cloud Storage keeps .well-known/acme-challenge/ for itself"),
    ],
)
def test_a_prefix_that_no_object_may_have_is_refused(prefix: str, problem: str) -> None:
    with pytest.raises(StateConfigurationError) as caught:
        GCSStore("b", prefix)
    assert str(caught.value) == f"prefix={prefix!r} cannot start the name of an object: {problem}"


def test_a_client_of_ones_own_is_used_as_it_is(server: FaultServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", "http://127.0.0.1:9")
    client = storage.Client(
        project=None, credentials=AnonymousCredentials(), client_options={"api_endpoint": server.url}
    )
    store = GCSStore("sessions", client=client)
    assert store.put_new("p/x", b"content")
    assert store.get("p/x") == b"content"
    assert store.identity == f"gs://sessions at {server.url}"


_FORKING = """
import os, sys
from concurrent.futures import ThreadPoolExecutor
from omniagents_gcs.store import GCSStore

store = GCSStore("sessions")
for number in range(8):
    store.put_new(f"p/{number}", str(number).encode() * 1000)
child = os.fork()
with ThreadPoolExecutor(8) as executor:
    found = list(executor.map(lambda number: store.get(f"p/{number % 8}"), range(200)))
assert found == [str(number % 8).encode() * 1000 for number in range(200)]
if child:
    sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


def test_a_forked_process_uses_connections_of_its_own(server: FaultServer, tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-c", _FORKING], capture_output=True, cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, b"")
