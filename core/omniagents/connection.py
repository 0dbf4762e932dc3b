"""One multiplexed connection to a guest: requests out, futures back.

Two threads a connection: one writes what is queued, so that no caller (and no event loop) ever
blocks on a full pipe; one reads and completes futures. The guest is on the untrusted side: a
frame that breaks a rule ends the connection.
"""

from __future__ import annotations

import itertools
import logging
import queue
import secrets
import threading
import time
import weakref
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future
from typing import Any, ClassVar

from omniagents.errors import BackendStartError, GuestCallError
from omniagents.guest import loader, protocol
from omniagents.records import Reply

__all__ = ["ByteStream", "Connection", "ConnectionLost", "PendingCall", "connect", "new_nonce"]

_log = logging.getLogger("omniagents")

_CONNECT_SECONDS = 60.0
_SILENCE_SECONDS = 30.0  # a guest that owes an answer and says nothing for so long, pings included, is stopped or gone
_MAX_NOISE = 1 << 20
_DEFAULT_MAX_REPLY = 256 << 20


class ByteStream(ABC):
    """A duplex stream of raw bytes to a process inside an environment; one thread reads, one writes."""

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


class ConnectionLost(Exception):
    """The stream ended, or can no longer be trusted. Not public: the workspace says what it means."""


class PendingCall:
    """A request, queued or under way.

    ``future`` completes with a ``Reply``, a ``GuestCallError`` or a ``BackendError``; cancelling it reaches the guest.

    Args:
        more: Further input will follow through ``send``.
        stream: Hand the output over as it comes (``pieces``, ``events``) instead of collecting it.
        max_reply: A larger collected answer ends the connection, bytes.
    """

    def __init__(
        self,
        operation: str,
        arguments: Mapping[str, Any],
        payload: bytes = b"",
        *,
        more: bool = False,
        stream: bool = False,
        max_reply: int = _DEFAULT_MAX_REPLY,
    ) -> None:
        self.id = 0
        self.operation = operation
        self.future: Future[Reply] = Future()
        # The pid of a streamed process; 0 where there is none.
        self.started: Future[int] = Future()
        self._arguments = arguments
        self._first, self._rest = payload[: protocol.MAX_PAYLOAD], payload[protocol.MAX_PAYLOAD :]
        self._more = more
        self._max_reply = max_reply
        self._connection: Connection | None = None
        self._parts: list[bytes] = []
        self._size = 0
        self._credit = 0
        self._credited = threading.Condition()
        self._owed = 0
        # Streamed output: (stream number, bytes), then None at the end.
        self.output: queue.SimpleQueue[tuple[int, bytes] | None] | None = queue.SimpleQueue() if stream else None

    def attach(self, connection: Connection, call_id: int) -> None:
        """Called by the connection that takes the call on: send the request and what input is there."""
        self.id, self._connection = call_id, connection
        header = {
            "type": "call",
            "id": call_id,
            "op": self.operation,
            "args": self._arguments,
            "more": self._more or bool(self._rest),
        }
        connection.post(header, self._first)
        rest, self._rest = self._rest, b""
        if rest:
            threading.Thread(target=self._send, args=(rest, self._more), daemon=True).start()
        self.credit(protocol.WINDOW - len(self._first))
        self._first = b""

    def send(self, data: bytes, *, more: bool) -> None:
        """Send a further piece of input; waits while the guest is not taking any. Of no effect once answered."""
        self._send(data, more)

    def _send(self, data: bytes, more: bool) -> None:
        parts = protocol.pieces(data)
        for left, piece in zip(range(len(parts) - 1, -1, -1), parts, strict=True):
            with self._credited:
                while (self._connection is None or self._credit < len(piece)) and not self.future.done():
                    self._credited.wait()
                if self.future.done() or self._connection is None:
                    return
                self._credit -= len(piece)
            self._connection.post({"type": "data", "id": self.id, "more": more or left > 0}, piece)

    def pieces(self) -> Iterator[bytes]:
        """The output of a streaming call as it comes; raises what the future raises at its end."""
        for _, data in self.events():
            yield data
        final = self.future.result()
        if final.payload:
            yield final.payload

    def events(self) -> Iterator[tuple[int, bytes]]:
        """Like ``pieces``, with the stream's number (1 stdout, 2 stderr)."""
        assert self.output is not None
        while (event := self.output.get()) is not None:
            yield event
            self.taken(len(event[1]))
        self.output.put(None)  # whoever asks again is told again

    def taken(self, size: int) -> None:
        """Let the guest send as much again; small amounts are saved up."""
        self._owed += size
        if self._owed >= protocol.CHUNK and not self.future.done() and self._connection is not None:
            self._connection.post({"type": "credit", "id": self.id, "bytes": self._owed})
            self._owed = 0

    def receive(self, header: Mapping[str, Any], payload: bytes) -> None:
        """Called by the reader with a data frame."""
        if self.output is not None:
            self.output.put((header.get("stream", 1), payload))
            return
        self._size += len(payload)
        if self._size > self._max_reply:
            raise protocol.FrameError(f"more than {self._max_reply} bytes in answer to one call")
        self._parts.append(payload)
        self.taken(len(payload))

    def credit(self, amount: int) -> None:
        with self._credited:
            self._credit += amount
            self._credited.notify_all()

    def complete(self, value: dict[str, Any], payload: bytes) -> None:
        whole = b"".join([*self._parts, payload]) if self._parts else payload
        self._end(lambda: self.future.set_result(Reply(value, whole)))

    def fail(self, error: BaseException) -> None:
        self._end(lambda: self.future.set_exception(error))

    def _end(self, settle: Callable[[], None]) -> None:
        # False: cancelled, and nobody is waiting any more.
        if self.future.set_running_or_notify_cancel():
            settle()
        self.release()

    def release(self) -> None:
        """Wake whoever waits for anything but the answer."""
        if not self.started.done():
            self.started.set_result(0)
        with self._credited:
            self._credited.notify_all()
        if self.output is not None:
            self.output.put(None)


