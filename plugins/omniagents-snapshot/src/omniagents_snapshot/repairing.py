"""Making the best of a damaged project: what can be rebuilt is, what cannot is named, and all else works again."""

from __future__ import annotations

import itertools
from collections import ChainMap
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

from omniagents._ids import new_snapshot_id
from omniagents.errors import StateConflictError, StateCorruptError
from omniagents.records import LeftOut
from omniagents.state import Snapshot
from omniagents_snapshot.checking import Checker
from omniagents_snapshot.committing import next_head, record, swap
from omniagents_snapshot.limits import CHUNK_MAX_BYTES, TREE_MAX_STORED_BYTES
from omniagents_snapshot.model import Entry, Origin, Pack, Place, Segment, Tree, TreeName, path_order
from omniagents_snapshot.moves import Move, Moves, extents_of
from omniagents_snapshot.pack_format import chunks_of, decode_pack, placed_segments
from omniagents_snapshot.packing import Packer
from omniagents_snapshot.repository import HeadState, Repository
from omniagents_snapshot.stored_tree import Page, StoredTree, open_page
from omniagents_snapshot.tree_format import Outline, PageRef

__all__ = ["LostFiles", "RepairReport", "Repairer"]

_WORKERS = 4
_REASON = "its stored content was damaged or missing, and a repair left it out"


@dataclass(frozen=True)
class LostFiles:
    """What of one snapshot is gone for good.

    Attributes:
        paths: Of the files.
        unnamed: How many entries more there were, of which not even the names are left.
    """

    snapshot_id: str
    paths: tuple[str, ...]
    unnamed: int = 0


@dataclass(frozen=True)
class RepairReport:
    """What a repair did, or with ``dry_run`` would do.

    Attributes:
        actions: One sentence for each thing rebuilt or removed; empty if all was well.
        lost: What could not be rebuilt of snapshots that are there again otherwise.
        unrepaired: One sentence for each thing that stays as it is.
    """

    project_id: str
    actions: tuple[str, ...] = ()
    lost: tuple[LostFiles, ...] = ()
    unrepaired: tuple[str, ...] = ()
    dry_run: bool = False


@dataclass
class _Found:
    """One snapshot, its tree, and the entry that the history has or should have."""

    snapshot: Snapshot
    name: TreeName
    outline: Outline


