"""Which parts of packs to read together."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from omniagents_snapshot.model import Segment

__all__ = ["PackRange", "ranges_of"]

# Rather read a gap than make another request.
_MAX_GAP = 1 << 20
_MAX_RANGE = 4 << 20


@dataclass(eq=False)
class PackRange:
    """Segments of one pack that are read by one request."""

    segments: list[Segment]

    @property
    def offset(self) -> int:
        return self.segments[0].offset

    @property
    def length(self) -> int:
        return max(segment.offset + segment.stored for segment in self.segments) - self.offset

    def cut(self, data: bytes) -> dict[Segment, bytes]:
        """Each segment's part of what was read."""
        starts = {segment: segment.offset - self.offset for segment in self.segments}
        return {segment: data[start : start + segment.stored] for segment, start in starts.items()}


def ranges_of(segments: Iterable[Segment]) -> list[PackRange]:
    """How to read these segments, in the order in which the first of each range is needed."""
    order = {segment: number for number, segment in enumerate(dict.fromkeys(segments))}
    ranges: list[PackRange] = []
    for segment in sorted(order, key=lambda s: (s.pack.digest, s.offset)):
        if not (ranges and _joins(ranges[-1], segment)):
            ranges.append(PackRange([]))
        ranges[-1].segments.append(segment)
    return sorted(ranges, key=lambda found: min(order[segment] for segment in found.segments))


def _joins(found: PackRange, segment: Segment) -> bool:
    last = found.segments[-1]
    is_near = segment.pack == last.pack and segment.offset <= last.offset + last.stored + _MAX_GAP
    return is_near and segment.offset + segment.stored - found.offset <= _MAX_RANGE
