"""New chunks on their way into packs, compressed and stored in parallel with reading."""

from __future__ import annotations

from collections import deque
from concurrent.futures import Executor, Future
from typing import TYPE_CHECKING

from omniagents_snapshot.limits import PACK_MAX_BYTES, SEGMENT_CHUNKS, SEGMENT_RAW_BYTES
from omniagents_snapshot.model import Pack, Place
from omniagents_snapshot.pack_format import SealedSegment, build_pack, pack_places, packed_size
from omniagents_snapshot.sealing import seal

if TYPE_CHECKING:
    from collections.abc import Mapping

    from omniagents_snapshot.repository import Repository

__all__ = ["Packer"]

# What may wait in memory: segments being compressed, and whole packs being stored.
_COMPRESSING = 8
_STORING = 3


class Packer:
    """Takes chunks, answers with their ids, and stores those that are not stored yet.

    Args:
        known: Chunks that need not be stored again.
        executor: Compresses and stores; bounded here, so memory stays below about 100 MiB.
    """

    def __init__(self, repository: Repository, known: Mapping[bytes, Place], executor: Executor) -> None:
        self._repository = repository
        self._hasher = repository.hasher
        self._known = known
        self._executor = executor
        self._seen: set[bytes] = set()
        self._open: list[tuple[bytes, bytes]] = []
        self._open_bytes = 0
        self._compressing: deque[Future[SealedSegment]] = deque()
        self._ready: list[SealedSegment] = []
        self._ready_bytes = self._ready_chunks = 0
        self._storing: deque[Future[dict[bytes, Place]]] = deque()
        self._places: dict[bytes, Place] = {}

    def add(self, chunk: bytes) -> bytes:
        """Take a chunk; its id. Blocks while too much waits to be stored."""
        chunk_id = self._hasher.chunk_id(chunk)
        if chunk_id in self._known or chunk_id in self._seen:
            return chunk_id
        if self._open and self._open_bytes + len(chunk) > SEGMENT_RAW_BYTES:
            self._close_segment()
        self._seen.add(chunk_id)
        self._open.append((chunk_id, chunk))
        self._open_bytes += len(chunk)
        if self._open_bytes >= SEGMENT_RAW_BYTES or len(self._open) >= SEGMENT_CHUNKS:
            self._close_segment()
        return chunk_id

    def finish(self) -> dict[bytes, Place]:
        """Store the rest; where everything taken is, when all of it is stored."""
        if self._open:
            self._close_segment()
        self._collect(0)
        if self._ready:
            self._close_pack()
        while self._storing:
            self._places |= self._storing.popleft().result()
        return self._places

    def _close_segment(self) -> None:
        self._compressing.append(self._executor.submit(_seal_segment, self._open))
        self._open, self._open_bytes = [], 0
        self._collect(_COMPRESSING)

    def _collect(self, may_wait: int) -> None:
        while self._compressing and (len(self._compressing) > may_wait or self._compressing[0].done()):
            segment = self._compressing.popleft().result()
            stored, chunks = self._ready_bytes + len(segment.stored), self._ready_chunks + len(segment.ids)
            if self._ready and packed_size(stored, len(self._ready) + 1, chunks) > PACK_MAX_BYTES:
                self._close_pack()
                stored, chunks = len(segment.stored), len(segment.ids)
            self._ready.append(segment)
            self._ready_bytes, self._ready_chunks = stored, chunks

    def _close_pack(self) -> None:
        while len(self._storing) >= _STORING:
            self._places |= self._storing.popleft().result()
        self._storing.append(self._executor.submit(_store, self._repository, self._ready))
        self._ready, self._ready_bytes, self._ready_chunks = [], 0, 0


def _seal_segment(chunks: list[tuple[bytes, bytes]]) -> SealedSegment:
    stored = seal(b"".join(content for _, content in chunks))
    return SealedSegment(stored, tuple(chunk for chunk, _ in chunks), tuple(len(content) for _, content in chunks))


def _store(repository: Repository, segments: list[SealedSegment]) -> dict[bytes, Place]:
    data = build_pack(segments)
    pack = Pack(repository.hasher.digest(data), len(data))
    places = pack_places(pack, segments)
    segments.clear()  # the pack holds their bytes now, and storing it may take long
    repository.put_pack(pack, data)
    return places
