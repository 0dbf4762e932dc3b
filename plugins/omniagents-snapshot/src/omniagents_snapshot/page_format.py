"""How a page is written down: a run of a tree's entries with all that is needed to find their content.

A page is stored as a chunk, so one that did not change is not stored again. It names packs by numbers that
its tree gives a meaning; trees of one line of saves give a pack the same number, so that pages stay equal.
A file's chunks are numbers into the page's chunk table, which is ordered by pack, segment and offset: the
files of one save have consecutive numbers, and differences and gaps are nearly all zero.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import groupby, islice
from typing import Any, Final

from omniagents_snapshot.columns import (
    pack_fields,
    pack_ints,
    pack_names,
    pieces,
    unpack_fields,
    unpack_ints,
    unpack_names,
)
from omniagents_snapshot.limits import (
    CHUNK_MAX_BYTES,
    PAGE_ENTRIES,
    PAGE_MAX_ENTRIES,
    PAGE_MIN_ENTRIES,
)
from omniagents_snapshot.model import Entry, EntryKind, Pack, Place, Row, Segment, decode_path, encode_path
from omniagents_snapshot.sealing import CHUNK_ID_BYTES

__all__ = ["decode_page", "encode_page", "in_pages"]

_KINDS: Final[tuple[EntryKind, ...]] = ("file", "directory", "link")
_NS = 1_000_000_000
# Small enough that a page of such files is far below the size of a chunk.
_MAX_CONTENT = 4096
_MAX_NAMES_BYTES = 1 << 20


def in_pages(rows: Iterable[Row]) -> Iterator[list[Row]]:
    """Cut where a hash of the path says so, so that an added or removed entry moves no other cut."""
    page: list[Row] = []
    content = names = 0
    for entry, places in rows:
        raw = encode_path(entry.path)
        is_full = len(page) >= PAGE_MAX_ENTRIES or content > _MAX_CONTENT or names > _MAX_NAMES_BYTES
        if is_full or (len(page) >= PAGE_MIN_ENTRIES and zlib.crc32(raw) % PAGE_ENTRIES == 0):
            yield page
            page, content, names = [], 0, 0
        page.append((entry, places))
        content += len(entry.content)
        names += len(raw) + len(entry.target)
    if page:
        yield page


def encode_page(rows: Sequence[Row], numbers: Mapping[Pack, int]) -> bytes:
    """The page's bytes; ``numbers`` has every pack that a chunk is in."""
    entries = [entry for entry, _ in rows]
    placed = {chunk: places[chunk] for entry, places in rows for chunk in entry.content}
    order = {chunk: _table_order(place, numbers) for chunk, place in placed.items()}
    table = sorted(placed, key=order.__getitem__)
    fields = _entry_columns(entries) | _reference_columns(entries, {chunk: row for row, chunk in enumerate(table)})
    raw = pack_fields(fields | _table_columns(table, [placed[chunk] for chunk in table], numbers))
    if len(raw) > CHUNK_MAX_BYTES:
        largest = max(entries, key=lambda entry: len(entry.content) or len(entry.target))
        raise ValueError(f"the file {largest.path!r:.300} has more parts than one page of its description can hold")
    return raw


def decode_page(raw: bytes, packs: Mapping[int, Pack]) -> tuple[list[Entry], dict[bytes, Place]]:
    """The entries, and where each of their chunks is. Whether their paths may be is the tree's to check.

    Raises:
        ValueError: It is damaged, or says something no page may say.
    """
    try:
        fields = unpack_fields(raw)
        chunks, places = _decode_table(fields, packs)
        return list(_decode_entries(fields, chunks, places)), places
    except (KeyError, TypeError) as error:
        raise ValueError(f"lacks or mistakes a part ({error!r:.200})") from error


def _table_order(place: Place, numbers: Mapping[Pack, int]) -> tuple[int, int, int]:
    return numbers[place.segment.pack], place.segment.offset, place.offset


