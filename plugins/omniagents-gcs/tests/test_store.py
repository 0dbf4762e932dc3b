"""What every store of the snapshot engine promises, kept on two servers."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from pathlib import Path

import pytest
from google.auth.credentials import AnonymousCredentials
from google.cloud import storage
from tests.services.gcs.fault_server import FaultServer

from omniagents.errors import StateConfigurationError
from omniagents_gcs import bucket
from omniagents_gcs.naming import clean_prefix
from omniagents_gcs.store import GCSStore
from omniagents_snapshot.store import ObjectMissingError
from omniagents_snapshot.testing import CopyingStoreContract, StoreContract

pytestmark = pytest.mark.service


def place_of(request: pytest.FixtureRequest) -> str:
    """A prefix of the test's own."""
    return hashlib.sha256(request.node.nodeid.encode()).hexdigest()


class TestOnOurServer(CopyingStoreContract):
    """With every precondition that a copy can have."""

    @pytest.fixture
    def any_store(self, server: FaultServer, request: pytest.FixtureRequest) -> GCSStore:
        return GCSStore("sessions", place_of(request))


class TestOnTheEmulator(StoreContract):
    """Somebody else's server, which takes copies on any condition."""

    @pytest.fixture
    def any_store(self, emulator: str, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> GCSStore:
        monkeypatch.setenv("STORAGE_EMULATOR_HOST", emulator)
        return GCSStore("sessions", place_of(request))

    def test_a_copy_has_the_content(self, any_store: GCSStore) -> None:
        any_store.put_new("p/x", b"content")
        assert any_store.copy_new("p/x", "q/x")
        assert any_store.get("q/x") == b"content"
        with pytest.raises(ObjectMissingError, match=r"no object 'p/nothing' in 'gs://sessions/"):
            any_store.copy_new("p/nothing", "q/y")


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


def test_what_is_downloaded_is_not_taken_in_small_pieces(store: GCSStore, monkeypatch: pytest.MonkeyPatch) -> None:
    store.put_new("pack", bytes(1 << 20))
    sizes: list[int] = []
    write = bucket._Sink.write

    def noted(sink: bucket._Sink, piece: bytes) -> int:
        sizes.append(len(piece))
        return write(sink, piece)

    monkeypatch.setattr(bucket._Sink, "write", noted)
    assert len(store.get("pack", (0, 1 << 20))) == 1 << 20
    assert sizes == [1 << 18] * 4


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
