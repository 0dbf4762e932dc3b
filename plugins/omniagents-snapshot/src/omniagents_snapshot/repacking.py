"""Packs that are needed in small part only: what is needed of them is stored again, closer together.

Segments are taken as they are where most of one is needed, or else with zeros in place of what is not, which take no
room. Trees are not touched: a list of moves says where their segments are now.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import count, islice

from omniagents_snapshot.limits import CHUNK_MAX_BYTES, MOVES_MAX, PACK_BYTES
from omniagents_snapshot.model import Origin, Pack, Segment
from omniagents_snapshot.moves import Move, Moves, extents_of, origin_of
from omniagents_snapshot.needing import Needed
from omniagents_snapshot.pack_format import NO_CHUNK, SealedSegment, packed_size
from omniagents_snapshot.packing import Packer
from omniagents_snapshot.ranges import PackRange
from omniagents_snapshot.repository import Repository

__all__ = ["Packs", "Repacker", "worth_moving"]

# A pack, or a segment, is stored again when more than this part of it is needed by nobody: so at most three bytes are
# read and written for each one that is given back.
_WASTE = 0.25
# Not for less than this in a whole project.
_WORTH_BYTES = 64 << 10
# Packs below this size are joined when there are so many of them: each costs a request in a restore.
_SMALL_BYTES = PACK_BYTES // 8
_SMALL_PACKS = 16
# Ranges of up to 4 MiB on their way at once.
_READING = 3
_WORKERS = 6


@dataclass
class Packs:
    """What is stored of a project, as far as trees need it.

    Attributes:
        sizes: Of each pack that is needed, in bytes, by digest.
        needed: Of each, the bytes that are needed; a little too many rather than too few.
    """

    sizes: dict[str, int] = field(default_factory=dict)
    needed: dict[str, float] = field(default_factory=dict)

    @classmethod
    def of(cls, needed: Needed, moves: Moves) -> Packs:
        """The packs as a list of moves has them."""
        found = cls()
        chunks: dict[str, list[int]] = {}
        for segment, content in needed.content.items():
            move = moves.get(segment)
            stored = move.to if move else segment
            kept = sum(size for _, size in move.kept) if move else segment.raw
            digest = stored.pack.digest
            found.sizes[digest] = stored.pack.size
            part = sum(size for size, _ in content.values()) / max(kept, 1)
            found.needed[digest] = found.needed.get(digest, 0.0) + stored.stored * part
            chunks.setdefault(digest, []).append(len(content))
        for digest, counts in chunks.items():
            found.needed[digest] += packed_size(0, len(counts), sum(counts))
        return found

    def needed_bytes(self, digests: Collection[str]) -> int:
        """About how much of these packs is needed."""
        return round(sum(self.needed[digest] for digest in digests))

    def waste(self, digest: str) -> float:
        """How much of a pack is needed by nobody, in bytes."""
        return max(self.sizes[digest] - self.needed[digest], 0.0)


def worth_moving(packs: Packs) -> set[str]:
    """The packs to store again."""
    wasteful = {digest for digest, size in packs.sizes.items() if packs.waste(digest) > _WASTE * size}
    small = {digest for digest, size in packs.sizes.items() if size < _SMALL_BYTES}
    chosen = wasteful if sum(map(packs.waste, wasteful)) >= _WORTH_BYTES else set()
    return chosen | small if len(small) >= _SMALL_PACKS else chosen


class Repacker:
    """Stores needed content again. What one attempt has stored serves the next."""

    def __init__(self, repository: Repository) -> None:
        self._repository = repository
        self._reporter = repository.reporter()
        self._done: dict[Origin, Move] = {}
        self.written_bytes = 0

    def move(self, needed: Needed, moves: Moves, packs: Collection[str], usable: Collection[str]) -> Moves:
        """Move all that is needed out of ``packs``; every move there is then, and none that nobody needs.

        Args:
            usable: The packs that the store has, and that are not about to be deleted.

        Raises:
            StateCorruptError: Content is missing or damaged.
        """
        found: dict[Origin, Move] = {}
        due: list[Segment] = []
        for segment, content in needed.content.items():
            before, done = moves.get(segment), self._done.get(origin_of(segment))
            if (before.to if before else segment).pack.digest not in packs:
                if before:
                    found[origin_of(segment)] = before
            elif done and done.to.pack.digest in usable and _holds(done, content):
                found[origin_of(segment)] = done
            else:
                due.append(segment)
        # Pages together, since they are read together; MOVES_MAX is far more than anybody has.
        due.sort(key=lambda segment: segment not in needed.pages)
        room = MOVES_MAX - len(found)
        found |= {origin_of(segment): move for segment in due[room:] if (move := moves.get(segment))}
        return Moves(found | self._moved(due[:room], needed))

    def _moved(self, due: list[Segment], needed: Needed) -> dict[Origin, Move]:
        if not due:
            return {}
        repository = self._repository
        self._reporter.start("repack", len(due), sum(segment.stored for segment in due))
        taken: list[tuple[Segment, Move]] = []
        with ThreadPoolExecutor(_WORKERS, thread_name_prefix="snapshot-repack") as executor:
            packer = Packer(repository, {}, executor, count(1))
            for segment, stored in self._read(due, executor):
                content = needed.content[segment]
                sealed = self._sealed(segment, stored, content)
                kept = extents_of((offset, size) for offset, (size, _) in content.items())
                taken.append((segment, Move(packer.add_segment(sealed), kept)))
                self._reporter.add(1, len(stored))
            packs = packer.finish()
            packer.wait()
        self._reporter.finish()
        self.written_bytes += sum(pack.size for pack in packs.values())
        found = {origin_of(segment): _named(move, packs) for segment, move in taken}
        self._done |= found
        return found

    def _read(self, segments: list[Segment], executor: ThreadPoolExecutor) -> Iterator[tuple[Segment, bytes]]:
        ranges: Iterator[PackRange] = iter(self._repository.ranges_of(segments))
        coming = [executor.submit(self._repository.read_range, planned) for planned in islice(ranges, _READING)]
        while coming:
            found = coming.pop(0).result()
            coming += [executor.submit(self._repository.read_range, planned) for planned in islice(ranges, 1)]
            yield from found.items()

    def _sealed(self, segment: Segment, stored: bytes, content: Mapping[int, tuple[int, bytes]]) -> SealedSegment:
        """The segment as it is to be stored; everything that is needed of it is checked."""
        try:
            return self._checked(segment, stored, content)
        except ValueError:
            stored = self._repository.read_segment(segment, again=True)
        try:
            return self._checked(segment, stored, content)
        except ValueError as error:
            raise self._repository.corrupt_segment(segment, error) from error

    def _checked(self, segment: Segment, stored: bytes, content: Mapping[int, tuple[int, bytes]]) -> SealedSegment:
        sealer = self._repository.sealer
        raw = sealer.open(stored, "segment", CHUNK_MAX_BYTES, exactly=segment.raw)
        ids: list[bytes] = []
        pieces: list[bytes] = []
        end = 0
        for offset, (size, chunk) in [*sorted(content.items()), (segment.raw, (0, NO_CHUNK))]:
            if offset < end:
                raise ValueError("holds chunks that overlap")
            if offset > end:
                ids.append(NO_CHUNK)
                pieces.append(bytes(offset - end))
            if size:
                ids.append(chunk)
                pieces.append(raw[offset : offset + size])
                if self._repository.hasher.chunk_id(pieces[-1]) != chunk:
                    raise ValueError("holds a chunk that does not match its id")
            end = offset + size
        is_sparse = sum(size for size, _ in content.values()) < (1 - _WASTE) * segment.raw
        kept = sealer.seal(b"".join(pieces), "segment") if is_sparse else stored
        return SealedSegment(kept, tuple(ids), tuple(map(len, pieces)), origin_of(segment))


def _holds(move: Move, content: Mapping[int, tuple[int, bytes]]) -> bool:
    return all(
        any(start <= offset and offset + size <= start + length for start, length in move.kept)
        for offset, (size, _) in content.items()
    )


def _named(move: Move, packs: Mapping[int, Pack]) -> Move:
    return move._replace(to=move.to._replace(pack=packs[move.to.pack.size]))
