"""How a tree is written down: one sealed MessagePack map of columns.

A path is the number of its parent's entry and a name, so a tree cannot name a place outside itself.
A file's chunks are numbers into the chunk table; the table is ordered by pack, segment and offset, so
the files of one save have consecutive numbers, and differences and gaps are nearly all zero.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from itertools import accumulate, groupby, islice
from typing import Any, Final, TypeVar

from omniagents.records import LeftOut
from omniagents.state import Snapshot
from omniagents_snapshot.columns import pack_fields, pack_ints, pack_names, unpack_fields, unpack_ints, unpack_names
from omniagents_snapshot.limits import (
    CHUNK_MAX_BYTES,
    PACK_MAX_BYTES,
    PATH_MAX_BYTES,
    PATHS_MAX_BYTES,
    TREE_MAX_RAW_BYTES,
)
from omniagents_snapshot.model import Entry, EntryKind, Pack, Place, Segment, Tree, decode_path, encode_path
from omniagents_snapshot.sealing import CHUNK_ID_BYTES, open_sealed, seal
from omniagents_snapshot.validation import check_entries

__all__ = ["decode_tree", "encode_tree", "from_microseconds", "to_microseconds"]

_KINDS: Final[tuple[EntryKind, ...]] = ("file", "directory", "link")
_NS = 1_000_000_000
_DIGEST_BYTES = 32
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_T = TypeVar("_T")


def to_microseconds(time: datetime) -> int:
    return (time - _EPOCH) // timedelta(microseconds=1)


def from_microseconds(time: int) -> datetime:
    """The time, UTC.

    Raises:
        ValueError: No calendar has it.
    """
    try:
        return _EPOCH + timedelta(microseconds=time)
    except OverflowError:
        raise ValueError(f"{time} microseconds are no time") from None


def encode_tree(tree: Tree) -> bytes:
    """The bytes to store.

    Raises:
        ValueError: An entry is impossible, or the tree is larger than a reader would accept.
    """
    check_entries(tree.entries)
    used = {chunk for entry in tree.entries for chunk in entry.content}
    table = sorted(((tree.places[chunk], chunk) for chunk in used), key=_table_order)
    fields = _header(tree.snapshot) | _entry_columns(tree.entries)
    fields |= _reference_columns(tree.entries, {chunk: number for number, (_, chunk) in enumerate(table)})
    raw = pack_fields(fields | _table_columns(table))
    if len(raw) > TREE_MAX_RAW_BYTES:
        raise ValueError(f"its description takes {len(raw)} bytes, more than the limit of {TREE_MAX_RAW_BYTES}")
    return seal(raw)


def decode_tree(stored: bytes) -> Tree:
    """What ``encode_tree`` wrote.

    Raises:
        ValueError: It is damaged, or says something no tree may say.
    """
    raw = open_sealed(stored, TREE_MAX_RAW_BYTES)
    try:
        fields = unpack_fields(raw)
        chunks, places = _decode_table(fields)
        entries = tuple(_decode_entries(fields, chunks, places))
        tree = Tree(_decode_header(fields), entries, places)
    except (KeyError, TypeError) as error:
        raise ValueError(f"lacks or mistakes a part ({error!r:.200})") from error
    check_entries(entries)
    _check_totals(tree)
    return tree


def _table_order(row: tuple[Place, bytes]) -> tuple[str, int, int]:
    place = row[0]
    return place.segment.pack.digest, place.segment.offset, place.offset


def _header(snapshot: Snapshot) -> dict[str, Any]:
    return {
        "project": snapshot.project_id,
        "snapshot": snapshot.id,
        "parent": snapshot.parent_id,
        "time": to_microseconds(snapshot.created_at),
        "message": snapshot.message,
        "files": snapshot.files,
        "bytes": snapshot.bytes,
        "changed": snapshot.changed,
        "left_out": pack_names(_encode_remark(text) for left_out in snapshot.left_out for text in left_out),
    }


def _encode_remark(text: str) -> bytes:
    """A path or reason that is only shown, so that what no file can be called need not come back exactly."""
    try:
        return encode_path(text.replace("\0", "?"))
    except UnicodeEncodeError:
        return text.replace("\0", "?").encode("utf-8", "backslashreplace")


def _decode_header(fields: Mapping[str, Any]) -> Snapshot:
    texts = [decode_path(raw) for raw in unpack_names(fields["left_out"])]
    parent = fields["parent"]
    return Snapshot(
        id=_typed(fields["snapshot"], str),
        project_id=_typed(fields["project"], str),
        parent_id=None if parent is None else _typed(parent, str),
        created_at=from_microseconds(_typed(fields["time"], int)),
        message=_typed(fields["message"], str),
        files=_typed(fields["files"], int),
        bytes=_typed(fields["bytes"], int),
        changed=_typed(fields["changed"], int),
        left_out=tuple(LeftOut(*pair) for pair in zip(texts[::2], texts[1::2], strict=True)),
    )


def _typed(value: Any, wanted: type[_T]) -> _T:
    if type(value) is not wanted:
        raise TypeError(f"{value!r:.100} is not {wanted.__name__}")
    return value


def _entry_columns(entries: Sequence[Entry]) -> dict[str, bytes]:
    numbers = {"": 0} | {entry.path: number for number, entry in enumerate(entries, 1) if entry.kind == "directory"}
    split = [entry.path.rpartition("/") for entry in entries]
    return {
        "kinds": bytes(_KINDS.index(entry.kind) for entry in entries),
        "modes": pack_ints("H", (entry.mode for entry in entries)),
        "seconds": pack_ints("q", (entry.mtime_ns // _NS for entry in entries)),
        "nanoseconds": pack_ints("I", (entry.mtime_ns % _NS for entry in entries)),
        "parents": pack_ints("I", (numbers[parent] for parent, _, _ in split)),
        "names": pack_names(encode_path(name) for _, _, name in split),
        "targets": pack_names(encode_path(entry.target) for entry in entries if entry.kind == "link"),
    }


def _reference_columns(entries: Sequence[Entry], numbers: Mapping[bytes, int]) -> dict[str, bytes]:
    references = [numbers[chunk] for entry in entries for chunk in entry.content]
    steps = (now - before - 1 for before, now in zip([-1, *references], references, strict=False))
    return {
        "counts": pack_ints("I", (len(entry.content) for entry in entries)),
        "steps": pack_ints("i", steps),
    }


def _table_columns(table: Sequence[tuple[Place, bytes]]) -> dict[str, bytes]:
    segments = [(segment, len(list(rows))) for segment, rows in groupby(table, key=lambda row: row[0].segment)]
    packs = [(pack, len(list(rows))) for pack, rows in groupby(segments, key=lambda row: row[0].pack)]
    places = [place for place, _ in table]
    return {
        "pack_digests": b"".join(bytes.fromhex(pack.digest) for pack, _ in packs),
        "pack_sizes": pack_ints("I", (pack.size for pack, _ in packs)),
        "pack_segments": pack_ints("I", (count for _, count in packs)),
        "segment_offsets": pack_ints("I", (segment.offset for segment, _ in segments)),
        "segment_stored": pack_ints("I", (segment.stored for segment, _ in segments)),
        "segment_raw": pack_ints("I", (segment.raw for segment, _ in segments)),
        "segment_chunks": pack_ints("I", (count for _, count in segments)),
        "chunk_ids": b"".join(chunk for _, chunk in table),
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


def _decode_table(fields: Mapping[str, Any]) -> tuple[list[bytes], dict[bytes, Place]]:
    segments = list(_decode_segments(fields))
    ids = _pieces(fields["chunk_ids"], CHUNK_ID_BYTES)
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


def _decode_segments(fields: Mapping[str, Any]) -> Iterator[tuple[Segment, int]]:
    digests = _pieces(fields["pack_digests"], _DIGEST_BYTES)
    sizes = unpack_ints("I", fields["pack_sizes"], len(digests))
    counts = unpack_ints("I", fields["pack_segments"], len(digests))
    total = sum(counts)
    offsets, stored, raw, chunks = (
        unpack_ints("I", fields[name], total)
        for name in ("segment_offsets", "segment_stored", "segment_raw", "segment_chunks")
    )
    for digest, size, last, count in zip(digests, sizes, accumulate(counts), counts, strict=True):
        pack = Pack(digest.hex(), size)
        if size > PACK_MAX_BYTES:
            raise ValueError(f"the pack {pack.digest} has {size} bytes, more than the limit of {PACK_MAX_BYTES}")
        for row in range(last - count, last):
            segment = Segment(pack, offsets[row], stored[row], raw[row])
            if segment.offset + segment.stored > size or segment.raw > CHUNK_MAX_BYTES:
                raise ValueError(f"a segment of the pack {pack.digest} has an impossible size")
            yield segment, chunks[row]


def _pieces(raw: object, length: int) -> list[bytes]:
    if not isinstance(raw, bytes) or len(raw) % length:
        raise ValueError("a column of digests is damaged")
    return [raw[start : start + length] for start in range(0, len(raw), length)]


def _decode_entries(
    fields: Mapping[str, Any], chunks: Sequence[bytes], places: Mapping[bytes, Place]
) -> Iterator[Entry]:
    kinds = [_KINDS[kind] for kind in _checked_kinds(fields["kinds"])]
    count = len(kinds)
    modes = unpack_ints("H", fields["modes"], count)
    seconds = unpack_ints("q", fields["seconds"], count)
    nanoseconds = unpack_ints("I", fields["nanoseconds"], count)
    targets = iter(unpack_names(fields["targets"], kinds.count("link")))
    contents = _decode_contents(fields, count, chunks)
    for row, path in enumerate(_decode_paths(fields, kinds)):
        content = next(contents)
        yield Entry(
            path=path,
            kind=kinds[row],
            mode=modes[row],
            mtime_ns=seconds[row] * _NS + nanoseconds[row],
            size=sum(places[chunk].size for chunk in content),
            content=content,
            target=decode_path(next(targets)) if kinds[row] == "link" else "",
        )


def _checked_kinds(raw: object) -> bytes:
    if not isinstance(raw, bytes) or (raw and max(raw) >= len(_KINDS)):
        raise ValueError("an entry is of an unknown kind")
    return raw


def _decode_paths(fields: Mapping[str, Any], kinds: Sequence[EntryKind]) -> Iterator[str]:
    """Joined from parents and names; their sizes are limited before they are joined."""
    parents = unpack_ints("I", fields["parents"], len(kinds))
    prefixes: dict[int, str] = {0: ""}
    total = 0
    for number, (parent, name) in enumerate(zip(parents, unpack_names(fields["names"], len(kinds)), strict=True), 1):
        if b"/" in name:
            raise ValueError(f"the name {name!r:.300} has a slash")
        if parent not in prefixes:
            raise ValueError(f"the name {name!r:.300} is not below a directory")
        path = prefixes[parent] + decode_path(name)
        total += len(path)
        if len(path) > PATH_MAX_BYTES or total > PATHS_MAX_BYTES:
            raise ValueError(f"its paths are longer than {PATH_MAX_BYTES} bytes, or {PATHS_MAX_BYTES} together")
        if kinds[number - 1] == "directory":
            prefixes[number] = path + "/"
        yield path


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


def _check_totals(tree: Tree) -> None:
    files = [entry.size for entry in tree.entries if entry.kind == "file"]
    if (len(files), sum(files)) != (tree.snapshot.files, tree.snapshot.bytes):
        raise ValueError("its totals do not add up")
