"""How often and how long a request is tried."""

from __future__ import annotations

import socket
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from gcs_support import MakeStore
from tests.services.gcs.fault_server import FaultServer
from tests.services.gcs.faults import Fault

from omniagents.errors import StateConfigurationError, StateCorruptError, StateUnavailableError
from omniagents_gcs.store import GCSStore

pytestmark = pytest.mark.service

CALLS: dict[str, Callable[[GCSStore], object]] = {
    "get": lambda store: store.get("p/x"),
    "get a range": lambda store: store.get("p/x", (1, 2)),
    "read_versioned": lambda store: store.read_versioned("p/x"),
    "head": lambda store: store.head("p/x"),
    "list": lambda store: list(store.list("p/")),
    "put_new": lambda store: store.put_new("p/new", b"new"),
    "cas": lambda store: store.cas("p/HEAD", b"new", None),
    "copy": lambda store: store.copy_new("p/x", "p/copy"),
    "delete": lambda store: store.delete("p/x"),
}


@pytest.fixture(params=CALLS.values(), ids=CALLS.keys())
def call(request: pytest.FixtureRequest, store: GCSStore) -> Callable[[GCSStore], object]:
    """One call of a store that has the object ``p/x``."""
    store.put_new("p/x", b"0123")
    found: Callable[[GCSStore], object] = request.param
    return found


@pytest.mark.parametrize("status", [408, 409, 429, 500, 502, 503, 504])
def test_what_may_be_better_later_is_tried_again(
    store: GCSStore, server: FaultServer, call: Callable[[GCSStore], object], status: int, pauses: list[float]
) -> None:
    server.faults.add(Fault("status", status=status, times=3))
    call(store)
    assert len(pauses) == 3


@pytest.mark.parametrize("kind", ["dropped", "lost", "cut", "garbage"])
def test_a_broken_connection_is_tried_again(
    store: GCSStore, server: FaultServer, call: Callable[[GCSStore], object], kind: str
) -> None:
    server.faults.add(Fault(kind, times=2))  # type: ignore[arg-type]
    call(store)
    # The answer to a removal has no body that could be cut or be something else.
    assert server.faults.waiting == [] or server.seen[-1].operation == "delete"


@pytest.mark.parametrize("kind", ["hang", "drip"])
def test_a_server_that_never_finishes_is_given_up_in_time(
    make_store: MakeStore, server: FaultServer, call: Callable[[GCSStore], object], kind: str
) -> None:
    server.faults.add(Fault(kind, times=-1))  # type: ignore[arg-type]
    with pytest.raises(StateUnavailableError, match=r"given up after \d+ tr.*(timeout_seconds=)"):
        call(make_store(timeout_seconds=0.4))


def test_one_server_that_hangs_does_not_cost_the_request(make_store: MakeStore, server: FaultServer) -> None:
    server.faults.add(Fault("drip", ("list",)))
    assert list(make_store(timeout_seconds=1).list("p/")) == []


def test_nobody_listening_is_an_error_that_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        monkeypatch.setenv("STORAGE_EMULATOR_HOST", f"http://127.0.0.1:{taken.getsockname()[1]}")
        with pytest.raises(StateUnavailableError, match="Connection refused"):
            GCSStore("sessions", timeout_seconds=3).head("p/x")


def test_an_object_that_is_replaced_too_often_is_waited_for(
    store: GCSStore, server: FaultServer, pauses: list[float]
) -> None:
    version = store.cas("p/HEAD", b"one", None)
    server.faults.add(Fault("status", ("upload",), status=429, reason="rateLimitExceeded"))
    assert store.cas("p/HEAD", b"two", version) is not None
    assert 0.5 <= pauses[0] <= 1.2


@pytest.mark.slow
def test_updates_of_one_object_at_the_rate_that_google_allows_all_succeed(server: FaultServer) -> None:
    server.buckets.updates_are_limited = True
    store, version = GCSStore("sessions"), None
    for number in range(4):
        version = store.cas("p/HEAD", str(number).encode(), version)
        assert version is not None
    assert store.get("p/HEAD") == b"3"


