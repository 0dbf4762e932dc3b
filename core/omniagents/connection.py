"""One multiplexed connection to a guest: requests out, futures back.

Two threads a connection: one writes what is queued, so that no caller (and no event loop) ever
blocks on a full pipe; one reads and completes futures. The guest is on the untrusted side: a
frame that breaks a rule ends the connection.
"""

from __future__ import annotations

import logging
import queue
import secrets
import threading
import time
import weakref
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from typing import Any, ClassVar

from omniagents.calls import PendingCall
from omniagents.errors import BackendStartError, GuestCallError, OmniagentsError
from omniagents.guest import loader, protocol
from omniagents.guest.carrier import Carrier

__all__ = ["ByteStream", "Connection", "ConnectionLost", "connect", "new_nonce"]

_log = logging.getLogger("omniagents")

_CONNECT_SECONDS = 60.0
_MAX_NOISE = 1 << 20

# A guest that owes an answer and says nothing for so long, pings included, is stopped or gone. Counted in
# looks of the watchdog, so that a host that was itself stopped meanwhile does not blame the guest.
_SILENCE_SECONDS = 30.0
_LOOKS = 8


class ByteStream(ABC):
    """A duplex stream of raw bytes to a process inside an environment; one thread reads, one writes."""

    #: The process has the guest's sources already, and only the guest's settings are to be sent.
    has_guest: bool = False
    #: Of a channel of text: it makes lines of the frames itself, with ``guest.carrier``, and may so lose and send
    #: again what it likes; only the first bytes to be written, the guest's sources, are text already.
    numbers_lines: bool = False

    @abstractmethod
    def read(self) -> bytes:
        """The next bytes, at least one and at most 1 MiB; ``b""`` when the stream has ended, however it ended."""

    @abstractmethod
    def write(self, data: bytes) -> None:
        """Write everything; raises ``OSError`` when the stream has ended."""

    @abstractmethod
    def close(self) -> None:
        """End the stream and the process, from any thread; idempotent. A blocked ``read`` or ``write`` ends."""

    def diagnostics(self) -> str:
        """What the process printed on its standard error, for messages; the last 4 KiB at most."""
        return ""


class LineStream(ByteStream):
    """Carries raw bytes over a channel of text that loses nothing."""

    numbers_lines = True

    def __init__(self, channel: ByteStream) -> None:
        self.has_guest = channel.has_guest
        self._channel = channel
        self._carrier = Carrier()

    def read(self) -> bytes:
        while True:
            data = self._channel.read()
            frames = self._carrier.received(data)
            if frames or not data:
                return frames
            if self._carrier.misses_lines:
                raise ConnectionLost("the channel lost a line")

    def write(self, data: bytes) -> None:
        self._channel.write(self._carrier.line(data) if self.has_guest else data)
        self.has_guest = True

    def close(self) -> None:
        self._channel.close()


class ConnectionLost(Exception):
    """The stream ended, or can no longer be trusted. Not public: the workspace says what it means."""


