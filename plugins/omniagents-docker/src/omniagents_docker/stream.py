"""The attach socket of an exec, as a stream of bytes to the process behind it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Final

from omniagents.connection import ByteStream
from omniagents_docker.channel import Channel

__all__ = ["ExecStream"]

# Docker Engine API, "Attach to a container": stream type, three zero bytes, size as big-endian 32 bits.
_HEADER: Final = 8
_STDERR: Final = 2

_READ_BYTES: Final = 1 << 18
_KEPT_ERROR_BYTES: Final = 4096


class ExecStream(ByteStream):
    """Standard input and output of a process in a container; what it prints on standard error is kept for messages.

    Args:
        channel: Ours from now on.
        end: Called once by ``close``, when the channel is shut: sees to it that the process ends.
    """

    def __init__(self, channel: Channel, end: Callable[[], None]) -> None:
        self._channel = channel
        self._end = end
        self._closing = threading.Lock()
        self._is_closed = False
        self._header = b""
        self._left = 0
        self._is_stderr = False
        self._errors = b""
        #: When something was last sent, on the monotonic clock.
        self.last_sent = time.monotonic()

    def read(self) -> bytes:
        while True:
            try:
                data = self._channel.read(_READ_BYTES)
            except (OSError, ValueError):
                return b""  # reset by an engine that went away, or closed by us
            if not data:
                return b""
            output = self._demultiplex(data)
            if output:
                return output

    def write(self, data: bytes) -> None:
        self.last_sent = time.monotonic()
        self._channel.write(data)

    @property
    def has_ended(self) -> bool:
        """Whether the process, from which nothing was read yet, has ended; asks nobody."""
        return self._channel.has_ended

    def fail(self) -> None:
        """Let the reader find the stream at its end; the process is not looked after."""
        self._channel.shut()

    def close(self) -> None:
        self.fail()
        with self._closing:
            if not self._is_closed:
                self._is_closed = True
                self._end()
                # A blocked reader has been woken, and is waited for here.
                self._channel.close()

    def diagnostics(self) -> str:
        return self._errors.decode("utf-8", "replace")

    def _demultiplex(self, data: bytes) -> bytes:
        """What of ``data`` is standard output."""
        output = []
        view = memoryview(data)
        while view:
            if not self._left:
                view = self._take_header(view)
                continue
            piece, view = view[: self._left], view[self._left :]
            self._left -= len(piece)
            if self._is_stderr:
                self._errors = (self._errors + piece)[-_KEPT_ERROR_BYTES:]
            else:
                output.append(piece)
        return b"".join(output)

    def _take_header(self, view: memoryview) -> memoryview:
        missing = _HEADER - len(self._header)
        self._header += view[:missing]
        if len(self._header) == _HEADER:
            self._is_stderr = self._header[0] == _STDERR
            self._left = int.from_bytes(self._header[4:], "big")
            self._header = b""
        return view[missing:]
