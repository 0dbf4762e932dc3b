"""Where segments are that a prune has moved. Trees go on naming them by the place that they were first stored in.

So a tree never changes, nor does anything that names one: a writer's ground, the history, what a machine remembers of a
workspace. One object lists the moves, ``HEAD`` names it, and a swap of ``HEAD`` puts another in its place.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from typing import NamedTuple

from omniagents_snapshot.columns import pack_fields, pack_ints, pieces, unpack_fields, unpack_ints
from omniagents_snapshot.limits import MOVES_MAX, PACK_MAX_BYTES, TREE_MAX_RAW_BYTES
from omniagents_snapshot.model import Origin, Pack, Place, Segment
from omniagents_snapshot.page_format import checked_segment
from omniagents_snapshot.sealing import Sealer

__all__ = ["Extents", "Move", "Moves", "decode_moves", "encode_moves", "extents_of", "origin_of"]

_DIGEST_BYTES = 32

#: Offset and size of parts of a segment's content, in order, apart from each other.
Extents = tuple[tuple[int, int], ...]


class Move(NamedTuple):
    """Where a segment is now, and the parts of its content that are still there; zeros are in place of others."""

    to: Segment
    kept: Extents


def origin_of(segment: Segment) -> Origin:
    return segment.pack.digest, segment.offset


def extents_of(parts: Iterable[tuple[int, int]]) -> Extents:
    """The parts in order, neighbours joined."""
    found: list[tuple[int, int]] = []
    for offset, size in sorted(parts):
        if found and sum(found[-1]) == offset:
            found[-1] = (found[-1][0], found[-1][1] + size)
        else:
            found.append((offset, size))
    return tuple(found)


class Moves:
    """All moves of a project."""

    def __init__(self, moves: Mapping[Origin, Move] | None = None) -> None:
        self._moves = dict(moves or {})
        self._packs: dict[str, set[Pack]] = {}
        for (digest, _), move in self._moves.items():
            self._packs.setdefault(digest, set()).add(move.to.pack)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Moves) and self._moves == other._moves

    __hash__ = None  # type: ignore[assignment]

    def __len__(self) -> int:
        return len(self._moves)

    def __iter__(self) -> Iterator[tuple[Origin, Move]]:
        return iter(self._moves.items())

    def get(self, segment: Segment) -> Move | None:
        """None if it is where trees say."""
        return self._moves.get(origin_of(segment)) if self._moves else None

    def locate(self, segment: Segment) -> Segment:
        """Where it is."""
        move = self.get(segment)
        return move.to if move else segment

    def has(self, place: Place) -> bool:
        """Whether the content of this place came along, if its segment was moved."""
        move = self.get(place.segment)
        return move is None or any(
            start <= place.offset and place.offset + place.size <= start + size for start, size in move.kept
        )

    def packs_of(self, pack: Pack) -> set[Pack]:
        """The packs that hold what a tree calls by this one: itself, or those that all of it was moved to."""
        return self._packs.get(pack.digest) or {pack}

    def only(self, packs: Iterable[Pack]) -> Moves:
        """The moves out of these packs."""
        digests = {pack.digest for pack in packs}
        return Moves({origin: move for origin, move in self._moves.items() if origin[0] in digests})


def encode_moves(moves: Moves, sealer: Sealer) -> bytes:
    """The bytes to store. The same moves differ every time, so that nobody deletes one list and means another."""
    rows = sorted(moves)
    sources = {digest: number for number, digest in enumerate(dict.fromkeys(digest for (digest, _), _ in rows))}
    targets = {pack: number for number, pack in enumerate(dict.fromkeys(move.to.pack for _, move in rows))}
    kept = [part for _, move in rows for part in move.kept]
    fields = {
        "salt": secrets.token_bytes(16),
        "from_digests": b"".join(map(bytes.fromhex, sources)),
        "to_digests": b"".join(bytes.fromhex(pack.digest) for pack in targets),
        "to_sizes": pack_ints("I", (pack.size for pack in targets)),
        "from_packs": pack_ints("I", (sources[digest] for (digest, _), _ in rows)),
        "from_offsets": pack_ints("I", (offset for (_, offset), _ in rows)),
        "to_packs": pack_ints("I", (targets[move.to.pack] for _, move in rows)),
        "to_offsets": pack_ints("I", (move.to.offset for _, move in rows)),
        "to_stored": pack_ints("I", (move.to.stored for _, move in rows)),
        "raw": pack_ints("I", (move.to.raw for _, move in rows)),
        "kept": pack_ints("I", (len(move.kept) for _, move in rows)),
        "kept_offsets": pack_ints("I", (offset for offset, _ in kept)),
        "kept_sizes": pack_ints("I", (size for _, size in kept)),
    }
    return sealer.seal(pack_fields(fields), "moves")


def decode_moves(stored: bytes, sealer: Sealer) -> Moves:
    """What ``encode_moves`` wrote.

    Raises:
        ValueError: It is damaged, or says something that cannot be.
    """
    fields = unpack_fields(sealer.open(stored, "moves", TREE_MAX_RAW_BYTES))
    try:
        return Moves(dict(_decoded(fields)))
    except (KeyError, TypeError, IndexError) as error:
        raise ValueError(f"lacks or mistakes a part ({error!r:.200})") from error


def _decoded(fields: Mapping[str, bytes]) -> Iterator[tuple[Origin, Move]]:
    sources = [digest.hex() for digest in pieces(fields["from_digests"], _DIGEST_BYTES)]
    digests = pieces(fields["to_digests"], _DIGEST_BYTES)
    sizes = unpack_ints("I", fields["to_sizes"], len(digests))
    targets = {n: Pack(digest.hex(), size) for n, (digest, size) in enumerate(zip(digests, sizes, strict=True))}
    numbers = unpack_ints("I", fields["from_packs"])
    if len(numbers) > MOVES_MAX or max(sizes, default=0) > PACK_MAX_BYTES:
        raise ValueError("lists more than may be moved")
    columns = (
        unpack_ints("I", fields[name], len(numbers))
        for name in ("from_offsets", "to_packs", "to_offsets", "to_stored", "raw")
    )
    counts = unpack_ints("I", fields["kept"], len(numbers))
    parts = zip(*(unpack_ints("I", fields[name], sum(counts)) for name in ("kept_offsets", "kept_sizes")), strict=True)
    for source, count, offset, target, *place in zip(numbers, counts, *columns, strict=True):
        yield (sources[source], offset), Move(checked_segment(target, place, targets), tuple(islice(parts, count)))
