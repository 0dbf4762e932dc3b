"""New chunks on their way into packs, compressed and stored in parallel with reading."""

from __future__ import annotations

from array import array
from collections import deque
from collections.abc import Iterator, Mapping
from concurrent.futures import Executor, Future
from typing import TYPE_CHECKING

from omniagents_snapshot.limits import PACK_BYTES, PACK_MAX_BYTES, SEGMENT_CHUNKS, SEGMENT_RAW_BYTES
from omniagents_snapshot.model import Pack, Place, Segment
from omniagents_snapshot.pack_format import MAGIC, SealedSegment, build_pack, packed_size

if TYPE_CHECKING:
    from omniagents_snapshot.repository import Repository
    from omniagents_snapshot.sealing import Sealer

__all__ = ["Packer"]

# What may wait in memory: segments being compressed, and whole packs being stored. A client of a store makes a copy or
# two of each pack, and an allocator keeps some of what it was given back in each thread.
_COMPRESSING = 4
_STORING = 3


class Packer(Mapping[bytes, Place]):
    """Takes chunks, answers with their ids, and stores those that are not stored yet.

    As a mapping it says where every chunk is that it was given, once ``settle`` was called. A new pack goes by
    ``Pack("", number)`` there until ``finish`` has its digest.

    Args:
        known: Chunks that need not be stored again.
        numbers: What new packs are called, one after the other.
        executor: Compresses and stores; bounded here, so memory stays below about 100 MiB.
    """

    def __init__(
        self, repository: Repository, known: Mapping[bytes, Place], executor: Executor, numbers: Iterator[int]
    ) -> None:
        self._repository = repository
        self._hasher = repository.hasher
        self._sealer = repository.sealer
        self._known = known
        self._executor = executor
        self._numbers = numbers
        self._rows: dict[bytes, int] = {}
        self._table = array("I")  # number of the segment, offset and size of each new chunk, in order
        self._segments: list[Segment] = []
        self._open: list[tuple[bytes, bytes]] = []
        self._open_bytes = 0
        self._compressing: deque[Future[SealedSegment]] = deque()
        self._pack = self._new_pack()
        self._ready: list[SealedSegment] = []
        self._ready_bytes = self._ready_chunks = 0
        self._storing: deque[Future[None]] = deque()
        self._packs: dict[int, Pack] = {}

    def add(self, chunk: bytes) -> bytes:
        """Take a chunk; its id. Blocks while too much waits to be stored."""
        chunk_id = self._hasher.chunk_id(chunk)
        if chunk_id in self._rows or chunk_id in self._known:
            return chunk_id
        if self._open and self._open_bytes + len(chunk) > SEGMENT_RAW_BYTES:
            self._close_segment()
        self._rows[chunk_id] = len(self._rows)
        self._open.append((chunk_id, chunk))
        self._open_bytes += len(chunk)
        if self._open_bytes >= SEGMENT_RAW_BYTES or len(self._open) >= SEGMENT_CHUNKS:
            self._close_segment()
        return chunk_id

    def settle(self) -> None:
        """Decide where everything taken so far is."""
        if self._open:
            self._close_segment()
        self._collect(0)

    def add_alone(self, chunk_id: bytes, chunk: bytes) -> tuple[Segment, bytes]:
        """Take a chunk into a segment of its own, whether it is known or not; the segment, and its stored bytes."""
        stored = self._sealer.seal(chunk, "segment")
        return self.add_segment(SealedSegment(stored, (chunk_id,), (len(chunk),))), stored

    def add_segment(self, sealed: SealedSegment) -> Segment:
        """Take a segment as it is; where it will be."""
        stored, chunks = self._ready_bytes + len(sealed.stored), self._ready_chunks + len(sealed.ids)
        if self._ready and packed_size(stored, len(self._ready) + 1, chunks) > PACK_BYTES:
            self._close_pack()
            stored, chunks = len(sealed.stored), len(sealed.ids)
        segment = Segment(self._pack, len(MAGIC) + self._ready_bytes, len(sealed.stored), sum(sealed.sizes))
        self._segments.append(segment)
        self._ready.append(sealed)
        self._ready_bytes, self._ready_chunks = stored, chunks
        return segment

    def finish(self) -> dict[int, Pack]:
        """Send off the rest; every new pack by its number. They are stored when ``wait`` returns."""
        self.settle()
        if self._ready:
            self._close_pack()
        return self._packs

    def wait(self) -> None:
        """Return when all packs are stored.

        Raises:
            StateError: One could not be stored.
        """
        while self._storing:
            self._storing.popleft().result()

    def __getitem__(self, chunk: bytes) -> Place:
        row = self._rows.get(chunk)
        if row is None:
            return self._known[chunk]
        segment, offset, size = self._table[3 * row : 3 * row + 3]
        return Place(self._segments[segment], offset, size)

    def __iter__(self) -> Iterator[bytes]:
        return iter(self._rows)

    def __len__(self) -> int:
        return len(self._rows)

    def _close_segment(self) -> None:
        self._compressing.append(self._executor.submit(_seal_segment, self._sealer, self._open))
        self._open, self._open_bytes = [], 0
        self._collect(_COMPRESSING)

    def _collect(self, may_wait: int) -> None:
        while self._compressing and (len(self._compressing) > may_wait or self._compressing[0].done()):
            sealed = self._compressing.popleft().result()
            self.add_segment(sealed)
            offset = 0
            for size in sealed.sizes:
                self._table.extend((len(self._segments) - 1, offset, size))
                offset += size

    def _close_pack(self) -> None:
        while len(self._storing) >= _STORING:  # before there is one more in memory
            self._storing.popleft().result()
        data = build_pack(self._ready, self._sealer)
        assert len(data) <= PACK_MAX_BYTES
        pack = Pack(self._hasher.digest(data), len(data))
        self._packs[self._pack.size] = pack
        self._ready, self._ready_bytes, self._ready_chunks = [], 0, 0
        self._pack = self._new_pack()
        self._storing.append(self._executor.submit(self._repository.put_pack, pack, data))

    def _new_pack(self) -> Pack:
        return Pack("", next(self._numbers))


def _seal_segment(sealer: Sealer, chunks: list[tuple[bytes, bytes]]) -> SealedSegment:
    stored = sealer.seal(b"".join(content for _, content in chunks), "segment")
    return SealedSegment(stored, tuple(chunk for chunk, _ in chunks), tuple(len(content) for _, content in chunks))