class Connection:
    """A live guest. Made by ``connect``.

    Attributes:
        hello: What the guest said of itself and its environment; untrusted.
    """

    def __init__(self, stream: ByteStream, text: bool, on_lost: Callable[[Connection], None]) -> None:
        self.hello: dict[str, Any] = {}
        self.lost: str | None = None
        self._stream = LineStream(stream) if text and not stream.numbers_lines else stream
        self._text = text
        self._on_lost = on_lost
        self._calls: dict[int, PendingCall] = {}
        self._abandoned: set[int] = set()
        self._lock = threading.Lock()
        self._outbox: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        self._silent_looks = 0
        self._hello: Future[dict[str, Any]] = Future()

    @property
    def is_busy(self) -> bool:
        """A call waits for its answer."""
        return bool(self._calls)

    def submit(self, call: PendingCall) -> bool:
        """Send a request; returns at once. False: the connection has ended, and nothing was sent."""
        with self._lock:
            if self.lost is not None:
                return False
            if not self._calls:
                self._silent_looks = 0
            self._calls[call.id] = call
        call.attach(self)
        call.future.add_done_callback(lambda future: self._cancelled(call) if future.cancelled() else None)
        return True

    def post(self, header: dict[str, Any], payload: bytes = b"") -> None:
        """Queue one frame."""
        self.post_frame(protocol.encode(header, payload))

    def post_frame(self, frame: bytes) -> None:
        """Queue one frame that is encoded already."""
        self._outbox.put(frame)

    def close(self) -> None:
        """End the connection and the guest with everything it started; waiting calls fail."""
        self._lose("the connection was closed")
        self._stream.close()
        self._outbox.put(None)

    def check_silence(self) -> None:
        """Called by the watchdog: ping a guest that owes an answer, and give up one that does not even answer that."""
        if not self._calls or self.lost is not None:
            return
        self._silent_looks += 1
        if self._silent_looks > _LOOKS:
            self._lose(f"the guest has not answered for {_SILENCE_SECONDS:.0f} s")
            # Ending a stopped process takes a while, and the watchdog has others to look after.
            threading.Thread(target=self._stream.close, daemon=True, name="omniagents-close").start()
        elif self._silent_looks > 1:
            self.post({"type": "ping"})

    def start(self, settings: Mapping[str, Any], nonce: str) -> None:
        """Deliver the guest, start it with ``settings`` and wait for its hello."""
        if not self._stream.has_guest:
            self._outbox.put(loader.bundle(self._text))
        self.post({"type": "start", **settings})
        for work, name in ((self._write, "write"), (lambda: self._read(nonce), "read")):
            threading.Thread(target=work, daemon=True, name=f"omniagents-{name}").start()
        self.hello = self._hello.result(_CONNECT_SECONDS)

    def _write(self) -> None:
        while (frame := self._outbox.get()) is not None:
            try:
                self._stream.write(frame)
            except (OSError, ValueError):
                return  # the reader sees the same end and says so
        self._stream.close()

    def _read(self, nonce: str) -> None:
        try:
            self._lose(self._read_to_end(nonce))
        except (OSError, ConnectionLost) as error:
            self._lose(str(error))
        except Exception as error:  # whatever a guest can bring about by lying must end here
            reason = f"the guest broke the protocol: {error!r:.500}"
            _log.warning("closing the connection to a guest: %s", reason)
            self._lose(reason)
        self._stream.close()
        self._outbox.put(None)
        self._on_lost(self)

    def _read_to_end(self, nonce: str) -> str:
        reader = protocol.FrameReader()
        data = _after_preamble(self._stream, protocol.PREAMBLE + nonce.encode() + b"\n")
        while True:
            for header, payload in reader.feed(data):
                self._dispatch(header, payload)
            self._silent_looks = 0
            data = self._stream.read()
            if not data:
                return "the guest's process ended"

    def _dispatch(self, header: dict[str, Any], payload: bytes) -> None:
        kind = header["type"]
        if kind == "pong":
            return
        if kind == "hello":
            with self._lock:
                self._hello.set_result(_checked_hello(header))
            return
        call_id = _checked(header["id"], int)
        if kind == "refusal" and call_id == 0:
            self._hello.set_exception(BackendStartError(str(_refusal(header["failure"]))))
        elif kind == "reply":
            value = _checked(header["value"], dict)
            if (call := self._pop(call_id)) is not None:
                call.complete(value, payload)
        elif kind == "refusal":
            refusal = _refusal(header["failure"])
            if (call := self._pop(call_id)) is not None:
                call.fail(refusal)
        elif (call := self._living(call_id)) is not None:
            _pass_on(call, kind, header, payload)

    def _pop(self, call_id: int) -> PendingCall | None:
        """The call that ends with this frame; None if nobody waits for it any more."""
        with self._lock:
            call = self._calls.pop(call_id, None)
            if call is None:
                self._abandoned.remove(call_id)
            return call

    def _living(self, call_id: int) -> PendingCall | None:
        with self._lock:
            if call_id not in self._abandoned:
                return self._calls[call_id]
            return None

    def _cancelled(self, call: PendingCall) -> None:
        with self._lock:
            if self._calls.pop(call.id, None) is None:
                return
            self._abandoned.add(call.id)
        self.post({"type": "cancel", "id": call.id})

    def cancel_waiting(self, error: OmniagentsError) -> None:
        """End the calls under way with ``error``, here at once and in the guest when it reads of it."""
        with self._lock:
            calls = list(self._calls.values())
            self._calls.clear()
            self._abandoned.update(call.id for call in calls)
        for call in calls:
            self.post({"type": "cancel", "id": call.id})
            call.fail(error)

    def _lose(self, reason: str) -> None:
        with self._lock:
            self.lost = self.lost or reason
            if not self._hello.done():
                self._hello.set_exception(ConnectionLost(self.lost))

    def take_waiting(self) -> list[PendingCall]:
        """Hand over the calls that will get no answer any more."""
        with self._lock:
            calls = list(self._calls.values())
            self._calls.clear()
        return calls


