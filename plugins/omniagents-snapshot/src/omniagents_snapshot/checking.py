"""Is everything there, and is it what it says it is?"""

from __future__ import annotations

import struct
from collections.abc import Collection, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from omniagents.errors import StateCorruptError
from omniagents_snapshot.limits import CHUNK_MAX_BYTES
from omniagents_snapshot.model import Pack, Place, Segment, TreeName
from omniagents_snapshot.moves import Moves
from omniagents_snapshot.objects import CorruptObjectError
from omniagents_snapshot.pack_format import SealedSegment, chunks_of, decode_pack, pack_places
from omniagents_snapshot.repository import Repository
from omniagents_snapshot.sealing import CHUNK_ID_BYTES
from omniagents_snapshot.tree_format import PageRef

__all__ = ["CheckReport", "Checker", "Problem", "check_project"]

_PARALLEL = 2
_ATTEMPTS = 3

# A chunk's id, its segment's three numbers, and its two.
_CHUNK = struct.Struct(f"<{CHUNK_ID_BYTES}s5I")


@dataclass(frozen=True)
class Problem:
    """One damaged or missing object.

    Attributes:
        name: The object in the store.
        message: What is wrong with it.
        snapshots: Ids of the snapshots that cannot be restored whole because of it.
    """

    name: str
    message: str
    snapshots: tuple[str, ...] = ()


@dataclass(frozen=True)
class CheckReport:
    """What a check found.

    Attributes:
        snapshots: How many the history lists.
        objects: How many are stored, and ``stored_bytes`` their sizes added up.
        packs_read: How many packs were read whole; 0 without ``read_data``.
        unused_packs: Packs no kept snapshot refers to: left by an interrupted save, or dropped by a later one.
        problems: Empty if all is well.
    """

    project_id: str
    snapshots: int
    objects: int
    stored_bytes: int
    packs_read: int
    unused_packs: tuple[str, ...]
    problems: tuple[Problem, ...]

    @property
    def is_whole(self) -> bool:
        """Whether every snapshot can be restored, as far as was looked."""
        return not self.problems


@dataclass
class _Use:
    """A pack as trees see it: the snapshots that need it, and the chunks that must be in it.

    ``problem`` is what is wrong with the pages in it.
    """

    pack: Pack
    problem: str = ""
    snapshots: set[str] = field(default_factory=set)
    chunks: bytearray = field(default_factory=bytearray)

    def take(self, chunk: bytes, place: Place) -> None:
        """One more chunk that must be in it."""
        segment = place.segment
        self.chunks += _CHUNK.pack(chunk, segment.offset, segment.stored, segment.raw, place.offset, place.size)

    def is_kept_by(self, places: Collection[tuple[bytes, Place]]) -> bool:
        """Whether every chunk is where trees say."""
        return all(
            (chunk, Place(Segment(self.pack, *numbers), offset, size)) in places
            for chunk, *numbers, offset, size in _CHUNK.iter_unpack(self.chunks)
        )


def check_project(repository: Repository, *, read_data: bool) -> CheckReport:
    """Look at every snapshot; with ``read_data`` at every stored byte of content. Reads only.

    Looks again if something seems missing and a prune, say, has changed ``HEAD`` meanwhile.
    """
    for _ in range(_ATTEMPTS):
        version = repository.head_version()
        report = Checker(repository).check(read_data=read_data)
        if report.is_whole or repository.head_version() == version:
            break
    return report