def _entry_columns(entries: Sequence[Entry]) -> dict[str, bytes]:
    return {
        "kinds": bytes(_KINDS.index(entry.kind) for entry in entries),
        "modes": pack_ints("H", (entry.mode for entry in entries)),
        "seconds": pack_ints("q", (entry.mtime_ns // _NS for entry in entries)),
        "nanoseconds": pack_ints("I", (entry.mtime_ns % _NS for entry in entries)),
        "paths": pack_names(encode_path(entry.path) for entry in entries),
        "targets": pack_names(encode_path(entry.target) for entry in entries if entry.kind == "link"),
    }


def _reference_columns(entries: Sequence[Entry], numbers: Mapping[bytes, int]) -> dict[str, bytes]:
    references = [numbers[chunk] for entry in entries for chunk in entry.content]
    steps = (now - before - 1 for before, now in zip([-1, *references], references, strict=False))
    return {
        "counts": pack_ints("I", (len(entry.content) for entry in entries)),
        "steps": pack_ints("i", steps),
    }


def _table_columns(table: Sequence[bytes], places: Sequence[Place], numbers: Mapping[Pack, int]) -> dict[str, bytes]:
    segments = [(segment, len(list(rows))) for segment, rows in groupby(places, key=lambda place: place.segment)]
    return {
        "segment_packs": pack_ints("I", (numbers[segment.pack] for segment, _ in segments)),
        "segment_offsets": pack_ints("I", (segment.offset for segment, _ in segments)),
        "segment_stored": pack_ints("I", (segment.stored for segment, _ in segments)),
        "segment_raw": pack_ints("I", (segment.raw for segment, _ in segments)),
        "segment_chunks": pack_ints("I", (count for _, count in segments)),
        "chunk_ids": b"".join(table),
        "chunk_sizes": pack_ints("I", (place.size for place in places)),
        "chunk_gaps": pack_ints("i", _gaps(places)),
    }


def _gaps(places: Sequence[Place]) -> Iterator[int]:
    """How far each chunk begins after the end of the one before it in its segment."""
    segment, end = None, 0
    for place in places:
        if place.segment != segment:
            segment, end = place.segment, 0
        yield place.offset - end
        end = place.offset + place.size


def _decode_table(fields: Mapping[str, Any], packs: Mapping[int, Pack]) -> tuple[list[bytes], dict[bytes, Place]]:
    segments = list(_decode_segments(fields, packs))
    ids = pieces(fields["chunk_ids"], CHUNK_ID_BYTES)
    sizes = unpack_ints("I", fields["chunk_sizes"], len(ids))
    gaps = unpack_ints("i", fields["chunk_gaps"], len(ids))
    if sum(count for _, count in segments) != len(ids):
        raise ValueError("its chunk table does not add up")
    places: dict[bytes, Place] = {}
    rows = zip(ids, sizes, gaps, strict=True)
    for segment, count in segments:
        end = 0
        for chunk, size, gap in islice(rows, count):
            place = Place(segment, end + gap, size)
            end = place.offset + size
            if place.offset < 0 or not 0 < size <= CHUNK_MAX_BYTES or end > segment.raw:
                raise ValueError("a chunk is not inside its segment")
            places[chunk] = place
    if len(places) != len(ids):
        raise ValueError("a chunk comes twice")
    return ids, places


def _decode_segments(fields: Mapping[str, Any], packs: Mapping[int, Pack]) -> Iterator[tuple[Segment, int]]:
    numbers = unpack_ints("I", fields["segment_packs"])
    offsets, stored, raw, chunks = (
        unpack_ints("I", fields[name], len(numbers))
        for name in ("segment_offsets", "segment_stored", "segment_raw", "segment_chunks")
    )
    for number, *sizes, count in zip(numbers, offsets, stored, raw, chunks, strict=True):
        yield checked_segment(number, sizes, packs), count


def checked_segment(number: int, sizes: Sequence[int], packs: Mapping[int, Pack]) -> Segment:
    """The segment with this offset, stored and raw size.

    Raises:
        ValueError: It is not inside its pack, or there is no such pack.
    """
    pack = packs.get(number)
    if pack is None:
        raise ValueError(f"there is no pack with the number {number}")
    segment = Segment(pack, *sizes)
    if segment.offset + segment.stored > pack.size or segment.raw > CHUNK_MAX_BYTES:
        raise ValueError(f"a segment of the pack {pack.digest} has an impossible size")
    return segment


def _decode_entries(
    fields: Mapping[str, Any], chunks: Sequence[bytes], places: Mapping[bytes, Place]
) -> Iterator[Entry]:
    kinds = [_KINDS[kind] for kind in _checked_kinds(fields["kinds"])]
    count = len(kinds)
    columns = zip(
        unpack_names(fields["paths"], count),
        kinds,
        unpack_ints("H", fields["modes"], count),
        unpack_ints("q", fields["seconds"], count),
        unpack_ints("I", fields["nanoseconds"], count),
        _decode_contents(fields, count, chunks),
        strict=True,
    )
    targets = iter(unpack_names(fields["targets"], kinds.count("link")))
    for path, kind, mode, seconds, nanoseconds, content in columns:
        size = places[content[0]].size if len(content) == 1 else sum(places[chunk].size for chunk in content)
        target = decode_path(next(targets)) if kind == "link" else ""
        yield Entry(decode_path(path), kind, mode, seconds * _NS + nanoseconds, size, content, target)


def _checked_kinds(raw: object) -> bytes:
    if not isinstance(raw, bytes) or (raw and max(raw) >= len(_KINDS)):
        raise ValueError("an entry is of an unknown kind")
    return raw


def _decode_contents(fields: Mapping[str, Any], count: int, chunks: Sequence[bytes]) -> Iterator[tuple[bytes, ...]]:
    counts = unpack_ints("I", fields["counts"], count)
    steps = iter(unpack_ints("i", fields["steps"], sum(counts)))
    reference = -1
    for number_of_chunks in counts:
        content = []
        for _ in range(number_of_chunks):
            reference += next(steps) + 1
            if not 0 <= reference < len(chunks):
                raise ValueError("a file refers to a chunk that is not in the table")
            content.append(chunks[reference])
        yield tuple(content)
