"""A guest that a test writes: it speaks the protocol as far as its script does, and lies where the script does."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

from omniagents.calls import PendingCall
from omniagents.connection import ByteStream
from omniagents.guest import protocol
from omniagents.guest.carrier import Carrier
from omniagents.link import GuestLink

SECONDS = 20.0  # nothing here takes long; a test that waits for so long has found something that hangs


def wait_until(claim: Callable[[], object]) -> None:
    """Return as soon as ``claim`` holds; fail if it takes too long."""
    end = time.monotonic() + SECONDS
    while not claim():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.001)


class ScriptedGuest(ByteStream):
    """Answers every call with ``{}``, unless ``on_call`` does something else."""

    def __init__(self, argv: Sequence[str], on_call: Script | None = None, *, noise: bytes = b"", hello: Any = None):
        self.text = argv[-2] == "text"
        self.received: list[dict[str, Any]] = []
        self.is_closed = False
        self._nonce = argv[-1].encode()
        self._on_call = on_call or answer
        self._noise = noise
        self._hello = hello if hello is not None else {"type": "hello", "root": "/workspace", "guest": [1, "1"]}
        self._to_host: queue.SimpleQueue[bytes] = queue.SimpleQueue()
        self._reader = protocol.FrameReader(protocol.MAX_REQUEST_HEADER)
        self._carrier = Carrier() if self.text else None
        self._before_frames = b""
        self._is_delivered = False

    def read(self) -> bytes:
        data = self._to_host.get()
        if not data:
            self._to_host.put(b"")  # the end stays the end
        return data

    def write(self, data: bytes) -> None:
        if self.is_closed:
            raise BrokenPipeError
        if not self._is_delivered:
            self._is_delivered = True  # the bundle comes in one piece
            return
        for header, payload in self._reader.feed(self._carrier.received(data) if self._carrier else data):
            self._handle(header, payload)

    def close(self) -> None:
        self.is_closed = True
        self._to_host.put(b"")

    def diagnostics(self) -> str:
        return "bash: python3: not found"

    def say(self, header: dict[str, Any], payload: bytes = b"") -> None:
        self.say_bytes(protocol.encode(header, payload))

    def say_bytes(self, data: bytes, after: bytes = b"") -> None:
        self._to_host.put(after + (self._carrier.line(data) if self._carrier else data))

    def _handle(self, header: dict[str, Any], payload: bytes) -> None:
        self.received.append(header)
        if header["type"] == "start":
            self.say_bytes(protocol.PREAMBLE + self._nonce + b"\n", after=self._noise)
            self.say(self._hello)
        elif header["type"] == "call":
            self._on_call(self, header["id"])


Script = Callable[[ScriptedGuest, int], None]


def answer(guest: ScriptedGuest, call_id: int) -> None:
    """The script of an honest guest."""
    guest.say({"type": "reply", "id": call_id, "value": {}})


def never(guest: ScriptedGuest, call_id: int) -> None:
    """The script of a guest that does not answer."""


class Environment:
    """Starts scripted guests, the first by the first script and so on; the last one's script serves all after it."""

    def __init__(self, *scripts: Script | Exception, text: bool = False, **options: Any) -> None:
        self.guests: list[ScriptedGuest] = []
        self.gate = threading.Event()  # no guest is started while it is not set
        self.gate.set()
        self._scripts = scripts
        self._options = options
        self.link = GuestLink(self._open, {"root": "/workspace"}, python=["python3"], text=text, name="the test")

    def _open(self, argv: Sequence[str]) -> ByteStream:
        assert self.gate.wait(SECONDS)
        script = self._scripts[min(len(self.guests), len(self._scripts) - 1)]
        if isinstance(script, Exception):
            raise script
        self.guests.append(ScriptedGuest(argv, script, **self._options))
        return self.guests[-1]

    def call(self, operation: str = "stat", **options: Any) -> PendingCall:
        return self.link.submit(PendingCall(operation, {}, **options))