class Connection:
    """A live guest. Made by ``connect``.

    Attributes:
        hello: What the guest said of itself and its environment; untrusted.
    """

    def __init__(self, stream: ByteStream, text: bool, on_lost: Callable[[Connection], None]) -> None:
        self.hello: dict[str, Any] = {}
        self.lost: str | None = None
        self._stream = stream
        self._text = text
        self._on_lost = on_lost
        self._ids = itertools.count(1)
        self._calls: dict[int, PendingCall] = {}
        self._abandoned: set[int] = set()
        self._lock = threading.Lock()
        self._outbox: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        self._last_heard = time.monotonic()
        self._hello: Future[dict[str, Any]] = Future()

    def submit(self, call: PendingCall) -> None:
        """Send a request; returns at once.

        Raises:
            ConnectionLost: The connection has ended; nothing was sent.
        """
        with self._lock:
            if self.lost is not None:
                raise ConnectionLost(self.lost)
            if not self._calls:
                self._last_heard = time.monotonic()
            call_id = next(self._ids)
            self._calls[call_id] = call
        call.attach(self, call_id)
        call.future.add_done_callback(lambda future: self._cancelled(call) if future.cancelled() else None)

    def post(self, header: dict[str, Any], payload: bytes = b"") -> None:
        """Queue one frame."""
        self._outbox.put(protocol.encode(header, payload, self._text))

    def close(self) -> None:
        """End the connection and the guest with everything it started; waiting calls fail."""
        with self._lock:
            if self.lost is None:
                self.lost = "the connection was closed"
        self._stream.close()
        self._outbox.put(None)

    @property
    def is_waiting(self) -> bool:
        return bool(self._calls)

    def check_silence(self) -> None:
        """Called by the watchdog: ping a guest that owes an answer, and give up one that does not even answer that."""
        if not self._calls or self.lost is not None:
            return
        silence = time.monotonic() - self._last_heard
        if silence > _SILENCE_SECONDS:
            self._lose(f"the guest has not answered for {silence:.0f} s")
            self._stream.close()
        elif silence > _SILENCE_SECONDS / 4:
            self.post({"type": "ping"})

    def start(self, settings: Mapping[str, Any], nonce: str) -> None:
        """Deliver the guest, start it with ``settings`` and wait for its hello."""
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
        reader = protocol.FrameReader(self._text)
        reason = "the guest's process ended"
        try:
            data = _after_preamble(self._stream, protocol.PREAMBLE + nonce.encode() + b"\n")
            while True:
                for header, payload in reader.feed(data):
                    self._dispatch(header, payload)
                self._last_heard = time.monotonic()
                data = self._stream.read()
                if not data:
                    break
        except (protocol.FrameError, KeyError, TypeError, ValueError) as error:
            reason = f"the guest broke the protocol: {error!r}"
            _log.warning("closing the connection to a guest: %s", reason)
        except (OSError, ConnectionLost) as error:
            reason = str(error)
        self._lose(reason)
        self._stream.close()
        self._outbox.put(None)
        self._on_lost(self)

    def _dispatch(self, header: dict[str, Any], payload: bytes) -> None:
        kind = header["type"]
        if kind == "pong":
            return
        if kind == "hello":
            self._hello.set_result(header)
            return
        call_id = header["id"]
        if kind == "refusal" and call_id == 0:
            self._hello.set_exception(BackendStartError(str(_refusal(header["failure"]))))
            return
        with self._lock:
            call = self._calls.get(call_id)
            if kind in ("reply", "refusal"):
                self._calls.pop(call_id, None)
                if call is None:
                    self._abandoned.remove(call_id)
            elif call is None and call_id not in self._abandoned:
                raise KeyError(call_id)
        if call is None:
            return
        if kind == "reply":
            call.complete(_checked(header["value"], dict), payload)
        elif kind == "refusal":
            call.fail(_refusal(header["failure"]))
        elif kind == "data":
            call.receive(header, payload)
        elif kind == "credit":
            call.credit(_checked(header["bytes"], int))
        elif kind == "started":
            if not call.started.done():
                call.started.set_result(_checked(header["pid"], int))
        else:
            raise ValueError(f"a frame of type {kind!r}")

    def _cancelled(self, call: PendingCall) -> None:
        with self._lock:
            if self._calls.pop(call.id, None) is None:
                return
            self._abandoned.add(call.id)
        self.post({"type": "cancel", "id": call.id})
        call.release()

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
    except BackendStartError:
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
            time.sleep(_SILENCE_SECONDS / 8)
            with self._lock:
                connections = list(self._connections)
            while connections:  # emptied: a sleeping watchdog keeps nothing alive
                connections.pop().check_silence()


def _after_preamble(stream: ByteStream, preamble: bytes) -> bytes:
    noise = b""
    while preamble not in noise:
        data = stream.read()
        if not data:
            raise ConnectionLost("the guest's process ended before it said anything")
        noise += data
        if len(noise) > _MAX_NOISE:
            raise ConnectionLost("the environment printed more than 1 MiB before the guest started")
    return noise.partition(preamble)[2]


def _refusal(failure: Mapping[str, Any]) -> GuestCallError:
    details = dict(_checked(failure.get("details", {}), dict))
    for name in ("path", "errno"):
        if name in failure:
            details[name] = failure[name]
    return GuestCallError(_checked(failure["message"], str), code=_checked(failure["code"], str), details=details)


def _checked(value: Any, kind: type) -> Any:
    if not isinstance(value, kind):
        raise TypeError(f"{kind.__name__} expected, not {value!r:.80}")
    return value
