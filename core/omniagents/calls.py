"""One request to a guest: its input on the way there, its answer on the way back.

The guest is on the untrusted side: what it sends is counted, and more than was asked for is an error.
"""

from __future__ import annotations

import itertools
import queue
import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future
from typing import Any, Protocol

from omniagents.guest import protocol
from omniagents.records import Reply

__all__ = ["Channel", "PendingCall"]

_DEFAULT_MAX_REPLY = 256 << 20

# One sequence for all connections: a number names one call for good, whichever guest it went to.
_ids = itertools.count(1)


class Channel(Protocol):
    """What a call needs of its connection: queueing frames for the guest, which never blocks."""

    def post(self, header: dict[str, Any], payload: bytes = b"") -> None: ...

    def post_frame(self, frame: bytes) -> None: ...


class PendingCall:
    """A request, queued or under way.

    ``future`` completes with a ``Reply``, a ``GuestCallError`` or a ``BackendError``; cancelling it reaches the guest.

    Args:
        arguments: JSON values.
        more: Further input will follow through ``send``.
        stream: Hand the output over as it comes (``pieces``, ``events``) instead of collecting it.
        max_reply: A larger collected answer ends the connection, bytes.

    Raises:
        TypeError: ``arguments`` are not JSON values.
        ValueError: They are more than the guest takes (32 MiB of JSON).
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
        self.id = next(_ids)
        self.future: Future[Reply] = Future()
        first, self._rest = payload[: protocol.MAX_PAYLOAD], payload[protocol.MAX_PAYLOAD :]
        header = {"type": "call", "id": self.id, "op": operation, "args": arguments, "more": more or bool(self._rest)}
        self._frame = protocol.encode(header, first)
        if len(self._frame) > protocol.MAX_REQUEST_HEADER:
            raise ValueError(f"{operation}: {len(self._frame):,} bytes of arguments; at most 32 MiB can be sent")
        self._more = more
        self._first_credit = protocol.WINDOW - len(first)
        self._max_reply = max_reply
        self._channel: Channel | None = None
        self._collected = bytearray()
        self._credit = 0
        self._credited = threading.Condition()
        self._unread = 0
        self._owed = 0
        self._pid = 0
        self._has_started = threading.Event()
        # Streamed output: (stream number, bytes), then None at the end.
        self._output: queue.SimpleQueue[tuple[int, bytes] | None] | None = queue.SimpleQueue() if stream else None
        self.future.add_done_callback(self._release)

    def attach(self, channel: Channel) -> None:
        """Called by the connection that takes the call on: send the request and what input is there."""
        channel.post_frame(self._frame)
        rest, self._frame, self._rest = self._rest, b"", b""
        with self._credited:
            # Only now, behind the request: a sender may have been waiting since before there was a connection.
            self._channel, self._credit = channel, self._first_credit
            self._credited.notify_all()
        if rest:
            threading.Thread(target=self._send, args=(rest, self._more), daemon=True, name="omniagents-send").start()

    def send(self, data: bytes, *, more: bool) -> bool:
        """Send a further piece of input; waits while the guest is not taking any. False once the call has ended."""
        return self._send(data, more)

    def _send(self, data: bytes, more: bool) -> bool:
        parts = protocol.pieces(data)
        for left, piece in zip(range(len(parts) - 1, -1, -1), parts, strict=True):
            with self._credited:
                while (self._channel is None or self._credit < len(piece)) and not self.future.done():
                    self._credited.wait()
                if self.future.done() or self._channel is None:
                    return False
                self._credit -= len(piece)
            self._channel.post({"type": "data", "id": self.id, "more": more or left > 0}, piece)
        return True

    def wait_for_pid(self) -> int:
        """The pid of a streamed process once it runs; 0 where the call ended before that."""
        self._has_started.wait()
        return self._pid

    def pieces(self) -> Iterator[bytes]:
        """The output of a streaming call as it comes; raises what the future raises at its end."""
        for _, data in self.events():
            yield data
        final = self.future.result()
        if final.payload:
            yield final.payload

    def events(self) -> Iterator[tuple[int, bytes]]:
        """Like ``pieces``, with the stream's number (1 stdout, 2 stderr)."""
        assert self._output is not None
        while (event := self._output.get()) is not None:
            yield event
            self._taken(event[1])
        self._output.put(None)  # whoever asks again is told again

    def _taken(self, piece: bytes) -> None:
        """Let the guest send as much again; small amounts are saved up."""
        cost = protocol.cost(piece)
        self._owed += cost
        if self._owed >= protocol.CHUNK and not self.future.done() and self._channel is not None:
            owed, self._owed = self._owed, 0
            with self._credited:
                self._unread -= owed
            self._channel.post({"type": "credit", "id": self.id, "bytes": owed})

    def receive(self, stream: int, piece: bytes) -> None:
        """Called by the reader with a piece of output.

        Raises:
            FrameError: The guest sends more than it may.
        """
        with self._credited:
            self._unread += protocol.cost(piece)
            if self._unread >= protocol.WINDOW + protocol.LEAST_COST:
                raise protocol.FrameError("more output than there was credit for")
        if self._output is not None:
            self._output.put((stream, piece))
            return
        if len(self._collected) + len(piece) > self._max_reply:
            raise protocol.FrameError(f"more than {self._max_reply} bytes in answer to one call")
        self._collected += piece
        self._taken(piece)

    def credit(self, amount: int) -> None:
        """Called by the reader: the guest takes ``amount`` bytes more.

        Raises:
            FrameError: That is not what it can have taken.
        """
        with self._credited:
            if not 0 < amount <= protocol.WINDOW - self._credit:
                raise protocol.FrameError(f"a credit of {amount} bytes")
            self._credit += amount
            self._credited.notify_all()

    def started(self, pid: int) -> None:
        """Called by the reader: the process runs."""
        self._pid = pid
        self._has_started.set()

    def complete(self, value: dict[str, Any], payload: bytes) -> None:
        whole = bytes(self._collected) + payload if self._collected else payload
        self._collected.clear()
        self._settle(lambda: self.future.set_result(Reply(value, whole)))

    def fail(self, error: BaseException) -> None:
        self._settle(lambda: self.future.set_exception(error))

    def _settle(self, settle: Callable[[], None]) -> None:
        # False: cancelled, and nobody is waiting any more.
        if self.future.set_running_or_notify_cancel():
            settle()

    def _release(self, future: Future[Reply]) -> None:
        """The call has ended, one way or another: wake whoever waits for anything but the answer."""
        self._has_started.set()
        with self._credited:
            self._credited.notify_all()
        if self._output is not None:
            self._output.put(None)
