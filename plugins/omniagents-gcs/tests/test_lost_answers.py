"""What a store says of a write whose answer never came."""

from __future__ import annotations

import pytest
from gcs_support import MakeStore
from tests.services.gcs.fault_server import FaultServer
from tests.services.gcs.faults import Fault

from omniagents.errors import StateUnavailableError
from omniagents_gcs.store import GCSStore

pytestmark = pytest.mark.service

KINDS = ["lost", "garbage", "cut"]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("size", [10, 9 << 20], ids=["one request", "streamed"])
def test_a_creation_whose_answer_was_lost_is_one(store: GCSStore, server: FaultServer, kind: str, size: int) -> None:
    server.faults.add(Fault(kind, ("upload",)))  # type: ignore[arg-type]
    assert store.put_new("p/x", bytes(size))
    assert store.get("p/x") == bytes(size)


def test_a_creation_that_failed_and_then_came_second_is_none(store: GCSStore, server: FaultServer) -> None:
    store.put_new("p/x", b"another's")
    server.faults.add(Fault("dropped", ("upload",)))
    assert not store.put_new("p/x", b"ours")
    assert store.get("p/x") == b"another's"


def test_a_creation_is_one_even_if_looking_for_it_fails_too(store: GCSStore, server: FaultServer) -> None:
    server.faults.add(Fault("lost", ("upload",)), Fault("status", ("describe",)))
    assert store.put_new("p/x", b"ours")


@pytest.mark.parametrize("kind", KINDS)
def test_a_swap_whose_answer_was_lost_has_the_version_it_made(store: GCSStore, server: FaultServer, kind: str) -> None:
    first = store.cas("p/HEAD", b"one", None)
    server.faults.add(Fault(kind, ("upload",)))  # type: ignore[arg-type]
    second = store.cas("p/HEAD", b"two", first)
    assert second is not None
    assert store.cas("p/HEAD", b"three", second) is not None


def test_the_first_swap_of_all_may_lose_its_answer(store: GCSStore, server: FaultServer) -> None:
    server.faults.add(Fault("lost", ("upload",)))
    found = store.cas("p/HEAD", b"one", None)
    assert found is not None
    assert store.read_versioned("p/HEAD") == (b"one", found)


def test_a_swap_that_never_arrived_and_then_came_second_did_nothing(
    store: GCSStore, make_store: MakeStore, server: FaultServer, pauses: list[float]
) -> None:
    first = store.cas("p/HEAD", b"base", None)
    server.faults.add(Fault("dropped", ("upload",)))
    other = GCSStore("sessions", "prefix")

    def meanwhile(seconds: float) -> None:
        other.cas("p/HEAD", b"theirs", first)

    assert make_store(pause=meanwhile).cas("p/HEAD", b"ours", first) is None
    assert store.get("p/HEAD") == b"theirs"


def test_a_swap_is_known_although_reading_it_back_fails_first(store: GCSStore, server: FaultServer) -> None:
    first = store.cas("p/HEAD", b"one", None)
    server.faults.add(Fault("lost", ("upload",)), Fault("dropped", ("download",)), Fault("cut", ("download",)))
    assert store.cas("p/HEAD", b"two", first) is not None


def test_a_swap_whose_object_was_deleted_meanwhile_did_nothing(
    store: GCSStore, make_store: MakeStore, server: FaultServer
) -> None:
    first = store.cas("p/HEAD", b"one", None)
    server.faults.add(Fault("lost", ("upload",)))
    deleting = make_store(pause=lambda seconds: store.delete("p/HEAD"))
    assert deleting.cas("p/HEAD", b"two", first) is None


def test_a_removal_whose_answer_was_lost_is_one(store: GCSStore, server: FaultServer) -> None:
    store.put_new("p/x", b"")
    server.faults.add(Fault("lost", ("delete",)))
    store.delete("p/x")
    assert list(store.list("p/")) == []


def test_a_copy_whose_answer_was_lost_is_one(store: GCSStore, server: FaultServer) -> None:
    store.put_new("p/x", b"content")
    server.faults.add(Fault("lost", ("copy",)))
    assert store.copy_new("p/x", "q/x")


def test_a_write_without_any_answer_says_that_nobody_knows(make_store: MakeStore, server: FaultServer) -> None:
    server.faults.add(Fault("hang", ("upload",), times=-1))
    with pytest.raises(StateUnavailableError) as caught:
        make_store(timeout_seconds=0.5).cas("p/HEAD", b"one", None)
    assert str(caught.value).startswith("could not replace 'p/HEAD' in 'gs://sessions/prefix': given up after ")
    assert str(caught.value).endswith("; it may have taken effect or not")


def test_content_that_was_damaged_on_its_way_is_sent_again(store: GCSStore, server: FaultServer) -> None:
    for size in (10, 9 << 20):
        server.faults.add(Fault("corrupt_upload", ("upload",)))
        assert store.put_new(f"p/{size}", bytes(size))
        assert store.get(f"p/{size}") == bytes(size)
    assert server.count("upload") == 4
