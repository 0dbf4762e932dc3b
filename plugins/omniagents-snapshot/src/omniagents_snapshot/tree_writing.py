"""A new tree on its way into the store: pages that are not stored yet go into packs, its outline names all of them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import count
from typing import TYPE_CHECKING

from omniagents.state import Snapshot
from omniagents_snapshot.model import Entry, Pack, Row, Tree
from omniagents_snapshot.page_format import encode_page, in_pages
from omniagents_snapshot.stored_tree import Page, StoredTree
from omniagents_snapshot.tree_format import Outline, PageRef
from omniagents_snapshot.validation import checked

if TYPE_CHECKING:
    from omniagents_snapshot.packing import Packer
    from omniagents_snapshot.repository import Repository
    from omniagents_snapshot.usable import Usable

__all__ = ["PackNumbers", "TreeWriter"]


class PackNumbers(Mapping[Pack, int]):
    """What pages call packs: as the tree before called them, so that unchanged pages stay equal; else the next number.

    Attributes:
        next: New numbers, for whoever makes packs.
    """

    def __init__(self, before: Tree | None) -> None:
        packs = before.packs if isinstance(before, StoredTree) else {}
        self._numbers = {pack: number for number, pack in packs.items()}
        self.next = count(max(packs, default=0) + 1)
        self._used: dict[int, Pack] = {}

    def __getitem__(self, pack: Pack) -> int:
        number = self._numbers.get(pack)
        if number is None:
            # What has no digest yet was given its number by the packer.
            number = self._numbers[pack] = next(self.next) if pack.digest else pack.size
        self._used[number] = pack
        return number

    def __iter__(self) -> Iterator[Pack]:
        return iter(self._numbers)

    def __len__(self) -> int:
        return len(self._numbers)

    def used(self, new: Mapping[int, Pack]) -> dict[int, Pack]:
        """The packs that were asked for, the new ones by their digests."""
        return {number: new.get(number, pack) for number, pack in self._used.items()}


class TreeWriter:
    """Writes one tree.

    Args:
        before: The tree it is made from; its pages are not stored again, as far as they are ``usable``.
    """

    def __init__(
        self, repository: Repository, packer: Packer, numbers: PackNumbers, before: Tree | None,
        usable: Usable | None = None,
    ) -> None:  # fmt: skip
        self._repository = repository
        self._packer = packer
        self._numbers = numbers
        pages = before.pages if isinstance(before, StoredTree) else ()
        self._known = {page.ref.chunk: page for page in pages if not usable or usable.has_segment(page.ref.segment)}
        self._pages: list[Page] = []

    def write(self, rows: Iterable[Row]) -> None:
        """Take the entries, in the order of their paths.

        Raises:
            ValueError: One of them is impossible.
        """
        for page in in_pages(_checked(rows)):
            raw = encode_page(page, self._numbers)
            chunk = self._repository.hasher.chunk_id(raw)
            known = self._known.get(chunk)
            if known is None:
                segment, stored = self._packer.add_alone(chunk, raw)
                known = Page(PageRef(chunk, segment, len(page)), stored)
            self._pages.append(known)

    def finish(self, snapshot: Snapshot) -> StoredTree:
        """The tree, once every pack has its digest. Neither packs nor outline need be stored yet."""
        new = self._packer.finish()
        for page in self._pages:
            _ = self._numbers[page.ref.segment.pack]
        pages = [_named(page, new) for page in self._pages]
        outline = Outline(snapshot, self._numbers.used(new), [page.ref for page in pages])
        return StoredTree(outline, pages, self._repository.sealer)


def _checked(rows: Iterable[Row]) -> Iterator[Row]:
    places: list[Row] = []

    def entries() -> Iterator[Entry]:
        for row in rows:
            places.append(row)
            yield row[0]

    for _ in checked(entries()):
        yield places.pop()


def _named(page: Page, new: Mapping[int, Pack]) -> Page:
    pack = page.ref.segment.pack
    if pack.digest:
        return page
    segment = page.ref.segment._replace(pack=new[pack.size])
    return Page(page.ref._replace(segment=segment), page.stored)
