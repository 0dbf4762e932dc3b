"""Frames between host and guest: two big-endian 32-bit lengths, a header as ASCII JSON, a raw payload.

For channels that carry only text, ``carrier`` has the same bytes in lines.

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

import json
import struct
from typing import Any, Dict, List, Tuple

__all__ = [
    "CHUNK",
    "LEAST_COST",
    "MAX_HEADER",
    "MAX_PAYLOAD",
    "MAX_REQUEST_HEADER",
    "PREAMBLE",
    "WINDOW",
    "FrameError",
    "FrameReader",
    "cost",
    "encode",
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

LEAST_COST = 64  # about what keeping one piece costs beside its bytes
_LENGTHS = struct.Struct(">II")
_ENCODER = json.JSONEncoder(separators=(",", ":"), ensure_ascii=True)

Frame = Tuple[Dict[str, Any], bytes]


class FrameError(Exception):
    """The other side sent bytes that are not a frame, or one over the limits."""


def encode(header: Dict[str, Any], payload: bytes = b"") -> bytes:
    """The bytes of one frame."""
    head = _ENCODER.encode(header).encode("ascii")
    return b"".join((_LENGTHS.pack(len(head), len(payload)), head, payload))


def cost(piece: bytes) -> int:
    """What a piece of output takes of its call's credit, bytes."""
    return max(len(piece), LEAST_COST)


def pieces(payload: bytes, size: int = CHUNK) -> List[bytes]:
    """``payload`` in pieces of at most ``size`` bytes; one empty piece for nothing."""
    view = memoryview(payload)
    return [bytes(view[start : start + size]) for start in range(0, len(payload), size)] or [b""]


class FrameReader:
    """Turns arriving bytes into frames; the same bytes give the same frames however they are cut.

    Raises from ``feed``:
        FrameError: The bytes cannot be a frame. Nothing after that can be trusted: close the stream.
    """

    def __init__(self, max_header: int = MAX_HEADER, max_payload: int = MAX_PAYLOAD) -> None:
        self._max_header = max_header
        self._max_payload = max_payload
        self._buffer = bytearray()

    def feed(self, data: bytes) -> List[Frame]:
        buffer = self._buffer
        buffer += data
        frames: List[Frame] = []
        position = 0
        with memoryview(buffer) as view:
            while len(view) - position >= _LENGTHS.size:
                header_size, payload_size = _LENGTHS.unpack_from(view, position)
                if header_size > self._max_header or payload_size > self._max_payload:
                    raise FrameError("a frame of %d + %d bytes is over the limit" % (header_size, payload_size))
                start = position + _LENGTHS.size
                end = start + header_size + payload_size
                if len(view) < end:
                    break
                head = bytes(view[start : start + header_size])
                frames.append((_parse(head), bytes(view[start + header_size : end])))
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