class Checker:
    """Checks one project, once."""

    def __init__(self, repository: Repository) -> None:
        self._repository = repository.uncached()
        self._reporter = repository.reporter()
        self._problems: list[Problem] = []
        self._uses: dict[str, _Use] = {}
        self._trees: set[TreeName] = set()
        self._pages: set[PageRef] = set()
        self._snapshots: set[str] = set()

    def check(self, *, read_data: bool) -> CheckReport:
        """Look at every snapshot; with ``read_data`` at every stored byte of content."""
        sizes = {found.name: found.size for found in self._repository.list()}
        pointers = self._repository.pointer_names()
        dropped: tuple[str, ...] = ()
        if sizes:
            dropped = self._check_head(bool(pointers))
            pointers = [name for name in pointers if name.rpartition("-")[2] not in dropped]
            for name in pointers:
                self._check_pointer(name)
        present = self._check_packs(sizes)
        if read_data:
            self._read_packs(present)
        prefix = f"{self._repository.prefix}/packs/"
        used = {self._repository.pack_name(digest) for digest in self._uses}
        return CheckReport(
            project_id=self._repository.project_id,
            snapshots=len(self._snapshots.union(name.rpartition("-")[2] for name in pointers)),
            objects=len(sizes),
            stored_bytes=sum(sizes.values()),
            packs_read=len(present) if read_data else 0,
            unused_packs=tuple(sorted(name for name in sizes if name.startswith(prefix) and name not in used)),
            problems=tuple(self._problems),
        )

    def check_packs(self, trees: Mapping[TreeName, str], *, read_data: bool) -> list[Problem]:
        """Which packs of these trees are missing or damaged; the values are the ids of their snapshots."""
        sizes = {found.name: found.size for found in self._repository.list("packs/")}
        for name, snapshot_id in trees.items():
            self._check_tree(name, snapshot_id)
        present = self._check_packs(sizes)
        if read_data:
            self._read_packs(present)
        return self._problems

    def _read_packs(self, present: list[_Use]) -> None:
        with ThreadPoolExecutor(_PARALLEL) as executor:
            self._reporter.start("check", len(present), sum(use.pack.size for use in present))
            list(executor.map(self._check_pack, present))
            self._reporter.finish()

    def _check_head(self, is_saved: bool) -> tuple[str, ...]:
        """The snapshots that ``HEAD`` says are dropped."""
        name = f"{self._repository.prefix}/HEAD"
        try:
            head = self._repository.read_head().head
        except StateCorruptError as error:
            self._note(name, error)
            return ()
        if head is None:
            if is_saved:
                self._problems.append(Problem(name, "is missing, so that nothing is loaded; repair() rebuilds it"))
            return ()
        self._snapshots.add(head.snapshot_id)
        self._check_tree(head.tree, head.snapshot_id)
        for tree in head.unrecorded:
            self._check_tree(tree, tree.digest)
        return head.dropped

    def _check_pointer(self, name: str) -> None:
        try:
            snapshot, tree = self._repository.get_pointer(name)
        except StateCorruptError as error:
            self._note(name, error, name.rpartition("-")[2])
            return
        self._check_tree(tree, snapshot.id)

    def _check_tree(self, name: TreeName, snapshot_id: str) -> None:
        if name in self._trees:
            return
        self._trees.add(name)
        try:
            outline = self._repository.get_outline(name)
            snapshot_id = outline.snapshot.id
            self._snapshots.add(snapshot_id)
            moves = self._repository.moves
            for named in outline.packs.values():
                for pack in moves.packs_of(named):
                    self._uses.setdefault(pack.digest, _Use(pack)).snapshots.add(snapshot_id)
            tree = self._repository.open_tree(name, outline)
        except CorruptObjectError as error:
            use = self._uses.get(error.name.rpartition("/")[2])
            if use is None:
                self._note(error.name, error, snapshot_id)
            else:
                use.problem = str(error)
            return
        for page, (_, places) in zip(tree.pages, tree.decoded(), strict=True):
            self._take_page(page.ref, places, moves)

    def _take_page(self, ref: PageRef, places: Mapping[bytes, Place], moves: Moves) -> None:
        if ref in self._pages:
            return
        self._pages.add(ref)
        for chunk, place in {**places, ref.chunk: Place(ref.segment, 0, ref.segment.raw)}.items():
            stored = moves.locate(place.segment)
            use = self._uses.setdefault(stored.pack.digest, _Use(stored.pack))
            use.take(chunk, place._replace(segment=stored))
            if not moves.has(place):
                use.problem = "does not hold what a tree says it holds"

    def _check_packs(self, sizes: Mapping[str, int]) -> list[_Use]:
        """The packs that are there with the right size; the others are noted."""
        present = []
        for digest, use in sorted(self._uses.items()):
            name = self._repository.pack_name(digest)
            size = sizes.get(name)
            if size == use.pack.size and use.problem:
                self._note_pack(use, use.problem)
            elif size == use.pack.size:
                present.append(use)
            else:
                self._note_pack(use, "is missing" if size is None else f"has {size} bytes, not {use.pack.size}")
        return present

    def _check_pack(self, use: _Use) -> None:
        try:
            segments = decode_pack(self._repository.get_pack(use.pack.digest), self._repository.sealer)
            places = pack_places(use.pack, segments)
            for segment in segments:
                self._check_segment(segment)
            if not use.is_kept_by(places):
                raise ValueError("does not hold what a tree says it holds")
        except (ValueError, StateCorruptError) as error:
            self._note_pack(use, str(error))
        self._reporter.add(1, use.pack.size)

    def _check_segment(self, segment: SealedSegment) -> None:
        raw = self._repository.sealer.open(segment.stored, "segment", CHUNK_MAX_BYTES, exactly=sum(segment.sizes))
        for chunk, offset, size in chunks_of(segment):
            if self._repository.hasher.chunk_id(raw[offset : offset + size]) != chunk:
                raise ValueError("holds a chunk that does not match its id")

    def _note_pack(self, use: _Use, message: str) -> None:
        name = self._repository.pack_name(use.pack.digest)
        self._problems.append(Problem(name, message, tuple(sorted(use.snapshots))))

    def _note(self, name: str, error: StateCorruptError, *snapshots: str) -> None:
        self._problems.append(Problem(name, str(error), snapshots))