class Repairer:
    """Repairs one project."""

    def __init__(self, repository: Repository, session: str, *, dry_run: bool) -> None:
        self._repository = repository.uncached()
        self._session = session
        self._dry_run = dry_run
        self._actions: list[str] = []
        self._lost: list[LostFiles] = []
        self._unrepaired: list[str] = []
        self._obsolete: list[str] = []
        self._moves = Moves()
        self._has_list = True

    def repair(self, *, read_data: bool) -> RepairReport:
        """Find out and repair.

        Raises:
            StateConflictError: The project was saved meanwhile.
        """
        try:
            _ = self._repository.hasher
        except StateCorruptError as error:
            if list(self._repository.list()):
                self._unrepaired.append(
                    f"{error}; nothing can be read without its key: put back a copy of it, from a backup of the store"
                )
            return self._report()
        state = self._read_head()
        self._moves = self._find_moves(state)
        self._repository.assume_moves(self._moves)
        found = self._find_snapshots(state)
        damaged = self._damaged_packs(found, read_data=read_data)
        rebuilt = self._rebuild(found, damaged) if damaged else {}
        self._publish(state, found, rebuilt)
        return self._report()

    def _report(self) -> RepairReport:
        return RepairReport(
            self._repository.project_id,
            tuple(self._actions),
            tuple(self._lost),
            tuple(self._unrepaired),
            self._dry_run,
        )

    def _read_head(self) -> HeadState:
        try:
            return self._repository.read_head()
        except StateCorruptError as error:
            self._actions.append(f"HEAD is replaced, tags are lost: {error}")
            return HeadState(None, self._repository.head_version())

    def _find_moves(self, state: HeadState) -> Moves:
        try:
            if state.head is not None:
                return self._with_forgotten(self._repository.moves_of(state.head))
            return self._repository.find_moves() or self._moves_of_packs()
        except StateCorruptError as error:
            self._has_list = False
            self._actions.append(f"what says where moved content is, is put together anew from the packs: {error}")
            return self._moves_of_packs()

    def _with_forgotten(self, moves: Moves) -> Moves:
        """With those that a lost ``HEAD`` had named, and the one made since does not."""
        there, known = self._repository.pack_digests(), dict(moves)
        found = {origin: move for origin, move in self._repository.find_moves() if origin[0] not in there}
        if found.keys() <= known.keys():
            return moves
        self._has_list = False
        self._actions.append("HEAD names what says where moved content is")
        return Moves(found | known)

    def _moves_of_packs(self) -> Moves:
        """Where content is that was moved, as the packs themselves say."""
        found: dict[Origin, Move] = {}
        for stored in self._repository.list("packs/"):
            pack = Pack(stored.name.rpartition("/")[2], stored.size)
            try:
                segments = decode_pack(self._repository.get_pack(pack.digest), self._repository.sealer)
            except (StateCorruptError, ValueError):
                continue  # its own damage is found below
            for segment, sealed in placed_segments(pack, segments):
                move = Move(segment, extents_of((offset, size) for _, offset, size in chunks_of(sealed)))
                if sealed.origin and _size(move) >= _size(found.get(sealed.origin)):
                    found[sealed.origin] = move
        return Moves(found)

    def _find_snapshots(self, state: HeadState) -> dict[str, _Found]:
        """Every snapshot whose tree's outline can be read, by id."""
        found: dict[str, _Found] = {}
        head = state.head
        dropped = head.dropped if head else ()
        for name in (head.tree, *head.unrecorded) if head else ():
            self._take_tree(name, found, "HEAD")
        for pointer in self._repository.pointer_names():
            try:
                snapshot, name = self._repository.get_pointer(pointer)
            except StateCorruptError as error:
                self._actions.append(f"the history entry is replaced if its snapshot is there: {error}")
                self._obsolete.append(pointer)
                continue
            if snapshot.id in found and found[snapshot.id].name != name:
                # A repair that was interrupted had stored the snapshot anew.
                self._actions.append(f"the history entry names the repaired snapshot: {pointer}")
                self._obsolete.append(pointer)
            elif snapshot.id not in found and not self._take_tree(name, found, pointer):
                self._actions.append(f"the history entry of a lost snapshot is removed: {pointer}")
                self._obsolete.append(pointer)
        known = {one.name.digest for one in found.values()}
        sizes = {one.name.rpartition("/")[2]: one.size for one in self._repository.list("packs/")}
        for stored in self._repository.list("trees/"):
            digest = stored.name.rpartition("/")[2]
            if digest not in known:
                self._take_orphan(TreeName(digest, TREE_MAX_STORED_BYTES), stored.size, found, sizes, dropped)
        return {one: its for one, its in found.items() if one not in dropped}

    def _take_tree(self, name: TreeName, found: dict[str, _Found], named_by: str) -> bool:
        try:
            outline = self._repository.get_outline(name)
        except StateCorruptError as error:
            self._unrepaired.append(f"the snapshot that {named_by} names is lost: {error}")
            return False
        found[outline.snapshot.id] = _Found(outline.snapshot, name, outline)
        return True

    def _take_orphan(
        self, name: TreeName, size: int, found: dict[str, _Found], sizes: Mapping[str, int], dropped: Sequence[str]
    ) -> None:
        """A tree that nothing names: its snapshot lost the history entry, or its save was never finished."""
        try:
            outline = self._repository.get_outline(name)
        except StateCorruptError:
            return  # nobody misses it
        snapshot = outline.snapshot
        is_whole = all(sizes.get(pack.digest) == pack.size for pack in self._packs(outline))
        if is_whole and snapshot.id not in found and snapshot.id not in dropped:
            self._actions.append(f"the snapshot {snapshot.id!r} of {snapshot.created_at} is in the history again")
            found[snapshot.id] = _Found(snapshot, TreeName(name.digest, size), outline)

    def _damaged_packs(self, found: Mapping[str, _Found], *, read_data: bool) -> set[str]:
        used = {pack.digest for one in found.values() for pack in self._packs(one.outline)}
        report = Checker(self._repository).check_packs(
            {one.name: one.snapshot.id for one in found.values()}, read_data=read_data
        )
        damaged = {problem.name.rpartition("/")[2] for problem in report} & used
        for problem in report:
            if problem.name.rpartition("/")[2] in used:
                self._actions.append(f"what is left of a pack is stored anew: {problem.name} {problem.message}")
            else:
                self._unrepaired.append(f"{problem.name}: {problem.message}")
        return damaged

    def _rebuild(self, found: Mapping[str, _Found], damaged: set[str]) -> dict[str, Tree]:
        """The snapshots that need a damaged pack, without what is lost; by id."""
        affected = [one for one in found.values() if any(pack.digest in damaged for pack in self._packs(one.outline))]
        opened = {one.snapshot.id: self._open(one.outline) for one in affected}
        missing: dict[bytes, Place] = {}
        for tree, _ in opened.values():
            missing |= {chunk: place for chunk, place in tree.places.items() if not self._is_there(place, damaged)}
        places = self._elsewhere(found, affected, missing, damaged)
        places |= self._salvaged({chunk: place for chunk, place in missing.items() if chunk not in places})
        return {
            one.snapshot.id: self._without_lost(*opened[one.snapshot.id], places, missing.keys() - places.keys())
            for one in affected
        }

    def _open(self, outline: Outline) -> tuple[StoredTree, int]:
        """A tree with the pages that can be read, and how many entries the others had."""
        pages, unnamed = [], 0
        for ref in outline.pages:
            page = self._read_page(ref)
            if page is None:
                unnamed += ref.entries
            else:
                pages.append(page)
        return StoredTree(outline, pages, self._repository.sealer), unnamed

    def _read_page(self, ref: PageRef) -> Page | None:
        try:
            page = Page(ref, self._read_segment(ref.segment))
            open_page(page, self._repository.sealer, self._repository.hasher)
        except (StateCorruptError, ValueError):
            return None  # counted as lost by the caller
        return page

    def _read_segment(self, segment: Segment) -> bytes:
        return self._repository.read_segment(segment)

    def _packs(self, outline: Outline) -> set[Pack]:
        """The packs that hold what a tree names."""
        return {pack for named in outline.packs.values() for pack in self._moves.packs_of(named)}

    def _is_there(self, place: Place, damaged: set[str]) -> bool:
        return self._moves.has(place) and self._moves.locate(place.segment).pack.digest not in damaged

    def _elsewhere(
        self,
        found: Mapping[str, _Found],
        affected: Sequence[_Found],
        missing: Mapping[bytes, Place],
        damaged: set[str],
    ) -> dict[bytes, Place]:
        """Where other snapshots have the same chunks in a whole pack."""
        places: dict[bytes, Place] = {}
        for one in found.values():
            tree = self._open(one.outline)[0] if one in affected else self._repository.get_tree(one.name)
            for chunk, place in tree.places.items():
                if chunk in missing and self._is_there(place, damaged):
                    places[chunk] = place
        return places

    def _salvaged(self, wanted: Mapping[bytes, Place]) -> dict[bytes, Place]:
        """Store anew what can still be read of damaged packs; where that is then."""
        by_segment = sorted(wanted.items(), key=lambda item: (item[1].segment.pack.digest, item[1].segment.offset))
        good = (
            content
            for segment, rows in itertools.groupby(by_segment, key=lambda item: item[1].segment)
            for content in self._good_chunks(segment, list(rows))
        )
        if self._dry_run:
            return {chunk: wanted[chunk] for chunk in map(self._repository.hasher.chunk_id, good)}
        with ThreadPoolExecutor(_WORKERS) as executor:
            packer = Packer(self._repository, {}, executor, itertools.count(1))
            taken = [packer.add(content) for content in good]
            packs = packer.finish()
            packer.wait()
        return {chunk: _named(packer[chunk], packs) for chunk in taken}

    def _good_chunks(self, segment: Segment, rows: Sequence[tuple[bytes, Place]]) -> Iterator[bytes]:
        try:
            stored = self._read_segment(segment)
            raw = self._repository.sealer.open(stored, "segment", CHUNK_MAX_BYTES, exactly=segment.raw)
        except (StateCorruptError, ValueError):
            return  # what is not answered counts as lost
        for chunk, place in rows:
            content = raw[place.offset : place.offset + place.size]
            if self._repository.hasher.chunk_id(content) == chunk:
                yield content

    def _without_lost(self, tree: StoredTree, unnamed: int, places: dict[bytes, Place], lost: set[bytes]) -> Tree:
        kept: dict[str, Entry] = {}
        gone = []
        for entry in tree.entries:
            if lost.isdisjoint(entry.content):
                kept[entry.path] = entry
            else:
                gone.append(entry.path)
        for path in list(kept):
            while (path := path.rpartition("/")[0]) and path not in kept:
                # Its entry was on a page that is lost.
                mtime_ns = int(tree.snapshot.created_at.timestamp()) * 1_000_000_000
                kept[path] = Entry(path, "directory", 0o755, mtime_ns)
        if gone or unnamed:
            self._lost.append(LostFiles(tree.snapshot.id, tuple(gone), unnamed))
        sizes = [entry.size for entry in kept.values() if entry.kind == "file"]
        left_out = [*tree.snapshot.left_out, *(LeftOut(path, _REASON) for path in gone)]
        snapshot = replace(tree.snapshot, files=len(sizes), bytes=sum(sizes), left_out=tuple(left_out))
        entries = sorted(kept.values(), key=lambda entry: path_order(entry.path))
        return Tree(snapshot, entries, ChainMap(places, dict(tree.places)))

    def _publish(self, state: HeadState, found: Mapping[str, _Found], rebuilt: Mapping[str, Tree]) -> None:
        """Store what was rebuilt and make ``HEAD`` name it, then mend the history."""
        for one in rebuilt:
            self._actions.append(f"the snapshot {one!r} is stored anew with what is left of it")
        if not found:
            if state.head is not None or self._obsolete:
                self._unrepaired.append("no snapshot is left; `delete` removes the remains")
            return
        is_latest_there = state.head is not None and state.head.snapshot_id in found
        if not is_latest_there:
            self._actions.append("HEAD names the newest snapshot that is left")
        if self._dry_run or not self._actions:
            return
        names = {one: found[one].name for one in found}
        names |= {one: self._repository.put_tree(tree) for one, tree in rebuilt.items()}
        described = {one: its.snapshot for one, its in found.items()}
        described |= {one: tree.snapshot for one, tree in rebuilt.items()}
        newest = max(described.values(), key=lambda one: (one.created_at, one.id))
        latest = described[state.head.snapshot_id] if is_latest_there and state.head else newest
        recorded = {name.rpartition("-")[2] for name in self._repository.pointer_names()}
        bad = {name.rpartition("-")[2] for name in self._obsolete}
        due = [names[one] for one in found if one in rebuilt or one in bad or one not in recorded]
        tags = state.head.tags if state.head else {}
        head = replace(
            next_head(self._repository, state, latest, names[latest.id], self._session),
            commit_id=new_snapshot_id(),
            unrecorded=tuple(dict.fromkeys(due)),
            tags={tag: one for tag, one in tags.items() if one in found},
        )
        if state.head is None or not self._has_list:
            # What an interrupted prune has condemned may be what is left of something.
            head = replace(head, condemned=(), moves=self._repository.put_moves(self._moves) if self._moves else None)
        swapped = swap(self._repository, state, head)
        if swapped is None:
            raise StateConflictError(
                f"project {self._repository.project_id!r} was saved while it was repaired; repair again"
            )
        for pointer in self._obsolete:
            self._repository.store.delete(pointer)
        for one in rebuilt:
            self._repository.remove_pointer(described[one])
        record(self._repository, swapped, {names[one]: described[one] for one in names})


def _size(move: Move | None) -> int:
    return sum(size for _, size in move.kept) if move else 0


def _named(place: Place, packs: Mapping[int, Pack]) -> Place:
    return place._replace(segment=place.segment._replace(pack=packs[place.segment.pack.size]))
