"""One project's snapshots in a store: the latest one, trees, and the history."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from typing import NamedTuple, Self

from omniagents.errors import SnapshotNotFoundError, StateCorruptError, StateError
from omniagents.state import Snapshot
from omniagents_snapshot.access import Access
from omniagents_snapshot.limits import HEAD_MAX_BYTES, TREE_MAX_STORED_BYTES
from omniagents_snapshot.model import Head, Origin, Segment, Tree, TreeName
from omniagents_snapshot.moves import Move, Moves, decode_moves, encode_moves
from omniagents_snapshot.objects import CorruptObjectError, Objects
from omniagents_snapshot.packing import Packer
from omniagents_snapshot.ranges import PackRange, ranges_of
from omniagents_snapshot.small_objects import decode_head, decode_pointer, encode_head, encode_pointer
from omniagents_snapshot.store import ObjectMissingError, Store
from omniagents_snapshot.stored_tree import Page, StoredTree, check_tree, open_page
from omniagents_snapshot.tree_format import Outline, PageRef, decode_outline, encode_outline, from_microseconds
from omniagents_snapshot.tree_writing import PackNumbers, TreeWriter

__all__ = ["HeadState", "Repository"]

_PARALLEL = 8
_ATTEMPTS = 5


class HeadState(NamedTuple):
    """``HEAD`` as read, and the version to swap it by; both None before the first save.

    ``is_recorded``: whether all it names is known to have an entry in the history.
    """

    head: Head | None = None
    version: str | None = None
    is_recorded: bool = False


class Repository(Objects):
    """Reads and writes one project. Knows nothing of workspaces; may be used from many threads."""

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

    def put_tree(self, tree: Tree, before: Tree | None = None) -> TreeName:
        """Store a tree whose content is stored, with the pages of its own that are not.

        Args:
            before: A tree in the store that it was made from.

        Raises:
            StateError: It is larger than a tree may be, or says what no tree may say.
        """
        numbers = PackNumbers(before)
        with ThreadPoolExecutor(_PARALLEL) as executor:
            packer = Packer(self, tree.places, executor, numbers.next)
            writer = TreeWriter(self, packer, numbers, before)
            try:
                writer.write(tree.rows())
            except ValueError as error:
                raise self.unsavable(error) from error
            stored = writer.finish(tree.snapshot)
            packer.wait()
        return self.put_outline(stored.outline())

    def put_outline(self, outline: Outline) -> TreeName:
        """Store what names a tree's packs and pages.

        Raises:
            StateError: It is larger than a tree may be.
        """
        try:
            data = encode_outline(outline, self.sealer)
            if len(data) > TREE_MAX_STORED_BYTES:
                raise ValueError(f"its description takes {len(data)} bytes, more than {TREE_MAX_STORED_BYTES}")
        except ValueError as error:
            raise self.unsavable(error) from error
        return self._put_named("trees", data)

    def unsavable(self, error: ValueError) -> StateError:
        """The error for a workspace that the format has no words for."""
        return StateError(f"the workspace of project {self.project_id!r} cannot be saved: {error}")

    def has_tree(self, name: TreeName) -> bool:
        """Whether a tree's own object is in the store."""
        return self.store.head(self._name(f"trees/{name.digest}")) is not None

    def get_tree(self, name: TreeName) -> StoredTree:
        """A stored tree, with all its pages, checked.

        Raises:
            StateCorruptError: It, or a page of it, is missing or damaged.
        """
        return self.open_tree(name, self.get_outline(name))

    def get_outline(self, name: TreeName) -> Outline:
        """What a stored tree consists of, checked.

        Raises:
            StateCorruptError: It is missing or damaged.
        """
        return self._kept_or_stored("trees", name, self._open_outline)

    def open_tree(self, name: TreeName, outline: Outline) -> StoredTree:
        """The tree with this outline.

        Raises:
            CorruptObjectError: A page of it is missing or damaged, or they do not belong together.
        """
        tree = StoredTree(outline, list(self.read_pages(outline.pages)), self.sealer)
        try:
            check_tree(tree)
        except ValueError as error:
            raise self.corrupt(self._name(f"trees/{name.digest}"), str(error), error) from error
        return tree

    def read_pages(self, refs: Sequence[PageRef]) -> Iterator[Page]:
        """The pages, by parallel ranged reads."""
        found: dict[Segment, bytes] = {}
        ranges = self.ranges_of(ref.segment for ref in refs)
        with ThreadPoolExecutor(_PARALLEL) as executor:
            for start in range(0, len(ranges), _PARALLEL):
                for read in executor.map(self.read_range, ranges[start : start + _PARALLEL]):
                    found |= read
        for ref in refs:
            yield self._checked_page(ref, found[ref.segment])

    def _checked_page(self, ref: PageRef, stored: bytes) -> Page:
        page, segment = Page(ref, stored), ref.segment
        try:
            open_page(page, self.sealer, self.hasher)
            return page
        except ValueError:
            page = Page(ref, self.read_segment(segment, again=True))
        try:
            open_page(page, self.sealer, self.hasher)
        except ValueError as error:
            raise self.corrupt_segment(segment, error) from error
        return page

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

    def put_pointer(self, snapshot: Snapshot, tree: TreeName) -> None:
        """Add a snapshot to the history."""
        name = self._pointer_name(snapshot)
        data = encode_pointer(snapshot, tree, self.hasher)
        self.store.put_new(name, self.sealer.protect(data, name.removeprefix(f"{self.prefix}/")))

    def has_pointer(self, head: Head) -> bool:
        """Whether the latest snapshot is in the history."""
        return self.store.head(self._entry_name(from_microseconds(head.time), head.snapshot_id)) is not None

    def remove_pointer(self, snapshot: Snapshot) -> None:
        """Take a snapshot out of the history. Idempotent."""
        self.store.delete(self._pointer_name(snapshot))

    def pointer_names(self) -> list[str]:
        """The names of the history, newest first."""
        return sorted((found.name for found in self.list("history/")), reverse=True)

    def history(self) -> list[Snapshot]:
        """Every kept snapshot, newest first.

        Raises:
            StateCorruptError: An entry of the history is damaged.
        """
        return [snapshot for snapshot, _ in self.recorded(self.readable_head())]

    def recorded(self, head: Head | None) -> list[tuple[Snapshot, TreeName]]:
        """Every snapshot with its tree, those of the history and those only ``HEAD`` knows yet: the one that is
        loaded, then the others, newest first.

        Raises:
            StateCorruptError: An entry of the history, or a tree without one, is damaged.
        """
        with ThreadPoolExecutor(_PARALLEL) as executor:
            listed = [found for found in executor.map(self._listed_pointer, self.pointer_names()) if found]
        trees = {tree for _, tree in listed}
        if head is not None:
            missing = [tree for tree in dict.fromkeys([head.tree, *head.unrecorded]) if tree not in trees]
            listed += [(self.get_outline(tree).snapshot, tree) for tree in missing]
            listed = [found for found in listed if found[0].id not in head.dropped]
        latest = head.snapshot_id if head else None
        return sorted(listed, key=lambda found: (found[0].id == latest, found[0].created_at, found[0].id), reverse=True)

    def find(self, snapshot_id: str) -> tuple[Snapshot, TreeName]:
        """One snapshot of the history.

        Raises:
            SnapshotNotFoundError: There is none with this id.
        """
        head = self.readable_head()
        names = self.pointer_names()
        if head is None or snapshot_id not in head.dropped:
            for name in names:
                if name.rpartition("-")[2] == snapshot_id:
                    return self.get_pointer(name)
            for tree in (head.tree, *head.unrecorded) if head else ():
                snapshot = self.get_outline(tree).snapshot
                if snapshot.id == snapshot_id:
                    return snapshot, tree
        newest = f"the newest is {names[0].rpartition('-')[2]!r}" if names else "nothing was saved yet"
        raise SnapshotNotFoundError(
            f"project {self.project_id!r} has no snapshot {snapshot_id!r}: it has {len(names)}, and {newest}"
        )

    def get_pointer(self, name: str) -> tuple[Snapshot, TreeName]:
        """One entry of the history by its full name.

        Raises:
            StateCorruptError: It is missing or damaged.
        """
        below = name.removeprefix(f"{self.prefix}/")

        def decode(data: bytes) -> tuple[Snapshot, TreeName]:
            return decode_pointer(self.sealer.unprotect(data, below), self.hasher)

        return self._checked(below, decode, HEAD_MAX_BYTES)

    def _listed_pointer(self, name: str) -> tuple[Snapshot, TreeName] | None:
        """``get_pointer``; None if it was deleted since it was listed."""
        try:
            return self.get_pointer(name)
        except StateCorruptError as error:
            if isinstance(error.__cause__, ObjectMissingError):
                return None
            raise

    def _pointer_name(self, snapshot: Snapshot) -> str:
        return self._entry_name(snapshot.created_at, snapshot.id)

    def _entry_name(self, time: datetime, snapshot_id: str) -> str:
        return self._name(f"history/{time.strftime('%Y%m%dT%H%M%S%fZ')}-{snapshot_id}")

    def _decode_head(self, data: bytes) -> Head:
        return decode_head(self.sealer.unprotect(data, "HEAD"), self.hasher)

    def _open_outline(self, data: bytes) -> Outline:
        outline = decode_outline(data, self.sealer)
        if outline.snapshot.project_id != self.project_id:
            raise ValueError(f"is of project {outline.snapshot.project_id!r}")
        return outline
