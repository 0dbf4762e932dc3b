"""Frames between host and guest: a JSON header and a raw payload, on a byte stream or as lines of text.

Raw carrier: two big-endian 32-bit lengths, the header as ASCII JSON, the payload.
Text carrier (for channels that carry only text): the same bytes, base64, one frame a line. Towards the guest a line
may also be ``@`` and the path of a file in the environment with raw frames; reading it removes it.

Headers, host to guest:
    ``{"type": "start", ...}``                              once, see ``server``
    ``{"type": "call", "id", "op", "args", "more"}``        payload: the first piece of the call's input
    ``{"type": "data", "id", "more"}``                      payload: the next piece; ``more`` false ends it
    ``{"type": "credit", "id", "bytes"}``                   the guest may send that much more of this call's output
    ``{"type": "cancel", "id"}``  ``{"type": "ping"}``
and guest to host:
    ``{"type": "hello", ...}``                              once
    ``{"type": "data", "id", "stream"?}``                   payload: the next piece of output
    ``{"type": "reply", "id", "value"}``                    payload: the last piece; ends the call
    ``{"type": "refusal", "id", "failure"}``                ends the call
    ``{"type": "credit", "id", "bytes"}``  ``{"type": "pong"}``

Each direction of each call starts with ``WINDOW`` bytes of credit, so neither side buffers
without bound and one call cannot starve another. A piece of output costs ``cost(piece)``, which
is more than its size for tiny ones.
"""

from __future__ import annotations

import base64
import binascii
import json
import struct
from typing import Any, Callable, Dict, List, Tuple

__all__ = [
    "CHUNK",
    "FILE_LINE",
    "LEAST_COST",
    "MAX_HEADER",
    "MAX_PAYLOAD",
    "MAX_REQUEST_HEADER",
    "PREAMBLE",
    "WINDOW",
    "FrameError",
    "FrameReader",
    "as_text",
    "cost",
    "encode",
    "from_text",
    "pieces",
]

MAX_PAYLOAD = 1 << 20
MAX_HEADER = 1 << 20  # what the host accepts; the guest trusts the host with MAX_REQUEST_HEADER
MAX_REQUEST_HEADER = 32 << 20
CHUNK = 1 << 18
WINDOW = 1 << 22

# The guest's first bytes, followed by the nonce the host chose and a newline: whatever a login
# shell or a wrapper printed before is noise.
PREAMBLE = b"\nOMNIAGENTS-GUEST "

# Starts a line of the text carrier that names a file; base64 does not have it.
FILE_LINE = b"@"

LEAST_COST = 64  # about what keeping one piece costs beside its bytes
_LENGTHS = struct.Struct(">II")
_ENCODER = json.JSONEncoder(separators=(",", ":"), ensure_ascii=True)

Frame = Tuple[Dict[str, Any], bytes]


class FrameError(Exception):
    """The other side sent bytes that are not a frame, or one over the limits."""


def encode(header: Dict[str, Any], payload: bytes = b"", text: bool = False) -> bytes:
    """The bytes of one frame."""
    head = _ENCODER.encode(header).encode("ascii")
    frame = b"".join((_LENGTHS.pack(len(head), len(payload)), head, payload))
    return as_text(frame) if text else frame


def as_text(frame: bytes) -> bytes:
    """A raw frame as the text carrier has it."""
    return base64.b64encode(frame) + b"\n"


def from_text(lines: bytes) -> bytes:
    """Whole lines of the text carrier as raw frames."""
    return b"".join(map(base64.b64decode, lines.splitlines()))


def cost(piece: bytes) -> int:
    """What a piece of output takes of its call's credit, bytes."""
    return max(len(piece), LEAST_COST)


def pieces(payload: bytes, size: int = CHUNK) -> List[bytes]:
    """``payload`` in pieces of at most ``size`` bytes; one empty piece for nothing."""
    view = memoryview(payload)
    return [bytes(view[start : start + size]) for start in range(0, len(payload), size)] or [b""]


class FrameReader:
    """Turns arriving bytes into frames; the same bytes give the same frames however they are cut.

    Args:
        read_file: What a path in a line of the text carrier means. The host has none: a guest names no files to it.

    Raises from ``feed``:
        FrameError: The bytes cannot be a frame. Nothing after that can be trusted: close the stream.
    """

    def __init__(
        self,
        text: bool = False,
        max_header: int = MAX_HEADER,
        max_payload: int = MAX_PAYLOAD,
        read_file: Callable[[bytes], bytes] | None = None,
    ) -> None:
        self._text = text
        self._read_file = read_file
        self._max_header = max_header
        self._max_payload = max_payload
        self._buffer = bytearray()

    def feed(self, data: bytes) -> List[Frame]:
        self._buffer += data
        return self._lines() if self._text else self._frames(self._buffer)

    @property
    def is_between_frames(self) -> bool:
        return not self._buffer

    def _lines(self) -> List[Frame]:
        frames: List[Frame] = []
        end = self._buffer.rfind(b"\n")
        if end < 0:
            if len(self._buffer) > (self._max_header + self._max_payload) * 3 // 2:
                raise FrameError("a line of more than %d bytes" % len(self._buffer))
            return frames
        complete = bytes(self._buffer[:end])
        del self._buffer[: end + 1]
        for line in complete.split(b"\n"):
            try:
                if self._read_file is not None and line.startswith(FILE_LINE):
                    frame = bytearray(self._read_file(line[len(FILE_LINE) :]))
                else:
                    frame = bytearray(base64.b64decode(line.strip(), validate=True))
            except binascii.Error as error:
                raise FrameError("not base64: %r" % line[:80]) from error
            frames += self._frames(frame)
            if frame:
                raise FrameError("a line with part of a frame")
        return frames

    def _frames(self, buffer: bytearray) -> List[Frame]:
        frames: List[Frame] = []
        position = 0
        while len(buffer) - position >= _LENGTHS.size:
            header_size, payload_size = _LENGTHS.unpack_from(buffer, position)
            if header_size > self._max_header or payload_size > self._max_payload:
                raise FrameError("a frame of %d + %d bytes is over the limit" % (header_size, payload_size))
            start = position + _LENGTHS.size
            end = start + header_size + payload_size
            if len(buffer) < end:
                break
            head = bytes(buffer[start : start + header_size])
            frames.append((_parse(head), bytes(buffer[start + header_size : end])))
            position = end
        del buffer[:position]
        return frames


def _parse(head: bytes) -> Dict[str, Any]:
    try:
        header = json.loads(head)
    except (ValueError, RecursionError) as error:
        raise FrameError("a header that is not JSON: %r" % head[:80]) from error
    if not isinstance(header, dict) or not isinstance(header.get("type"), str):
        raise FrameError("a header without a type: %r" % head[:80])
    return header
