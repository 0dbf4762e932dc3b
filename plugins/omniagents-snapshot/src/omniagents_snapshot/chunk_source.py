"""Chunks out of packs, in the order they are needed: ranged reads ahead of use, everything checked, memory bounded."""

from __future__ import annotations

import threading
from collections import Counter, OrderedDict, deque
from collections.abc import Iterable
from concurrent.futures import Executor, Future

from omniagents_snapshot.limits import CHUNK_MAX_BYTES
from omniagents_snapshot.model import Place, Segment
from omniagents_snapshot.ranges import PackRange
from omniagents_snapshot.repository import Repository

__all__ = ["ChunkSource"]

_AHEAD = 6
_STORED_LIMIT = 32 << 20
_DECODED_LIMIT = 16 << 20
_UNSEALED_AHEAD = 4 << 20


class ChunkSource:
    """Gives the chunks in ``needed`` places, asked for in that order.

    Attributes:
        failure: What went wrong, for callers whose consumer turns exceptions into others.
    """

    def __init__(self, repository: Repository, needed: Iterable[Place], executor: Executor) -> None:
        self.failure: Exception | None = None
        self._repository = repository
        self._executor = executor
        self._uses = Counter(place.segment for place in needed)
        self._order = iter(list(self._uses))
        self._next = next(self._order, None)
        self._unsealing: dict[Segment, Future[bytes]] = {}
        self._unsealing_bytes = 0
        self._planned = iter(repository.ranges_of(self._uses))
        self._coming: deque[tuple[PackRange, Future[dict[Segment, bytes]]]] = deque()
        self._stored = _Bounded(_STORED_LIMIT)
        self._decoded = _Bounded(_DECODED_LIMIT)
        self._lock = threading.Lock()

    def get(self, chunk: bytes, place: Place) -> bytes:
        """The bytes of the chunk in that place, matching its id.

        Raises:
            StateCorruptError: They are missing or damaged.
        """
        try:
            with self._lock:
                return self._get(chunk, place)
        except Exception as error:
            self.failure = error
            raise

    def _get(self, chunk: bytes, place: Place) -> bytes:
        try:
            found = self._cut(chunk, place, self._open(place.segment))
        except ValueError:
            found = self._again(chunk, place)
        self._uses[place.segment] -= 1
        if self._uses[place.segment] <= 0:
            self._decoded.pop(place.segment)
            self._stored.pop(place.segment)
        return found

    def _cut(self, chunk: bytes, place: Place, raw: bytes) -> bytes:
        found = raw[place.offset : place.offset + place.size]
        if self._repository.hasher.chunk_id(found) != chunk:
            raise ValueError("holds a chunk that does not match its id")
        return found

    def _again(self, chunk: bytes, place: Place) -> bytes:
        """What came damaged may lie undamaged in the store."""
        segment = place.segment
        stored = self._repository.read_segment(segment, again=True)
        try:
            raw = self._unsealed(segment, stored)
            found = self._cut(chunk, place, raw)
        except ValueError as error:
            raise self._repository.corrupt_segment(segment, error) from error
        self._decoded.put(segment, raw)
        return found

    def _open(self, segment: Segment) -> bytes:
        raw = self._decoded.get(segment)
        if raw is None:
            coming = self._unsealing.pop(segment, None)
            if coming is None:
                raw = self._unsealed(segment, self._fetch(segment))
            else:
                self._unsealing_bytes -= segment.raw
                raw = coming.result()
            self._decoded.put(segment, raw)
            self._unseal_ahead(segment)
        return raw

    def _unseal_ahead(self, opened: Segment) -> None:
        """Have the segments that are needed next decompressed in parallel, as far as they have arrived."""
        while self._next is not None and self._unsealing_bytes < _UNSEALED_AHEAD:
            segment = self._next
            if segment != opened and self._uses[segment] > 0 and self._decoded.get(segment) is None:
                stored = self._arrived(segment)
                if stored is None:
                    return
                self._unsealing[segment] = self._executor.submit(self._unsealed, segment, stored)
                self._unsealing_bytes += segment.raw
            self._next = next(self._order, None)

    def _arrived(self, segment: Segment) -> bytes | None:
        """What is stored of it, if that need not be waited for."""
        found = self._stored.get(segment)
        if found is None and self._coming and segment in self._coming[0][0].segments and self._coming[0][1].done():
            self._take_range(self._coming.popleft()[1])
            self._read_ahead()
            found = self._stored.get(segment)
        return found

    def _unsealed(self, segment: Segment, stored: bytes) -> bytes:
        return self._repository.sealer.open(stored, "segment", CHUNK_MAX_BYTES, exactly=segment.raw)

    def _fetch(self, segment: Segment) -> bytes:
        found = self._stored.get(segment)
        self._read_ahead()
        while found is None and self._coming:
            if segment not in self._coming[0][0].segments:
                break
            self._take_range(self._coming.popleft()[1])
            found = self._stored.get(segment)
            self._read_ahead()
        # Read ahead of use, forgotten for others, and needed again.
        return found if found is not None else self._repository.read_segment(segment)

    def _read_ahead(self) -> None:
        while len(self._coming) < _AHEAD and (planned := next(self._planned, None)):
            self._coming.append((planned, self._executor.submit(self._repository.read_range, planned)))

    def _take_range(self, read: Future[dict[Segment, bytes]]) -> None:
        for segment, stored in read.result().items():
            self._stored.put(segment, stored)


class _Bounded:
    """Bytes by segment; the longest unused go first when there are more than ``limit``, but never the last one in."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._held: OrderedDict[Segment, bytes] = OrderedDict()
        self._size = 0

    def get(self, segment: Segment) -> bytes | None:
        found = self._held.get(segment)
        if found is not None:
            self._held.move_to_end(segment)
        return found

    def put(self, segment: Segment, data: bytes) -> None:
        self.pop(segment)
        self._held[segment] = data
        self._size += len(data)
        while self._size > self._limit and len(self._held) > 1:
            self._size -= len(self._held.popitem(last=False)[1])

    def pop(self, segment: Segment) -> None:
        self._size -= len(self._held.pop(segment, b""))
