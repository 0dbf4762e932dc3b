"""Which parts of packs to read together."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from omniagents_snapshot.model import Segment

__all__ = ["PackRange", "ranges_of"]

# Rather read a gap than make another request.
_MAX_GAP = 1 << 20
_MAX_RANGE = 4 << 20


@dataclass(eq=False)
class PackRange:
    """Segments of one pack that are read by one request.

    Attributes:
        segments: As trees name them.
        stored: Where each of them is.
    """

    segments: list[Segment]
    stored: list[Segment]

    @property
    def digest(self) -> str:
        """The pack that they are in."""
        return self.stored[0].pack.digest

    @property
    def offset(self) -> int:
        return self.stored[0].offset

    @property
    def length(self) -> int:
        return max(segment.offset + segment.stored for segment in self.stored) - self.offset

    def cut(self, data: bytes) -> dict[Segment, bytes]:
        """Each segment's part of what was read."""
        starts = [(found.offset - self.offset, found.stored) for found in self.stored]
        return {
            segment: data[start : start + size] for segment, (start, size) in zip(self.segments, starts, strict=True)
        }


def ranges_of(segments: Iterable[Segment], locate: Callable[[Segment], Segment]) -> list[PackRange]:
    """How to read these segments, in the order in which the first of each range is needed.

    Args:
        locate: Where a segment is.
    """
    order = {segment: number for number, segment in enumerate(dict.fromkeys(segments))}
    ranges: list[PackRange] = []
    located = ((locate(segment), segment) for segment in order)
    for stored, segment in sorted(located, key=lambda pair: (pair[0].pack.digest, pair[0].offset)):
        if not (ranges and _joins(ranges[-1], stored)):
            ranges.append(PackRange([], []))
        ranges[-1].segments.append(segment)
        ranges[-1].stored.append(stored)
    return sorted(ranges, key=lambda found: min(order[segment] for segment in found.segments))


def _joins(found: PackRange, segment: Segment) -> bool:
    last = found.stored[-1]
    is_near = segment.pack == last.pack and segment.offset <= last.offset + last.stored + _MAX_GAP
    return is_near and segment.offset + segment.stored - found.offset <= _MAX_RANGE
