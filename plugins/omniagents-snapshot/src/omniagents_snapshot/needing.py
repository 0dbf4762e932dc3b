"""Which stored content a number of trees needs, to the chunk."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import NamedTuple

from omniagents_snapshot.columns import unpack_fields, unpack_ints
from omniagents_snapshot.model import Pack, Place, Segment, TreeName
from omniagents_snapshot.page_format import decode_page
from omniagents_snapshot.repository import Repository
from omniagents_snapshot.stored_tree import open_page
from omniagents_snapshot.tree_format import PageRef

__all__ = ["Needed", "needed_by"]


class Needed(NamedTuple):
    """What is needed.

    Attributes:
        content: Of each segment, as trees name it, the size and id of each chunk, by offset; about 120 bytes a chunk.
        pages: The segments that hold a page.
    """

    content: dict[Segment, dict[int, tuple[int, bytes]]]
    pages: Collection[Segment]


def needed_by(repository: Repository, trees: Iterable[TreeName]) -> Needed:
    """What these trees need, the first's first.

    Raises:
        StateCorruptError: A tree, or a page of one, is missing or damaged.
    """
    found: dict[Segment, dict[int, tuple[int, bytes]]] = {}
    # Trees share most of their pages. A page means the same in all that call its packs by the same numbers.
    seen: dict[PageRef, dict[int, Pack]] = {}
    for name in trees:
        outline = repository.get_outline(name)
        new = [ref for ref in outline.pages if not _is_same(seen.get(ref), outline.packs)]
        for ref, places in _pages(repository, new, outline.packs, seen):
            for chunk, place in {ref.chunk: Place(ref.segment, 0, ref.segment.raw), **places}.items():
                found.setdefault(place.segment, {})[place.offset] = place.size, chunk
    return Needed(found, {ref.segment for ref in seen})


def _is_same(numbers: Mapping[int, Pack] | None, packs: Mapping[int, Pack]) -> bool:
    return numbers is not None and all(packs.get(number) == pack for number, pack in numbers.items())


def _pages(
    repository: Repository, refs: list[PageRef], packs: Mapping[int, Pack], seen: dict[PageRef, dict[int, Pack]]
) -> Iterator[tuple[PageRef, dict[bytes, Place]]]:
    for page in repository.read_pages(refs):
        raw = open_page(page, repository.sealer, repository.hasher)
        try:
            _, places = decode_page(raw, packs)
        except ValueError as error:
            raise repository.corrupt_segment(page.ref.segment, error) from error
        seen[page.ref] = {number: packs[number] for number in unpack_ints("I", unpack_fields(raw)["segment_packs"])}
        yield page.ref, places