def test_the_servers_wish_to_wait_is_followed(store: GCSStore, server: FaultServer, pauses: list[float]) -> None:
    server.faults.add(Fault("status", retry_after="7"))
    store.head("p/x")
    assert pauses == [7.0]


def test_the_servers_wish_may_be_a_date(store: GCSStore, server: FaultServer, pauses: list[float]) -> None:
    date = datetime.now(UTC) + timedelta(seconds=20)
    server.faults.add(Fault("status", retry_after=format_datetime(date, usegmt=True)))
    store.head("p/x")
    assert 10 < pauses[0] <= 20


@pytest.mark.parametrize("wish", ["soon", "-5", "nan", "Wed, 21 Oct 2015 07:28:00 GMT"])
def test_a_wish_that_makes_no_sense_is_none(
    store: GCSStore, server: FaultServer, pauses: list[float], wish: str
) -> None:
    server.faults.add(Fault("status", retry_after=wish))
    store.head("p/x")
    assert pauses[0] <= 0.1


@pytest.mark.parametrize("wish", ["3600", "inf"])
def test_a_wish_beyond_the_limit_ends_the_request_at_once(
    make_store: MakeStore, server: FaultServer, pauses: list[float], wish: str
) -> None:
    server.faults.add(Fault("status", retry_after=wish))
    with pytest.raises(StateUnavailableError) as caught:
        make_store(timeout_seconds=5).head("p/x")
    assert str(caught.value) == (
        "could not read 'p/x' in 'gs://sessions/prefix': given up after 1 try, 5 s being the limit (timeout_seconds=); "
        f"the last was HTTP 503, which asks to wait {wish} s: We encountered an internal error. Please try again."
    )
    assert pauses == []


def test_pauses_grow_and_stay_below_eight_seconds(make_store: MakeStore, server: FaultServer) -> None:
    pauses: list[float] = []
    server.faults.add(Fault("status", times=12))
    make_store(pause=pauses.append).head("p/x")
    assert len(pauses) == 12
    assert pauses[0] <= 0.1
    assert 4.0 <= pauses[-1] <= 8.0


def test_content_that_comes_damaged_once_is_read_again(store: GCSStore, server: FaultServer) -> None:
    store.put_new("p/x", b"content")
    for byte_range in (None, (0, 100)):
        server.faults.add(Fault("corrupt", ("download",)))
        assert store.get("p/x", byte_range) == b"content"


def test_content_that_always_comes_damaged_is_an_error_that_names_it(store: GCSStore, server: FaultServer) -> None:
    store.put_new("p/x", b"content")
    server.faults.add(Fault("corrupt", ("download",), times=-1))
    with pytest.raises(StateCorruptError) as caught:
        store.get("p/x")
    assert str(caught.value) == (
        "could not read 'p/x' in 'gs://sessions/prefix': 7 bytes came that do not match their checksum 'Ya91Mw==', "
        "3 times"
    )


def test_a_range_that_ends_before_the_object_does_is_read_again(store: GCSStore, server: FaultServer) -> None:
    store.put_new("p/x", bytes(1000))
    server.faults.add(Fault("garbage", ("download",)))
    assert store.get("p/x", (500, 400)) == bytes(400)


def test_an_answer_with_more_than_was_asked_for_is_not_taken(store: GCSStore, server: FaultServer) -> None:
    store.put_new("p/x", b"0123456789")
    server.faults.add(Fault("garbage", ("download",)))
    assert store.get("p/x", (2, 3)) == b"234"


@pytest.mark.parametrize("seconds", [0, -1, float("nan")])
def test_a_limit_that_is_none_is_refused(seconds: float) -> None:
    with pytest.raises(StateConfigurationError) as caught:
        GCSStore("b", timeout_seconds=seconds)
    assert str(caught.value) == f"timeout_seconds={seconds!r} is not more than 0"
