"""How a tree is written down: one sealed MessagePack map that describes the snapshot and lists packs and pages."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple, TypeVar

from omniagents.records import LeftOut
from omniagents.state import Snapshot
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
    LEFT_OUT_MAX,
    PACK_MAX_BYTES,
    PACKS_MAX,
    PAGE_MAX_ENTRIES,
    PAGES_MAX,
    PAGES_MAX_STORED_BYTES,
    TREE_MAX_RAW_BYTES,
)
from omniagents_snapshot.model import Pack, Segment, decode_path, encode_path
from omniagents_snapshot.page_format import checked_segment
from omniagents_snapshot.sealing import CHUNK_ID_BYTES, Sealer

__all__ = ["Outline", "PageRef", "decode_outline", "encode_outline", "from_microseconds", "to_microseconds"]

_DIGEST_BYTES = 32
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_T = TypeVar("_T")


class PageRef(NamedTuple):
    """A page: its id as a chunk, the segment that holds nothing else, and the number of its entries."""

    chunk: bytes
    segment: Segment
    entries: int


class Outline(NamedTuple):
    """What a tree's own object says.

    Attributes:
        packs: By the number that pages call them by.
        pages: In the order of their entries.
    """

    snapshot: Snapshot
    packs: Mapping[int, Pack]
    pages: Sequence[PageRef]


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


def encode_outline(outline: Outline, sealer: Sealer) -> bytes:
    """The bytes to store.

    Raises:
        ValueError: The tree is larger than a reader would accept.
    """
    numbers = {pack: number for number, pack in outline.packs.items()}
    pages = outline.pages
    packs = sorted(outline.packs.items())
    fields = _header(outline.snapshot) | {
        "pack_numbers": pack_ints("I", (number for number, _ in packs)),
        "pack_digests": b"".join(bytes.fromhex(pack.digest) for _, pack in packs),
        "pack_sizes": pack_ints("I", (pack.size for _, pack in packs)),
        "page_ids": b"".join(page.chunk for page in pages),
        "page_entries": pack_ints("I", (page.entries for page in pages)),
        "page_packs": pack_ints("I", (numbers[page.segment.pack] for page in pages)),
        "page_offsets": pack_ints("I", (page.segment.offset for page in pages)),
        "page_stored": pack_ints("I", (page.segment.stored for page in pages)),
        "page_raw": pack_ints("I", (page.segment.raw for page in pages)),
    }
    raw = pack_fields(fields)
    _check_size(pages, len(packs))
    if len(raw) > TREE_MAX_RAW_BYTES:
        raise ValueError(f"its description takes {len(raw)} bytes, more than the limit of {TREE_MAX_RAW_BYTES}")
    return sealer.seal(raw, "tree")


def decode_outline(stored: bytes, sealer: Sealer) -> Outline:
    """What ``encode_outline`` wrote.

    Raises:
        ValueError: It is damaged, or says something no tree may say.
    """
    raw = sealer.open(stored, "tree", TREE_MAX_RAW_BYTES)
    try:
        fields = unpack_fields(raw)
        packs = _decode_packs(fields)
        pages = list(_decode_pages(fields, packs))
        _check_size(pages, len(packs))
        return Outline(_decode_header(fields), packs, pages)
    except (KeyError, TypeError) as error:
        raise ValueError(f"lacks or mistakes a part ({error!r:.200})") from error


def _check_size(pages: Sequence[PageRef], packs: int) -> None:
    stored = sum(page.segment.stored for page in pages)
    for found, limit, what in (
        (len(pages), PAGES_MAX, "pages"),
        (packs, PACKS_MAX, "packs"),
        (stored, PAGES_MAX_STORED_BYTES, "bytes of pages"),
    ):
        if found > limit:
            raise ValueError(f"has {found} {what}, more than the limit of {limit}")


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
    left_out = fields["left_out"]
    if isinstance(left_out, bytes) and left_out.count(b"\0") > 2 * LEFT_OUT_MAX:
        raise ValueError(f"lists more than {LEFT_OUT_MAX} paths as left out")
    texts = [decode_path(raw) for raw in unpack_names(left_out)]
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


def _decode_packs(fields: Mapping[str, Any]) -> dict[int, Pack]:
    numbers = unpack_ints("I", fields["pack_numbers"])
    if len(numbers) > PACKS_MAX:
        raise ValueError(f"has {len(numbers)} packs, more than the limit of {PACKS_MAX}")
    sizes = unpack_ints("I", fields["pack_sizes"], len(numbers))
    digests = pieces(fields["pack_digests"], _DIGEST_BYTES)
    if len(digests) != len(numbers):
        raise ValueError(f"has {len(digests)} digests of {len(numbers)} packs")
    packs = {}
    for number, digest, size in zip(numbers, digests, sizes, strict=True):
        if size > PACK_MAX_BYTES:
            raise ValueError(f"the pack {digest.hex()} has {size} bytes, more than the limit of {PACK_MAX_BYTES}")
        packs[number] = Pack(digest.hex(), size)
    if len(packs) != len(numbers):
        raise ValueError("a pack's number comes twice")
    return packs


def _decode_pages(fields: Mapping[str, Any], packs: Mapping[int, Pack]) -> Iterator[PageRef]:
    ids = pieces(fields["page_ids"], CHUNK_ID_BYTES)
    if len(ids) > PAGES_MAX:
        raise ValueError(f"has {len(ids)} pages, more than the limit of {PAGES_MAX}")
    columns = (
        unpack_ints("I", fields[name], len(ids))
        for name in ("page_entries", "page_packs", "page_offsets", "page_stored", "page_raw")
    )
    for chunk, entries, number, *sizes in zip(ids, *columns, strict=True):
        if not 0 < entries <= PAGE_MAX_ENTRIES:
            raise ValueError(f"a page has {entries} entries")
        yield PageRef(chunk, checked_segment(number, sizes, packs), entries)
