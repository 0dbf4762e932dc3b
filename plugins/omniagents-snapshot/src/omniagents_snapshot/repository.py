"""One project's snapshots in a store: trees, and the history."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime

from omniagents.errors import SnapshotNotFoundError, StateCorruptError, StateError
from omniagents.state import Snapshot
from omniagents_snapshot.limits import HEAD_MAX_BYTES, TREE_MAX_STORED_BYTES
from omniagents_snapshot.model import Head, Segment, Tree, TreeName
from omniagents_snapshot.packing import Packer
from omniagents_snapshot.segments import HeadState, Segments
from omniagents_snapshot.small_objects import decode_pointer, encode_pointer
from omniagents_snapshot.store import ObjectMissingError
from omniagents_snapshot.stored_tree import Page, StoredTree, check_tree, open_page
from omniagents_snapshot.tree_format import Outline, PageRef, decode_outline, encode_outline, from_microseconds
from omniagents_snapshot.tree_writing import PackNumbers, TreeWriter

__all__ = ["HeadState", "Repository"]

_PARALLEL = 8


class Repository(Segments):
    """Reads and writes one project. Knows nothing of workspaces; may be used from many threads."""

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

    def _open_outline(self, data: bytes) -> Outline:
        outline = decode_outline(data, self.sealer)
        if outline.snapshot.project_id != self.project_id:
            raise ValueError(f"is of project {outline.snapshot.project_id!r}")
        return outline
