"""A tree that stays sealed in memory: about 40 bytes an entry, decoded page by page whenever it is looked through."""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property

from omniagents_snapshot.limits import CHUNK_MAX_BYTES
from omniagents_snapshot.model import Entry, Pack, Place, Row, Segment, Tree
from omniagents_snapshot.page_format import decode_page
from omniagents_snapshot.sealing import CHUNK_ID_BYTES, Hasher, Sealer
from omniagents_snapshot.tree_format import Outline, PageRef
from omniagents_snapshot.validation import checked

__all__ = ["Page", "StoredTree", "check_tree", "open_page"]

_PREFIX_BYTES = 8
# Of a tree that is decoded once for a whole call: about 20 MB of entries.
_HELD_ENTRIES = 32_768

_Decoded = tuple[list[Entry], dict[bytes, Place]]


@dataclass(frozen=True)
class Page:
    """A page and its segment's bytes as stored, which match its id."""

    ref: PageRef
    stored: bytes


def open_page(page: Page, sealer: Sealer, hasher: Hasher) -> bytes:
    """The page's content, as ``decode_page`` takes it.

    Raises:
        ValueError: It is damaged.
    """
    raw = sealer.open(page.stored, "segment", CHUNK_MAX_BYTES, exactly=page.ref.segment.raw)
    if hasher.chunk_id(raw) != page.ref.chunk:
        raise ValueError("holds a page that does not match its id")
    return raw


class StoredTree(Tree):
    """A tree as it is in the store.

    Attributes:
        pages: In order.
        packs: By the number that pages call them by: of content and of pages.
    """

    pages: Sequence[Page]
    packs: Mapping[int, Pack]

    def __init__(self, outline: Outline, pages: Sequence[Page], sealer: Sealer) -> None:
        super().__init__(outline.snapshot, _Entries(self), _Places(self))
        object.__setattr__(self, "pages", pages)
        object.__setattr__(self, "packs", outline.packs)
        object.__setattr__(self, "_sealer", sealer)

    _sealer: Sealer
    _held: dict[int, _Decoded] | None = None

    def __eq__(self, other: object) -> bool:
        return self is other

    __hash__ = object.__hash__

    def outline(self) -> Outline:
        """What is stored of it beside its pages."""
        return Outline(self.snapshot, self.packs, [page.ref for page in self.pages])

    def decoded(self) -> Iterator[_Decoded]:
        """Each page's entries, and where their chunks are."""
        for number, page in enumerate(self.pages):
            held = self._held
            if held is None:
                yield self._decode(page)
            else:
                if number not in held:
                    held[number] = self._decode(page)
                yield held[number]

    def _decode(self, page: Page) -> _Decoded:
        raw = self._sealer.open(page.stored, "segment", CHUNK_MAX_BYTES, exactly=page.ref.segment.raw)
        return decode_page(raw, self.packs)

    @contextmanager
    def held(self) -> Iterator[None]:
        if self._held is not None or len(self.entries) > _HELD_ENTRIES:
            yield
            return
        object.__setattr__(self, "_held", {})
        try:
            yield
        finally:
            object.__setattr__(self, "_held", None)

    def rows(self) -> Iterator[Row]:
        for entries, places in self.decoded():
            for entry in entries:
                yield entry, places


def check_tree(tree: StoredTree) -> None:
    """Look through a tree that comes from a store.

    Raises:
        ValueError: It says something no tree may say.
    """
    files = size = 0
    for entry in checked(_counted(tree)):
        files += entry.kind == "file"
        size += entry.size
    if (files, size) != (tree.snapshot.files, tree.snapshot.bytes):
        raise ValueError("its totals do not add up")


def _counted(tree: StoredTree) -> Iterator[Entry]:
    for page, (entries, _) in zip(tree.pages, tree.decoded(), strict=True):
        if len(entries) != page.ref.entries:
            raise ValueError(f"a page has {len(entries)} entries, not {page.ref.entries}")
        yield from entries


class _Entries(Collection[Entry]):
    def __init__(self, tree: StoredTree) -> None:
        self._tree = tree

    def __len__(self) -> int:
        return sum(page.ref.entries for page in self._tree.pages)

    def __iter__(self) -> Iterator[Entry]:
        for entries, _ in self._tree.decoded():
            yield from entries

    def __contains__(self, entry: object) -> bool:
        return any(entry == found for found in self)


class _Places(Mapping[bytes, Place]):
    """Every chunk of a tree, its pages included; indexed when first looked up, in about 40 bytes a chunk."""

    def __init__(self, tree: StoredTree) -> None:
        self._tree = tree

    def __getitem__(self, chunk: bytes) -> Place:
        return self._index[chunk]

    def __contains__(self, chunk: object) -> bool:
        return isinstance(chunk, bytes) and self._index.row(chunk) is not None

    def __iter__(self) -> Iterator[bytes]:
        return iter(self._index)

    def __len__(self) -> int:
        return len(self._index)

    @cached_property
    def _index(self) -> _Index:
        return _Index(self._tree)


class _Index:
    """Chunk ids sorted by their first bytes, beside columns that say where they are."""

    def __init__(self, tree: StoredTree) -> None:
        self._ids = bytearray()
        self._segments: list[Segment] = []
        self._columns = array("I")  # number of the segment, offset and size of each chunk
        for _, places in tree.decoded():
            self._take(places)
        for page in tree.pages:
            self._take({page.ref.chunk: Place(page.ref.segment, 0, page.ref.segment.raw)})
        prefixes = array("Q")
        for start in range(0, len(self._ids), CHUNK_ID_BYTES):
            prefixes.append(_prefix(self._ids[start : start + _PREFIX_BYTES]))
        order = array("I", sorted(range(len(prefixes)), key=prefixes.__getitem__))
        self._prefixes = array("Q")
        self._order = array("I")
        previous = b""
        for row in order:
            # Pages repeat the chunks they share; what is equal is together, but for prefixes that clash.
            if (chunk := self._id(row)) != previous:
                self._prefixes.append(prefixes[row])
                self._order.append(row)
            previous = chunk

    def _take(self, places: Mapping[bytes, Place]) -> None:
        for chunk, place in places.items():
            if not (self._segments and self._segments[-1] == place.segment):
                self._segments.append(place.segment)
            self._ids += chunk
            self._columns.extend((len(self._segments) - 1, place.offset, place.size))

    def _id(self, row: int) -> bytes:
        return bytes(self._ids[row * CHUNK_ID_BYTES : (row + 1) * CHUNK_ID_BYTES])

    def row(self, chunk: bytes) -> int | None:
        wanted = _prefix(chunk[:_PREFIX_BYTES])
        at = bisect_left(self._prefixes, wanted)
        while at < len(self._prefixes) and self._prefixes[at] == wanted:
            if self._id(self._order[at]) == chunk:
                return self._order[at]
            at += 1
        return None

    def __getitem__(self, chunk: bytes) -> Place:
        row = self.row(chunk)
        if row is None:
            raise KeyError(chunk)
        segment, offset, size = self._columns[3 * row : 3 * row + 3]
        return Place(self._segments[segment], offset, size)

    def __iter__(self) -> Iterator[bytes]:
        return map(self._id, self._order)

    def __len__(self) -> int:
        return len(self._order)


def _prefix(raw: bytes | bytearray) -> int:
    return int.from_bytes(raw, "big")
