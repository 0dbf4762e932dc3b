"""The text carrier: frames as numbered lines, for a channel of text that may lose lines, or bring them twice.

A line is ``#NUMBER ACKNOWLEDGED CHECKSUM CONTENT``: its number in its direction, from 1 on; the number of the last line
that arrived from the other side; CRC-32 of all else; and frames in base64, or ``@`` and the path of a file in the
environment that has them raw (only towards the guest; reading it removes it). Whatever is no whole line is noise.

Line 0 asks the other side to send again what was not acknowledged. Only the host asks, since only the host connects.
"""

from __future__ import annotations

import base64
import binascii
import collections
import threading
from typing import Callable, Deque, List, Tuple

from .protocol import MAX_HEADER, MAX_PAYLOAD, MAX_REQUEST_HEADER, FrameError

__all__ = ["Carrier"]

_MOST_KEPT = 64 << 20


class Carrier:
    """One side's numbers in both directions, and the lines that the other side has not acknowledged.

    Lines must be sent in the order in which they were made; one thread receives.

    Args:
        read_file: What a path means. The host has none: a guest names no files to it.

    Attributes:
        is_asked: The other side asks for ``again``; whoever answers resets it.
        misses_lines: A line came that is not the next one: those between are to be asked for.
    """

    def __init__(self, read_file: Callable[[bytes], bytes] | None = None, most_kept: int = _MOST_KEPT) -> None:
        self.is_asked = False
        self.misses_lines = False
        self._read_file = read_file
        # The guest trusts the host with larger headers.
        self._most_line = ((MAX_HEADER if read_file is None else MAX_REQUEST_HEADER) + MAX_PAYLOAD) * 3 // 2
        self._most_kept = most_kept
        self._lock = threading.Lock()
        self._sent = self._acknowledged = self._received = 0
        self._kept: Deque[Tuple[int, bytes]] = collections.deque()
        self._kept_bytes = 0
        self._partial = bytearray()

    def line(self, frames: bytes) -> bytes:
        """The next line, with raw frames."""
        return self._next(base64.b64encode(frames))

    def line_of_file(self, path: str) -> bytes:
        """The next line, with the raw frames in a file of the environment's."""
        return self._next(b"@" + path.encode())

    def again(self) -> List[bytes]:
        """All lines that were not acknowledged.

        Raises:
            FrameError: Some are not kept any more.
        """
        with self._lock:
            if self._sent - self._acknowledged > len(self._kept):
                raise FrameError("more was lost than is kept")
            return [line for _, line in self._kept]

    def question(self) -> bytes:
        """Line 0."""
        return self._line(0, b"?")

    def cut(self) -> None:
        """The channel was connected again: what came of a line so far has no end."""
        self._partial.clear()

    def received(self, data: bytes) -> bytes:
        """The raw frames in what arrived, each once and in order.

        Raises:
            FrameError: A line without end.
        """
        self._partial += data
        end = self._partial.rfind(b"\n")
        if end < 0:
            if len(self._partial) > self._most_line:
                raise FrameError("a line of more than %d bytes" % len(self._partial))
            return b""
        lines = bytes(self._partial[:end])
        del self._partial[: end + 1]
        return b"".join([self._content(line) for line in lines.split(b"\n")])

    def _content(self, line: bytes) -> bytes:
        number, acknowledged, content = _parsed(line)
        if number < 0:
            return b""
        with self._lock:
            self._acknowledge(acknowledged)
            if number == 0:
                self.is_asked = True
                return b""
            is_next = number == self._received + 1
            self.misses_lines = not is_next and (self.misses_lines or number > self._received)
            self._received += is_next
        if not is_next:
            return b""
        if self._read_file is not None and content.startswith(b"@"):
            return self._read_file(content[1:])
        return base64.b64decode(content)

    def _acknowledge(self, number: int) -> None:
        if not self._acknowledged <= number <= self._sent:
            return  # of a line that was sent again
        self._acknowledged = number
        while self._kept and self._kept[0][0] <= number:
            self._kept_bytes -= len(self._kept.popleft()[1])

    def _next(self, content: bytes) -> bytes:
        with self._lock:
            self._sent += 1
            line = self._line(self._sent, content)
            self._kept.append((self._sent, line))
            self._kept_bytes += len(line)
            while self._kept_bytes > self._most_kept:
                self._kept_bytes -= len(self._kept.popleft()[1])
            return line

    def _line(self, number: int, content: bytes) -> bytes:
        numbers = b"%d %d " % (number, self._received)
        # Begins a line, whatever came before and was not ended.
        return b"\n#%s%d %s\n" % (numbers, binascii.crc32(content, binascii.crc32(numbers)), content)


def _parsed(line: bytes) -> Tuple[int, int, bytes]:
    """Number, acknowledged number and content; -1 as the number of what is no whole line."""
    number, acknowledged, checksum, content = (*line.strip()[1:].split(b" ", 3), b"", b"", b"")[:4]
    numbers = b"%s %s " % (number, acknowledged)
    if not line.startswith(b"#") or checksum != b"%d" % binascii.crc32(content, binascii.crc32(numbers)):
        return -1, 0, b""
    return int(number), int(acknowledged), content
