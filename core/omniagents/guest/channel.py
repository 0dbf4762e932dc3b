"""The stream to the host, and the calls on it with their credit."""

from __future__ import annotations

import collections
import os
import signal
import threading
from typing import TYPE_CHECKING, Any, Callable, Deque, Dict, List

from . import protocol
from .context import Call, CallCancelled
from .failure import GuestFailure

if TYPE_CHECKING:
    from .carrier import Carrier

__all__ = ["Channel", "LiveCall"]


class Channel:
    """The stream to the host: whole frames from any thread to it, from it to one."""

    def __init__(self, source: int, sink: int, text: bool) -> None:
        self.source = source
        self._sink = sink
        self._reader = protocol.FrameReader(protocol.MAX_REQUEST_HEADER, protocol.MAX_PAYLOAD)
        self._carrier: Carrier | None = None
        if text:
            from .carrier import Carrier

            self._carrier = Carrier(_read_and_remove)
        self._lock = threading.Lock()

    def receive(self) -> List[protocol.Frame] | None:
        """The frames that have arrived; None at the end of the stream."""
        data = os.read(self.source, 1 << 20)
        if not data:
            return None
        if self._carrier is not None:
            data = self._carrier.received(data)
            if self._carrier.misses_lines:
                raise protocol.FrameError("a line is missing")
            if self._carrier.is_asked:
                self._carrier.is_asked = False
                with self._lock:
                    self._write(b"".join(self._carrier.again()))
        return self._reader.feed(data)

    def send(self, header: Dict[str, Any], payload: bytes = b"") -> None:
        self.send_frame(protocol.encode(header, payload))

    def send_frame(self, frame: bytes) -> None:
        with self._lock:
            self._write(self._carrier.line(frame) if self._carrier is not None else frame)

    def _write(self, data: bytes) -> None:
        left = memoryview(data)
        try:
            while left:
                left = left[os.write(self._sink, left) :]
        except OSError:
            # The host is gone; the loop learns it as it would from any order to stop.
            os.kill(os.getpid(), signal.SIGTERM)


class LiveCall(Call):
    """A call over the channel, with both directions' credit."""

    def __init__(
        self, call_id: int, channel: Channel, first: bytes, more: bool, forget: Callable[[int], object]
    ) -> None:
        self.id = call_id
        self._forget = forget
        self.cancelled = threading.Event()
        self.credit = protocol.WINDOW
        self._channel = channel
        self._changed = threading.Condition()
        self._input: Deque[bytes] = collections.deque([first] if first else [])
        self._input_ended = not more
        self._ungranted = 0

    def receive(self) -> bytes:
        with self._changed:
            while not self._input and not self._input_ended and not self.cancelled.is_set():
                self._changed.wait()
            if self.cancelled.is_set():
                raise CallCancelled
            piece = self._input.popleft() if self._input else b""
        self.grant(len(piece))
        return piece

    def send(self, data: bytes) -> None:
        for piece in protocol.pieces(data):
            with self._changed:
                while self.credit < protocol.cost(piece) and not self.cancelled.is_set():
                    self._changed.wait()
                if self.cancelled.is_set():
                    raise CallCancelled
                self.credit -= protocol.cost(piece)
            self._channel.send({"type": "data", "id": self.id}, piece)

    def send_now(self, data: bytes, stream: int) -> None:
        """Send without waiting: the loop asks for no more than ``credit`` allows."""
        self.credit -= protocol.cost(data)
        self._channel.send({"type": "data", "id": self.id, "stream": stream}, data)

    def send_event(self, header: Dict[str, Any]) -> None:
        self._channel.send({**header, "id": self.id})

    def grant(self, taken: int) -> None:
        """Let the host send as much again as was taken; small amounts are saved up."""
        self._ungranted += taken
        if self._ungranted >= protocol.CHUNK and not self._input_ended:
            self._channel.send({"type": "credit", "id": self.id, "bytes": self._ungranted})
            self._ungranted = 0

    def reply(self, value: Dict[str, Any], payload: bytes) -> None:
        if len(payload) > protocol.MAX_PAYLOAD:
            self.send(payload)
            payload = b""
        frame = protocol.encode({"type": "reply", "id": self.id, "value": value}, payload)
        if len(frame) - len(payload) > protocol.MAX_HEADER:
            raise GuestFailure("FILE_TOO_LARGE", "the answer is too large; ask for less at once")
        self._forget(self.id)
        self._channel.send_frame(frame)

    def refuse(self, failure: GuestFailure) -> None:
        self._forget(self.id)
        self._channel.send({"type": "refusal", "id": self.id, "failure": failure.as_header()})

    def arrived(self, data: bytes, more: bool) -> None:
        with self._changed:
            if data:
                self._input.append(data)
            self._input_ended = self._input_ended or not more
            self._changed.notify_all()

    def credited(self, amount: int) -> None:
        with self._changed:
            self.credit += amount
            self._changed.notify_all()

    def cancel(self) -> None:
        with self._changed:
            self.cancelled.set()
            self._changed.notify_all()


def _read_and_remove(path: bytes) -> bytes:
    with open(path, "rb") as file:
        os.unlink(path)
        return file.read()
