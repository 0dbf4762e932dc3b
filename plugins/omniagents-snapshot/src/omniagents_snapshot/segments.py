"""``HEAD`` of one project, and its segments wherever a prune has moved them."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from typing import NamedTuple, Self

from omniagents.errors import StateCorruptError
from omniagents_snapshot.access import Access
from omniagents_snapshot.limits import HEAD_MAX_BYTES
from omniagents_snapshot.model import Head, Origin, Segment, TreeName
from omniagents_snapshot.moves import Move, Moves, decode_moves, encode_moves
from omniagents_snapshot.objects import CorruptObjectError, Objects
from omniagents_snapshot.ranges import PackRange, ranges_of
from omniagents_snapshot.small_objects import decode_head, encode_head
from omniagents_snapshot.store import ObjectMissingError, Store

__all__ = ["HeadState", "Segments"]

_ATTEMPTS = 5


class HeadState(NamedTuple):
    """``HEAD`` as read, and the version to swap it by; both None before the first save.

    ``is_recorded``: whether all it names is known to have an entry in the history.
    """

    head: Head | None = None
    version: str | None = None
    is_recorded: bool = False


class Segments(Objects):
    """Reads and swaps ``HEAD``, which names the list of moves, and reads segments by it."""

    def __init__(self, store: Store, project_id: str, access: Access | None = None) -> None:
        super().__init__(store, project_id, access)
        self._seen: Head | None = None  # HEAD as it was read last
        self._known_moves: tuple[TreeName | None, Moves] = None, Moves()
        self._assumed: Moves | None = None
        self._moving = threading.Lock()

    def uncached(self) -> Self:
        other = super().uncached()
        other._assumed = self._assumed
        return other

    def read_head(self) -> HeadState:
        """The latest snapshot.

        Raises:
            StateCorruptError: ``HEAD`` is damaged; an older snapshot can still be restored.
        """
        found = self.store.read_versioned(self._name("HEAD"))
        if found is None:
            return HeadState()
        state = HeadState(self._decoded("HEAD", found.data[:HEAD_MAX_BYTES], self._decode_head), found.version)
        self._seen = state.head
        return state

    def readable_head(self) -> Head | None:
        """The latest snapshot, for those who can do without: None also if ``HEAD`` is damaged."""
        try:
            return self.read_head().head
        except StateCorruptError:
            return None

    def head_version(self) -> str | None:
        """The version of ``HEAD``, whether it can be read or not."""
        found = self.store.read_versioned(self._name("HEAD"))
        return found.version if found else None

    def swap_head(self, head: Head, expected: str | None) -> str | None:
        """Make ``head`` the latest; its version, or None if another writer was first.

        A swap whose answer was lost is recognised by its commit id and counts as done.
        """
        version = self.store.cas(
            self._name("HEAD"), self.sealer.protect(encode_head(head, self.hasher), "HEAD"), expected
        )
        if version is not None:
            return version
        try:
            now = self.read_head()
        except StateCorruptError:
            return None  # not what we wrote
        return now.version if now.head is not None and now.head.commit_id == head.commit_id else None

    @property
    def moves(self) -> Moves:
        """Where segments are, by the ``HEAD`` that was read last.

        Raises:
            StateCorruptError: The list is missing or damaged.
        """
        return self._moves_now()

    def _moves_now(self, before: Moves | None = None) -> Moves:
        """The moves as far as known; as they are by now if that is ``before``."""
        if self._assumed is not None:
            return self._assumed
        with self._moving:
            head = self._seen
            if head is None or (before is not None and before is self._known_moves[1]):
                head = self.readable_head()
            for _ in range(_ATTEMPTS):
                if head is None:
                    break
                try:
                    return self.moves_of(head)
                except CorruptObjectError as error:
                    now = self.readable_head()
                    if not isinstance(error.__cause__, ObjectMissingError) or (now and now.moves == head.moves):
                        raise
                    head = now  # a prune has put another list in its place
            return self.moves_of(head) if head else self.find_moves()

    def assume_moves(self, moves: Moves) -> None:
        """Have this say where segments are from now on, whatever ``HEAD`` names."""
        self._assumed = moves

    def moves_of(self, head: Head) -> Moves:
        """The moves that this ``HEAD`` names.

        Raises:
            CorruptObjectError: The list is missing or damaged.
        """
        known, moves = self._known_moves
        if known != head.moves:
            moves = self.get_moves(head.moves) if head.moves else Moves()
            self._known_moves = head.moves, moves
        return moves

    def get_moves(self, name: TreeName) -> Moves:
        """A stored list of moves.

        Raises:
            CorruptObjectError: It is missing or damaged.
        """
        return self._kept_or_stored("moves", name, lambda data: decode_moves(data, self.sealer))

    def put_moves(self, moves: Moves) -> TreeName:
        """Store a list of moves."""
        return self._put_named("moves", encode_moves(moves, self.sealer))

    def find_moves(self) -> Moves:
        """All moves that any stored list has, for when ``HEAD`` does not say which list counts."""
        names = [TreeName(found.name.rpartition("/")[2], found.size) for found in self.list("moves/")]
        there = self.pack_digests() if names else set()
        moves: dict[Origin, Move] = {}
        for name in names:
            try:
                found = self.get_moves(name)
            except StateCorruptError:
                continue  # what it lists is missing then, and said to be
            moves |= {origin: move for origin, move in found if move.to.pack.digest in there or origin not in moves}
        return Moves(moves)

    def ranges_of(self, segments: Iterable[Segment]) -> list[PackRange]:
        """How to read these segments: to be read by ``read_range``."""
        return ranges_of(segments, self.moves.locate)

    def read_range(self, planned: PackRange) -> dict[Segment, bytes]:
        """What is stored of each segment, whole but unchecked.

        Raises:
            CorruptObjectError: A pack is missing or too short.
        """
        try:
            return planned.cut(self.get_pack_range(planned.digest, planned.offset, planned.length))
        except CorruptObjectError as error:
            if not isinstance(error.__cause__, ObjectMissingError):
                raise
            return {segment: self.read_segment(segment) for segment in planned.segments}

    def read_segment(self, segment: Segment, *, again: bool = False) -> bytes:
        """What is stored of one segment, whole but unchecked, wherever a prune moves it meanwhile.

        Args:
            again: What was read turned out to be damaged: from the store, whatever this machine has of it.

        Raises:
            CorruptObjectError: The pack is missing or too short.
        """
        moves = self.moves
        for _ in range(_ATTEMPTS):
            found = moves.locate(segment)
            try:
                read = self.reread_pack_range if again else self.get_pack_range
                return read(found.pack.digest, found.offset, found.stored)
            except CorruptObjectError as error:
                moves = self._moves_now(moves)
                if not isinstance(error.__cause__, ObjectMissingError) or moves.locate(segment) == found:
                    raise
        return self.get_pack_range(found.pack.digest, found.offset, found.stored)

    def corrupt_segment(self, segment: Segment, error: ValueError) -> CorruptObjectError:
        """The error for a segment that does not hold what it should."""
        found = self.moves.locate(segment)
        return self.corrupt(self.pack_name(found.pack.digest), f"{error} (at byte {found.offset})", error)

    def _decode_head(self, data: bytes) -> Head:
        return decode_head(self.sealer.unprotect(data, "HEAD"), self.hasher)
