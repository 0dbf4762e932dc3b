"""What a new tree may refer to without storing it again."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping

from omniagents_snapshot.model import Place, Segment
from omniagents_snapshot.moves import Moves
from omniagents_snapshot.objects import CorruptObjectError
from omniagents_snapshot.repository import HeadState, Repository

__all__ = ["Usable", "UsablePlaces"]


class Usable:
    """Says of places whether what is there will stay, if the next swap replaces ``state``.

    Args:
        gone: Packs that trees name, and of which something is known to be lost.
        alive: The packs that the store has, if that was looked up.
    """

    def __init__(
        self,
        repository: Repository,
        state: HeadState,
        gone: Collection[str] = frozenset(),
        alive: Collection[str] | None = None,
    ) -> None:
        condemned = state.head.condemned if state.head else ()
        self._gone = frozenset(gone)
        self._condemned = frozenset(condemned)
        self._alive = alive
        #: Nothing is known to be lost, or about to be.
        self.is_all = not self._gone and not self._condemned and alive is None
        self._moves = Moves() if self.is_all or state.head is None else _moves_of(repository, state)

    def __call__(self, place: Place) -> bool:
        return self.has_segment(place.segment) and self._moves.has(place)

    def has_segment(self, segment: Segment) -> bool:
        """The same of a whole segment, as far as it was needed."""
        if segment.pack.digest in self._gone:
            return False
        digest = self._moves.locate(segment).pack.digest
        return digest not in self._condemned and (self._alive is None or digest in self._alive)


def _moves_of(repository: Repository, state: HeadState) -> Moves:
    assert state.head is not None
    try:
        return repository.moves_of(state.head)
    except CorruptObjectError:
        # Another prune put its own in that place, so that the swap will fail; or the list is lost. Either way, what
        # it listed is stored again.
        return Moves()


class UsablePlaces(Mapping[bytes, Place]):
    """Those of these places that may be referred to."""

    def __init__(self, places: Mapping[bytes, Place], usable: Usable) -> None:
        self._places = places
        self._usable = usable

    def __getitem__(self, chunk: bytes) -> Place:
        place = self._places[chunk]
        if not self._usable(place):
            raise KeyError(chunk)
        return place

    def __iter__(self) -> Iterator[bytes]:
        return (chunk for chunk in self._places if chunk in self)

    def __len__(self) -> int:
        return sum(1 for _ in self)