def connect(
    stream: ByteStream,
    nonce: str,
    settings: Mapping[str, Any],
    on_lost: Callable[[Connection], None],
    *,
    text: bool = False,
) -> Connection:
    """Start the guest at the other end of ``stream``, which runs ``loader.command(…, nonce)``.

    Raises:
        BackendStartError: The guest did not come up; the message says what its side printed.
    """
    connection = Connection(stream, text, on_lost)
    try:
        connection.start(settings, nonce)
    except (ConnectionLost, TimeoutError) as error:
        connection.close()
        said = stream.diagnostics().strip()
        reason = str(error) or f"no answer within {_CONNECT_SECONDS:.0f} s"
        raise BackendStartError(
            f"the guest did not start: {reason}" + (f"; the environment said: {said}" if said else "")
        ) from error
    except BaseException:
        connection.close()
        raise
    _Watchdog.watch(connection)
    return connection


def new_nonce() -> str:
    """What the guest must repeat in its preamble; unknown to whatever else prints on the channel."""
    return secrets.token_hex(16)


class _Watchdog(threading.Thread):
    """One thread a process asks every silent guest whether it lives."""

    _connections: ClassVar[weakref.WeakSet[Connection]] = weakref.WeakSet()
    _lock: ClassVar[threading.Lock] = threading.Lock()
    _running: ClassVar[_Watchdog | None] = None

    @classmethod
    def watch(cls, connection: Connection) -> None:
        with cls._lock:
            cls._connections.add(connection)
            if cls._running is None or not cls._running.is_alive():
                cls._running = cls(daemon=True, name="omniagents-watchdog")
                cls._running.start()

    def run(self) -> None:
        while True:
            time.sleep(_SILENCE_SECONDS / _LOOKS)
            with self._lock:
                connections = list(self._connections)
            while connections:  # emptied: a sleeping watchdog keeps nothing alive
                connections.pop().check_silence()


def _after_preamble(stream: ByteStream, preamble: bytes) -> bytes:
    noise, total = b"", 0
    while preamble not in noise:
        data = stream.read()
        if not data:
            raise ConnectionLost("the guest's process ended before it said anything")
        total += len(data)
        if total > _MAX_NOISE:
            raise ConnectionLost("the environment printed more than 1 MiB before the guest started")
        noise = noise[-len(preamble) :] + data
    return noise.partition(preamble)[2]


def _pass_on(call: PendingCall, kind: str, header: Mapping[str, Any], payload: bytes) -> None:
    if kind == "data":
        if payload:
            call.receive(_checked(header.get("stream", 1), int), payload)
    elif kind == "credit":
        call.credit(_checked(header["bytes"], int))
    elif kind == "started":
        call.started(_checked(header["pid"], int))
    else:
        raise ValueError(f"a frame of type {kind!r}")


def _checked_hello(header: dict[str, Any]) -> dict[str, Any]:
    pid, start = _checked(header["guest"], list)
    _checked(pid, int)
    _checked(start, str)
    if not _checked(header["root"], str).startswith("/"):
        raise ValueError(f"a workspace at {header['root']!r:.80}")
    return header


def _refusal(failure: Mapping[str, Any]) -> GuestCallError:
    details = dict(_checked(failure.get("details", {}), dict))
    for name in ("path", "errno"):
        if name in failure:
            details[name] = failure[name]
    return GuestCallError(_checked(failure["message"], str), code=_checked(failure["code"], str), details=details)


def _checked(value: Any, kind: type) -> Any:
    if type(value) is not kind:  # exactly: JSON's true is no number
        raise TypeError(f"{kind.__name__} expected, not {value!r:.80}")
    return value
