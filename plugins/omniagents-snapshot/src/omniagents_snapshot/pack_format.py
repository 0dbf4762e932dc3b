"""How a pack is written down: a magic, sealed segments, a sealed trailer index, and the trailer's size.

The trailer repeats where every chunk is, so that a pack can be checked and its chunks
found again without any tree. Trees do not need it: reading a snapshot reads segments only.
"""

from __future__ import annotations

import secrets
import struct
from collections.abc import Sequence
from itertools import accumulate, islice, pairwise
from typing import NamedTuple

from omniagents_snapshot.columns import pack_fields, pack_ints, unpack_fields, unpack_ints
from omniagents_snapshot.limits import CHUNK_MAX_BYTES, PACK_MAX_BYTES
from omniagents_snapshot.model import Pack, Place, Segment
from omniagents_snapshot.sealing import CHUNK_ID_BYTES, Sealer

__all__ = ["MAGIC", "SealedSegment", "build_pack", "decode_pack", "pack_places", "packed_size"]

MAGIC = b"OASPACK1"
_FOOTER = struct.Struct("<I8s")


class SealedSegment(NamedTuple):
    """A segment ready to be packed: its stored bytes, and the ids and sizes of the chunks in it."""

    stored: bytes
    ids: tuple[bytes, ...]
    sizes: tuple[int, ...]


def packed_size(stored: int, segments: int, chunks: int) -> int:
    """At most how large a pack of so much would be."""
    return len(MAGIC) + stored + _FOOTER.size + 512 + 12 * segments + (CHUNK_ID_BYTES + 4) * chunks


def build_pack(segments: Sequence[SealedSegment], sealer: Sealer) -> bytes:
    """The bytes of a pack. Two of the same segments differ, so that a pack about to be deleted is never meant by
    the name of one just stored."""
    ids = [chunk for segment in segments for chunk in segment.ids]
    fields = {
        "salt": secrets.token_bytes(16),
        "stored": pack_ints("I", (len(segment.stored) for segment in segments)),
        "counts": pack_ints("I", (len(segment.ids) for segment in segments)),
        "ids": b"".join(ids),
        "sizes": pack_ints("I", (size for segment in segments for size in segment.sizes)),
    }
    trailer = sealer.seal(pack_fields(fields), "trailer")
    return b"".join([MAGIC, *(s.stored for s in segments), trailer, _FOOTER.pack(len(trailer), MAGIC)])


def pack_places(pack: Pack, segments: Sequence[SealedSegment]) -> dict[bytes, Place]:
    """Where each chunk is, once the pack has its name."""
    places: dict[bytes, Place] = {}
    start = len(MAGIC)
    for sealed in segments:
        segment = Segment(pack, start, len(sealed.stored), sum(sealed.sizes))
        start += segment.stored
        ends = accumulate(sealed.sizes)
        for chunk, size, end in zip(sealed.ids, sealed.sizes, ends, strict=True):
            places[chunk] = Place(segment, end - size, size)
    return places


def decode_pack(data: bytes, sealer: Sealer) -> list[SealedSegment]:
    """The segments of a whole pack, still sealed.

    Raises:
        ValueError: It is damaged.
    """
    if len(data) < len(MAGIC) + _FOOTER.size or not data.startswith(MAGIC):
        raise ValueError("does not begin as a pack")
    length, magic = _FOOTER.unpack(data[-_FOOTER.size :])
    end = len(data) - _FOOTER.size - length
    if magic != MAGIC or end < len(MAGIC):
        raise ValueError("does not end as a pack")
    raw = sealer.open(data[end : -_FOOTER.size], "trailer", PACK_MAX_BYTES * 2)
    try:
        return _decode_trailer(unpack_fields(raw), data, end)
    except (KeyError, TypeError) as error:
        raise ValueError(f"lacks or mistakes a part of its trailer ({error!r:.200})") from error


def _decode_trailer(fields: dict[str, bytes], data: bytes, end: int) -> list[SealedSegment]:
    counts = unpack_ints("I", fields["counts"])
    stored = unpack_ints("I", fields["stored"], len(counts))
    sizes = unpack_ints("I", fields["sizes"], sum(counts))
    blob = fields["ids"]
    if len(blob) != len(sizes) * CHUNK_ID_BYTES or sum(stored) != end - len(MAGIC):
        raise ValueError("has a trailer that does not add up")
    rows = iter(range(len(sizes)))
    bounds = pairwise(accumulate(stored, initial=len(MAGIC)))
    segments = []
    for (start, stop), count in zip(bounds, counts, strict=True):
        chosen = list(islice(rows, count))
        ids = tuple(blob[row * CHUNK_ID_BYTES : (row + 1) * CHUNK_ID_BYTES] for row in chosen)
        segments.append(SealedSegment(data[start:stop], ids, tuple(sizes[row] for row in chosen)))
        if sum(segments[-1].sizes) > CHUNK_MAX_BYTES:
            raise ValueError("has a segment of an impossible size")
    return segments
