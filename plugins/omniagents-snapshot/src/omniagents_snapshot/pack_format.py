"""How a pack is written down: a magic, sealed segments, a sealed trailer index, and the trailer's size.

The trailer repeats where every chunk is, so that a pack can be checked and its chunks
found again without any tree. Trees do not need it: reading a snapshot reads segments only.
"""

from __future__ import annotations

import secrets
import struct
from collections.abc import Iterator, Sequence
from itertools import accumulate, islice, pairwise
from typing import NamedTuple

from omniagents_snapshot.columns import pack_fields, pack_ints, pieces, unpack_fields, unpack_ints
from omniagents_snapshot.limits import CHUNK_MAX_BYTES, PACK_MAX_BYTES
from omniagents_snapshot.model import Origin, Pack, Place, Segment
from omniagents_snapshot.sealing import CHUNK_ID_BYTES, Sealer

__all__ = [
    "MAGIC",
    "NO_CHUNK",
    "SealedSegment",
    "build_pack",
    "chunks_of",
    "decode_pack",
    "pack_places",
    "packed_size",
    "placed_segments",
]

MAGIC = b"OASPACK1"
#: In the place of a chunk's id: this part of a segment was needed by nobody when a prune moved the segment.
NO_CHUNK = bytes(CHUNK_ID_BYTES)
_DIGEST_BYTES = 32
_FOOTER = struct.Struct("<I8s")


class SealedSegment(NamedTuple):
    """A segment ready to be packed: its stored bytes, and the ids and sizes of the chunks in it.

    Attributes:
        ids: ``NO_CHUNK`` for a part of which nothing is said.
        origin: What trees call it by, if that is not its place in this pack.
    """

    stored: bytes
    ids: tuple[bytes, ...]
    sizes: tuple[int, ...]
    origin: Origin | None = None


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
    if any(segment.origin for segment in segments):
        origins = [segment.origin or ("0" * 2 * _DIGEST_BYTES, 0) for segment in segments]
        fields["origin_digests"] = b"".join(bytes.fromhex(digest) for digest, _ in origins)
        fields["origin_offsets"] = pack_ints("I", (offset for _, offset in origins))
    trailer = sealer.seal(pack_fields(fields), "trailer")
    return b"".join([MAGIC, *(s.stored for s in segments), trailer, _FOOTER.pack(len(trailer), MAGIC)])


def pack_places(pack: Pack, segments: Sequence[SealedSegment]) -> set[tuple[bytes, Place]]:
    """Each chunk with its place, once the pack has its name; one that was moved here may be in several."""
    return {
        (chunk, Place(segment, offset, size))
        for segment, sealed in placed_segments(pack, segments)
        for chunk, offset, size in chunks_of(sealed)
    }


def placed_segments(pack: Pack, segments: Sequence[SealedSegment]) -> Iterator[tuple[Segment, SealedSegment]]:
    """Each segment with its place in the pack."""
    start = len(MAGIC)
    for sealed in segments:
        yield Segment(pack, start, len(sealed.stored), sum(sealed.sizes)), sealed
        start += len(sealed.stored)


def chunks_of(sealed: SealedSegment) -> Iterator[tuple[bytes, int, int]]:
    """Id, offset and size of each chunk."""
    for chunk, size, end in zip(sealed.ids, sealed.sizes, accumulate(sealed.sizes), strict=True):
        if chunk != NO_CHUNK:
            yield chunk, end - size, size


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
    origins = _decode_origins(fields, len(counts))
    rows = iter(range(len(sizes)))
    bounds = pairwise(accumulate(stored, initial=len(MAGIC)))
    segments = []
    for (start, stop), count, origin in zip(bounds, counts, origins, strict=True):
        chosen = list(islice(rows, count))
        ids = tuple(blob[row * CHUNK_ID_BYTES : (row + 1) * CHUNK_ID_BYTES] for row in chosen)
        segments.append(SealedSegment(data[start:stop], ids, tuple(sizes[row] for row in chosen), origin))
        if sum(segments[-1].sizes) > CHUNK_MAX_BYTES:
            raise ValueError("has a segment of an impossible size")
    return segments


def _decode_origins(fields: dict[str, bytes], count: int) -> Sequence[Origin | None]:
    if "origin_digests" not in fields:
        return [None] * count
    offsets = unpack_ints("I", fields["origin_offsets"], count)
    digests = pieces(fields["origin_digests"], _DIGEST_BYTES)
    if len(digests) != count:
        raise ValueError("has a trailer that does not add up")
    return [(digest.hex(), offset) if any(digest) else None for digest, offset in zip(digests, offsets, strict=True)]
