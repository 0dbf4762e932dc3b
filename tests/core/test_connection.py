"""What the host makes of a guest that lies, babbles, stops or ends: typed errors for everybody, and never a hang."""

from __future__ import annotations

import json
import struct
import threading
from concurrent.futures import CancelledError
from typing import Any

import pytest
from tests.core.scripted_guest import SECONDS, Environment, Script, ScriptedGuest, answer, never, wait_until

from omniagents import connection
from omniagents.calls import PendingCall
from omniagents.errors import (
    BackendNotStartedError,
    BackendStartError,
    BackendUnavailableError,
    GuestCallError,
    GuestDiedError,
)
from omniagents.guest import protocol
from omniagents.workspace import Workspace

FLOOD = protocol.WINDOW // protocol.CHUNK + 1


def saying(*headers: dict[str, Any], payload: bytes = b"") -> Script:
    """A script that says ``headers``, with the call's own id where they name none."""

    def script(guest: ScriptedGuest, call_id: int) -> None:
        for header in headers:
            guest.say({"id": call_id, **header}, payload)

    return script


def saying_bytes(data: bytes) -> Script:
    return lambda guest, call_id: guest.say_bytes(data)


REPLY: dict[str, Any] = {"type": "reply", "value": {}}
LIES: dict[str, Script] = {
    "a reply to a call nobody made": saying({**REPLY, "id": 1 << 40}),
    "a reply whose value is a list": saying({"type": "reply", "value": []}),
    "a reply without a value": saying({"type": "reply"}),
    "a reply without an id": saying_bytes(protocol.encode(REPLY)),
    "an id that is a text": saying({**REPLY, "id": "1"}),
    "an id that is a list": saying({**REPLY, "id": [1]}),
    "an id that is true": saying({**REPLY, "id": True}),
    "an id that is a number with a fraction": saying({**REPLY, "id": 1.0}),
    "a refusal that is a text": saying({"type": "refusal", "failure": "no"}),
    "a refusal without a message": saying({"type": "refusal", "failure": {"code": "X"}}),
    "a refusal whose code is a number": saying({"type": "refusal", "failure": {"code": 1, "message": "m"}}),
    "a refusal whose details are a list": saying(
        {"type": "refusal", "failure": {"code": "X", "message": "m", "details": [1]}}
    ),
    "a refusal to start after the start": saying({"type": "refusal", "id": 0, "failure": {"code": "X", "message": ""}}),
    "a second hello": saying({"type": "hello", "root": "/", "guest": [1, "1"]}),
    "a second reply": saying(REPLY, REPLY),
    "data behind the reply": saying(REPLY, {"type": "data"}, payload=b"x"),
    "data of a call nobody made": saying({"type": "data", "id": 1 << 40}, payload=b"x"),
    "data of stream x": saying({"type": "data", "stream": "x"}, payload=b"x"),
    "a credit below zero": saying({"type": "credit", "bytes": -1}),
    "a credit of nothing": saying({"type": "credit", "bytes": 0}),
    "a credit for more than was sent": saying({"type": "credit", "bytes": 1 << 40}),
    "a credit that is a text": saying({"type": "credit", "bytes": "1"}),
    "a pid that is a text": saying({"type": "started", "pid": "1"}),
    "a frame of an unknown type": saying({"type": "xyz"}),
    "a header without a type": saying({"kind": "reply"}),
    "bytes that are no frame": saying_bytes(b"Segmentation fault\n"),
    "a giant length": saying_bytes(struct.pack(">II", 1 << 31, 1 << 31)),
    "a header that never ends in depth": saying_bytes(struct.pack(">II", 300_000, 0) + b"[" * 300_000),
    "a giant number": saying_bytes(struct.pack(">II", 9017, 0) + b'{"type":"x","id":' + b"9" * 9000),
    "more output than asked for": saying(*[{"type": "data"}] * FLOOD, payload=bytes(protocol.CHUNK)),
    "more tiny output than asked for": saying(
        *[{"type": "data"}] * (protocol.WINDOW // protocol.LEAST_COST + 2), payload=b"x"
    ),
}


@pytest.mark.parametrize("lie", LIES)
def test_a_lie_ends_every_waiting_call_and_the_next_call_works(lie: str):
    def lying(guest: ScriptedGuest, call_id: int) -> None:
        if guest.received[-1]["op"] == "lie":
            LIES[lie](guest, call_id)

    environment = Environment(lying, answer)
    environment.link.open()
    bystander = environment.call()
    liar = environment.call("lie", stream=True)
    with pytest.raises(GuestDiedError, match="the guest broke the protocol"):
        bystander.future.result(SECONDS)
    if lie in ("a second reply", "data behind the reply"):
        assert liar.future.result(SECONDS).value == {}
    else:
        with pytest.raises(GuestDiedError):
            liar.future.result(SECONDS)
    assert environment.guests[0].is_closed
    assert environment.call().future.result(SECONDS).value == {}


def test_an_answer_over_its_limit_ends_the_connection():
    def flooding(guest: ScriptedGuest, call_id: int) -> None:
        for _ in range(11):
            guest.say({"type": "data", "id": call_id}, bytes(1000))

    environment = Environment(flooding)
    environment.link.open()
    with pytest.raises(GuestDiedError, match="more than 10000 bytes in answer to one call"):
        environment.call(max_reply=10_000).future.result(SECONDS)


def test_what_a_guest_says_of_a_cancelled_call_is_passed_over():
    environment = Environment(never)
    environment.link.open()
    call = environment.call(stream=True)
    assert call.future.cancel()
    guest = environment.guests[0]
    guest.say({"type": "data", "id": call.id}, b"late")
    guest.say({"type": "reply", "id": call.id, "value": {}})
    other = environment.call()
    guest.say({"type": "reply", "id": other.id, "value": {"a": 1}})
    assert other.future.result(SECONDS).value == {"a": 1}
    assert list(call.events()) == []
    assert len(environment.guests) == 1


def test_cancelling_reaches_the_guest():
    environment = Environment(never)
    environment.link.open()
    call = environment.call()
    call.future.cancel()
    wait_until(lambda: environment.guests[0].received[-1] == {"type": "cancel", "id": call.id})


def test_a_refusal_with_a_giant_errno_is_still_a_refusal():
    failure = {"code": "X", "message": "m", "errno": 10**30, "path": ["a"]}
    environment = Environment(saying({"type": "refusal", "failure": failure}))
    environment.link.open()
    with pytest.raises(GuestCallError) as refusal:
        Workspace(environment.link, "/w").stat("x")
    assert (str(refusal.value), refusal.value.code) == ("m", "X")


@pytest.mark.parametrize(
    "hello",
    [
        {"type": "hello"},
        {"type": "hello", "root": "relative", "guest": [1, "1"]},
        {"type": "hello", "root": 1, "guest": [1, "1"]},
        {"type": "hello", "root": "/w", "guest": [1]},
        {"type": "hello", "root": "/w", "guest": ["1", "1"]},
        {"type": "hello", "root": "/w"},
        {"type": "reply", "id": 1, "value": {}},
        {"type": "refusal", "id": 0, "failure": None},
    ],
)
def test_a_wrong_hello_is_a_failed_start(hello: dict[str, Any]):
    environment = Environment(answer, hello=hello)
    with pytest.raises(BackendStartError, match="the guest did not start: the guest broke the protocol"):
        environment.link.open()
    assert environment.guests[0].is_closed


def test_a_refusal_to_start_is_told_in_the_guests_words():
    failure = {"code": "NOT_A_DIRECTORY", "message": "the workspace /w is not a directory"}
    environment = Environment(answer, hello={"type": "refusal", "id": 0, "failure": failure})
    with pytest.raises(BackendStartError) as error:
        environment.link.open()
    assert str(error.value) == "the workspace /w is not a directory"


@pytest.mark.parametrize("text", [False, True])
def test_noise_before_the_guest_is_passed_over(text: bool):
    noise = b"Welcome!\n\nOMNIAGENTS-GUEST 0000\n" + bytes(range(256)) * 2000
    environment = Environment(answer, text=text, noise=noise)
    assert environment.link.open()["root"] == "/workspace"
    assert environment.call().future.result(SECONDS).value == {}


def test_endless_noise_is_a_failed_start():
    environment = Environment(answer, noise=b"x" * (1 << 20))
    with pytest.raises(BackendStartError) as error:
        environment.link.open()
    assert str(error.value) == (
        "the guest did not start: the environment printed more than 1 MiB before the guest started; "
        "the environment said: bash: python3: not found"
    )


def test_a_guest_that_says_nothing_is_a_failed_start(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(connection, "_CONNECT_SECONDS", 0.05)
    environment = Environment(answer)
    monkeypatch.setattr(ScriptedGuest, "_handle", lambda *arguments: None)
    with pytest.raises(BackendStartError, match="no answer within 0 s"):
        environment.link.open()
    assert environment.guests[0].is_closed


def test_an_interrupted_start_leaves_no_guest(monkeypatch: pytest.MonkeyPatch):
    def interrupted(*arguments: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(connection.Connection, "start", interrupted)
    environment = Environment(answer)
    with pytest.raises(KeyboardInterrupt):
        environment.link.open()
    assert environment.guests[0].is_closed


@pytest.fixture
def quick_watchdog(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "_SILENCE_SECONDS", 0.2)
    monkeypatch.setattr(connection._Watchdog, "_running", None)


@pytest.mark.usefixtures("quick_watchdog")
def test_a_silent_guest_is_given_up():
    environment = Environment(never, answer)
    environment.link.open()
    with pytest.raises(GuestDiedError, match="the guest has not answered for 0 s during this call"):
        environment.call().future.result(SECONDS)
    assert "ping" in [header["type"] for header in environment.guests[0].received]


@pytest.mark.usefixtures("quick_watchdog")
def test_a_guest_that_answers_pings_may_take_its_time(monkeypatch: pytest.MonkeyPatch):
    handle = ScriptedGuest._handle
    pinged = threading.Semaphore(0)

    def patient(guest: ScriptedGuest, header: dict[str, Any], payload: bytes) -> None:
        handle(guest, header, payload)
        if header["type"] == "ping":
            guest.say({"type": "pong"})
            pinged.release()

    monkeypatch.setattr(ScriptedGuest, "_handle", patient)
    environment = Environment(never)
    environment.link.open()
    call = environment.call()
    for _ in range(10):  # more than a silent guest would be given
        assert pinged.acquire(timeout=SECONDS)
    assert not call.future.done()
    environment.link.close("done")


def test_a_guest_that_ends_right_after_its_hello_fails_the_start_or_the_call_but_hangs_nothing():
    def ending(guest: ScriptedGuest, call_id: int) -> None:
        guest.close()

    for _ in range(50):
        environment = Environment(ending)
        environment.link.open()
        calls = [environment.call() for _ in range(3)]
        for call in calls:
            with pytest.raises(GuestDiedError):
                call.future.result(SECONDS)


def test_calls_queued_while_the_guest_comes_back_are_sent_to_it():
    environment = Environment(lambda guest, call_id: guest.close(), answer)
    environment.link.open()
    environment.gate.clear()
    dying = environment.call()
    wait_until(lambda: environment.link._connection is None)
    queued = [environment.call() for _ in range(20)]
    streaming = environment.call(stream=True)
    cancelled = environment.call(stream=True)
    cancelled.future.cancel()
    assert list(cancelled.events()) == []  # at once, not when the guest is back
    environment.gate.set()
    with pytest.raises(GuestDiedError):
        dying.future.result(SECONDS)
    assert [call.future.result(SECONDS).value for call in queued] == [{}] * 20
    assert list(streaming.events()) == []
    ids = [header["id"] for header in environment.guests[1].received if header["type"] == "call"]
    assert cancelled.id not in ids


@pytest.mark.parametrize("error", [RuntimeError("daemon gone"), OSError("no more pipes"), BackendStartError("stopped")])
def test_an_environment_that_cannot_be_opened_again_is_gone(error: Exception):
    environment = Environment(lambda guest, call_id: guest.close(), error)
    environment.link.open()
    with pytest.raises(BackendUnavailableError) as gone:
        environment.call().future.result(SECONDS)
    assert str(gone.value) == f"the test: the environment is gone: {error}"
    assert not isinstance(gone.value, GuestDiedError)
    assert environment.link.is_gone
    with pytest.raises(BackendUnavailableError, match="the environment is gone"):
        environment.call()


def test_closing_during_a_reconnect_ends_the_waiting_calls_at_once():
    environment = Environment(lambda guest, call_id: guest.close(), answer)
    environment.link.open()
    environment.gate.clear()
    waiting = environment.call()
    wait_until(lambda: environment.link._connection is None)
    queued = environment.call()
    environment.link.close("the backend was shut down")
    for call in (waiting, queued):
        with pytest.raises(BackendNotStartedError, match="the backend was shut down"):
            call.future.result(SECONDS)
    environment.gate.set()
    for thread in threading.enumerate():
        if thread.name == "omniagents-reconnect":
            thread.join(SECONDS)
    assert all(guest.is_closed for guest in environment.guests)


def test_a_signal_never_reaches_another_guests_process():
    environment = Environment(lambda guest, call_id: guest.close(), answer)
    environment.link.open()
    before = environment.call()
    with pytest.raises(GuestDiedError):
        before.future.result(SECONDS)
    assert environment.call().id > before.id


def test_arguments_that_are_not_json_fail_in_the_callers_hands():
    environment = Environment(answer)
    environment.link.open()
    with pytest.raises(TypeError):
        PendingCall("stat", {"path": b"bytes"})
    with pytest.raises(ValueError, match=r"33,554,\d+ bytes of arguments; at most 32 MiB can be sent"):
        PendingCall("stat", {"path": "x" * (32 << 20)})


def test_input_is_sent_no_faster_than_the_guest_takes_it():
    environment = Environment(never)
    environment.link.open()
    call = environment.call(payload=bytes(protocol.WINDOW * 2), max_reply=1)
    guest = environment.guests[0]
    wait_until(lambda: call._credit < protocol.CHUNK)
    guest.say({"type": "credit", "id": call.id, "bytes": protocol.WINDOW - call._credit})
    wait_until(lambda: guest.received[-1].get("more") is False)
    guest.say({"type": "reply", "id": call.id, "value": {}})
    assert call.future.result(SECONDS).value == {}


def test_sending_to_a_call_that_has_ended_says_so():
    environment = Environment(answer)
    environment.link.open()
    call = environment.call(more=True)
    call.future.result(SECONDS)
    assert call.send(b"x", more=True) is False
    cancelled = environment.call(more=True)
    cancelled.future.cancel()
    assert cancelled.send(bytes(protocol.WINDOW + 1), more=True) is False
    if cancelled.future.cancelled():
        with pytest.raises(CancelledError):
            cancelled.future.result(SECONDS)


def test_a_scan_that_names_paths_outside_is_refused():
    def entry(path: object, **changed: object) -> list[object]:
        fields = {"path": path, "kind": "file", "size": 1, "mode": 1, "m": 1, "c": 1, "inode": 1, "target": None}
        return list({**fields, **changed}.values())

    hostile: list[Any] = [
        *[[entry(path)] for path in ("../x", "/etc/passwd", "a//b", "a/", "", ".", "..", "a/../b", "a/./b", "a\0b")],
        *[[entry(path)] for path in (1, None, ["a"], {"a": 1}, "\ud800")],
        [entry("a", kind="device")],
        [entry("a", size=-1)],
        [entry("a", size=1.5)],
        [entry("a", size=True)],
        [entry("a", size="1")],
        [entry("a", inode=1 << 70)],
        [entry("a", target=1)],
        [entry("a")[:-1]],
        [["a"]],
        [1],
        {"a": 1},
        {"left_out": 1},
        {"left_out": [[]]},
        {"left_out": [["a"]]},
        {"left_out": [["a", "b", "c"]]},
        {"left_out": [1]},
        "text",
        5,
        None,
    ]
    for batch in hostile:
        line = json.dumps(batch).encode() + b"\n"

        def script(guest: ScriptedGuest, call_id: int, line: bytes = line) -> None:
            guest.say({"type": "data", "id": call_id}, line)
            guest.say({"type": "reply", "id": call_id, "value": {"started_ns": 1}})

        environment = Environment(script)
        environment.link.open()
        with pytest.raises(GuestCallError, match="the guest's answer cannot be right"):
            Workspace(environment.link, "/w").scan()


@pytest.mark.parametrize("value", [{}, {"started_ns": "x"}, {"started_ns": None}])
def test_a_scan_with_a_wrong_end_is_refused(value: dict[str, Any]):
    environment = Environment(saying({"type": "reply", "value": value}))
    environment.link.open()
    with pytest.raises(GuestCallError, match="the guest's answer cannot be right"):
        Workspace(environment.link, "/w").scan()


@pytest.mark.parametrize("info", [None, 1, [], ["a"], ["a", "file", 1, 1, 1, 1, 1, 1], {"a": 1}])
def test_a_wrong_status_is_refused(info: Any):
    environment = Environment(saying({"type": "reply", "value": {"info": info}}))
    environment.link.open()
    with pytest.raises(GuestCallError, match="the guest's answer cannot be right"):
        Workspace(environment.link, "/w").stat("a")
