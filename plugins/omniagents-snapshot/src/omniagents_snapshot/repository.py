"""One project's objects in a store: their names, their checks, and the order that keeps a crash harmless."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import datetime
from typing import NamedTuple, TypeVar

from omniagents._ids import encode_project_id
from omniagents.errors import SnapshotNotFoundError, StateCorruptError, StateError
from omniagents.state import Snapshot
from omniagents_snapshot.access import Access
from omniagents_snapshot.encryption import Encryption
from omniagents_snapshot.limits import HEAD_MAX_BYTES, PACK_MAX_BYTES, TREE_MAX_STORED_BYTES
from omniagents_snapshot.model import Head, Pack, Segment, Tree, TreeName
from omniagents_snapshot.packing import Packer
from omniagents_snapshot.progress import Reporter
from omniagents_snapshot.ranges import PackRange, ranges_of
from omniagents_snapshot.sealing import Hasher, Sealer
from omniagents_snapshot.small_objects import (
    copied_format,
    decode_head,
    decode_pointer,
    decode_project_id,
    encode_head,
    encode_pointer,
    new_format,
    open_format,
    rewrapped_format,
)
from omniagents_snapshot.store import ObjectMissingError, Store, StoredObject
from omniagents_snapshot.stored_tree import Page, StoredTree, check_tree, open_page
from omniagents_snapshot.tree_format import Outline, PageRef, decode_outline, encode_outline, from_microseconds
from omniagents_snapshot.tree_writing import PackNumbers, TreeWriter

__all__ = ["CorruptObjectError", "HeadState", "Repository", "project_ids"]

_T = TypeVar("_T")
_PARALLEL = 8
_FORMAT_MAX_BYTES = 64 << 10


class HeadState(NamedTuple):
    """``HEAD`` as read, and the version to swap it by; both None before the first save.

    ``is_recorded``: whether all it names is known to have an entry in the history.
    """

    head: Head | None = None
    version: str | None = None
    is_recorded: bool = False


class CorruptObjectError(StateCorruptError):
    """A stored object is missing or damaged.

    Attributes:
        name: Which.
    """

    def __init__(self, name: str, message: str) -> None:
        super().__init__(message)
        self.name = name


def project_ids(store: Store) -> Iterator[str]:
    """Every project something was ever saved for, in no order. Looks at the name of every object in the store.

    Raises:
        StateCorruptError: A project's format is damaged, so that its id is not known.
    """
    for found in store.list(""):
        if found.name.count("/") == 1 and found.name.endswith("/format.json"):
            try:
                yield decode_project_id(store.get(found.name, (0, _FORMAT_MAX_BYTES)))
            except ValueError as error:
                raise StateCorruptError(f"{found.name} {error}") from error


class Repository:
    """Reads and writes one project. Knows nothing of workspaces; may be used from many threads."""

    def __init__(self, store: Store, project_id: str, access: Access | None = None) -> None:
        self.store = store
        self.access = access or Access()
        self.project_id = project_id
        self.prefix = encode_project_id(project_id)
        self._hasher: Hasher | None = None
        self._sealer = Sealer()
        cache = self.access.cache
        self._cache = cache.project(store.identity, self.prefix) if cache else None

    def reporter(self) -> Reporter:
        """Tells whoever wants to know how far a call has come."""
        return Reporter(self.project_id, self.access.progress)

    def uncached(self) -> Repository:
        """The same project, seen as the store has it."""
        return Repository(self.store, self.project_id, replace(self.access, cache=None))

    @property
    def hasher(self) -> Hasher:
        """The project's keyed hash.

        Raises:
            StateCorruptError: Its format is missing or unreadable.
            StateError: It is encrypted, and the key is missing or another one.
        """
        if self._hasher is None:
            self._hasher, self._sealer = self._checked("format.json", self._open_format, _FORMAT_MAX_BYTES)
        return self._hasher

    @property
    def sealer(self) -> Sealer:
        """How the project's bytes are sealed. Raises what ``hasher`` does."""
        _ = self.hasher
        return self._sealer

    def create(self) -> None:
        """Store the format, with a new key, unless the project has one."""
        if self._hasher is None:
            self.store.put_new(self._name("format.json"), new_format(self.project_id, self.access.encryption))

    def create_like(self, other: Repository) -> bool:
        """Store the format with another project's key; False if this project has one already."""
        data = other._checked(
            "format.json",
            lambda data: copied_format(data, other.project_id, self.project_id, self.access.encryption),
            _FORMAT_MAX_BYTES,
        )
        return self.store.put_new(self._name("format.json"), data)

    def change_key(self, new: Encryption) -> None:
        """Wrap the project's own key for another key; nothing else is written, and what is stored stays readable.

        Raises:
            StateError: The project is not encrypted, or was changed meanwhile.
        """
        name = self._name("format.json")
        found, old = self.store.read_versioned(name), self.access.encryption
        if found is None or old is None:
            raise StateError(f"project {self.project_id!r} {'does not exist' if old else 'is opened without its key'}")
        data = self._decoded("format.json", found.data, lambda data: rewrapped_format(data, self.project_id, old, new))
        if self.store.cas(name, data, found.version) is None:
            raise StateError(f"the key of project {self.project_id!r} was changed by another process; try again")

    def read_head(self) -> HeadState:
        """The latest snapshot.

        Raises:
            StateCorruptError: ``HEAD`` is damaged; an older snapshot can still be restored.
        """
        found = self.store.read_versioned(self._name("HEAD"))
        if found is None:
            return HeadState()
        return HeadState(self._decoded("HEAD", found.data[:HEAD_MAX_BYTES], self._decode_head), found.version)

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

    def is_current(self) -> bool:
        """Whether the store still has this project, and not another one of the same name saved after a deletion."""
        try:
            return Repository(self.store, self.project_id, self.access).hasher.key == self.hasher.key
        except StateCorruptError:
            return False

    def put_pack(self, pack: Pack, data: bytes) -> None:
        """Store a pack."""
        self.store.put_new(self.pack_name(pack.digest), data)
        self._keep(pack.digest, 0, data)

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
        name = TreeName(self.hasher.digest(data), len(data))
        self.store.put_new(self._name(f"trees/{name.digest}"), data)
        self._keep(name.digest, 0, data)
        return name

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
        kept = self._kept(name.digest, 0, name.size)
        if kept is not None:
            return self._decoded(f"trees/{name.digest}", kept, lambda data: self._open_outline(name, data))

        def decode(data: bytes) -> Outline:
            outline = self._open_outline(name, data)
            self._keep(name.digest, 0, data)
            return outline

        return self._checked(f"trees/{name.digest}", decode, name.size)

    def open_tree(self, name: TreeName, outline: Outline) -> StoredTree:
        """The tree with this outline.

        Raises:
            CorruptObjectError: A page of it is missing or damaged, or they do not belong together.
        """
        tree = StoredTree(outline, list(self._read_pages(outline.pages)), self.sealer)
        try:
            check_tree(tree)
        except ValueError as error:
            raise self.corrupt(self._name(f"trees/{name.digest}"), str(error), error) from error
        return tree

    def _read_pages(self, refs: Sequence[PageRef]) -> Iterator[Page]:
        """The pages, by parallel ranged reads."""
        found: dict[Segment, bytes] = {}
        ranges = ranges_of(ref.segment for ref in refs)

        def read(planned: PackRange) -> bytes:
            return self.get_pack_range(planned.segments[0].pack.digest, planned.offset, planned.length)

        with ThreadPoolExecutor(_PARALLEL) as executor:
            for start in range(0, len(ranges), _PARALLEL):
                group = ranges[start : start + _PARALLEL]
                for planned, data in zip(group, executor.map(read, group), strict=True):
                    found |= planned.cut(data)
        for ref in refs:
            yield self._checked_page(ref, found[ref.segment])

    def _checked_page(self, ref: PageRef, stored: bytes) -> Page:
        page, segment = Page(ref, stored), ref.segment
        try:
            open_page(page, self.sealer, self.hasher)
            return page
        except ValueError:
            page = Page(ref, self.reread_pack_range(segment.pack.digest, segment.offset, segment.stored))
        try:
            open_page(page, self.sealer, self.hasher)
        except ValueError as error:
            raise self.corrupt(self.pack_name(segment.pack.digest), str(error), error) from error
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

    def pack_digests(self) -> set[str]:
        """The packs that the store has now."""
        return {found.name.rpartition("/")[2] for found in self.list("packs/")}

    def get_pack_range(self, digest: str, offset: int, length: int) -> bytes:
        """Part of a pack, whole but unchecked.

        Raises:
            StateCorruptError: The pack is missing or too short.
        """
        name = self.pack_name(digest)
        kept = self._kept(digest, offset, length)
        if kept is not None:
            return kept
        try:
            data = self.store.get(name, (offset, length))
        except ObjectMissingError as error:
            raise self.corrupt(name, "is missing", error) from error
        if len(data) != length:
            raise self.corrupt(name, f"ends before byte {offset + length}")
        self._keep(digest, offset, data)
        return data

    def reread_pack_range(self, digest: str, offset: int, length: int) -> bytes:
        """``get_pack_range`` of what turned out to be damaged: from the store, whatever this machine has of it."""
        if self._cache:
            self._cache.drop(digest, offset, length)
        return self.get_pack_range(digest, offset, length)

    def _kept(self, digest: str, offset: int, length: int) -> bytes | None:
        return self._cache.get(self.hasher, digest, offset, length) if self._cache else None

    def _keep(self, digest: str, offset: int, data: bytes) -> None:
        if self._cache:
            self._cache.put(self.hasher, digest, offset, data)

    def get_pack(self, digest: str) -> bytes:
        """A whole pack whose content matches its name.

        Raises:
            StateCorruptError: It is missing or damaged.
        """
        name = f"packs/{digest[:2]}/{digest}"
        return self._checked(name, lambda data: self._matching(digest, data), PACK_MAX_BYTES)

    def pack_name(self, digest: str) -> str:
        return self._name(f"packs/{digest[:2]}/{digest}")

    def list(self, below: str = "") -> Iterator[StoredObject]:
        """The project's objects below this part of it, by full names."""
        return self.store.list(f"{self.prefix}/{below}")

    def delete(self) -> None:
        """Remove everything, the latest first: half done, it reads as a project never saved. Idempotent."""
        if self._cache:
            self._cache.forget()
        self.store.delete(self._name("HEAD"))
        for below in ("history/", "trees/", "packs/", ""):
            with ThreadPoolExecutor(_PARALLEL) as executor:
                list(executor.map(lambda found: self.store.delete(found.name), list(self.list(below))))

    def corrupt(self, name: str, problem: str, cause: Exception | None = None) -> CorruptObjectError:
        """The error that names the object and what helps."""
        missing = isinstance(cause, ObjectMissingError)
        return CorruptObjectError(
            name,
            f"the stored object {name!r} of project {self.project_id!r} {'is missing' if missing else problem}; "
            "check() lists everything that is damaged, and snapshots that do not need it can still be restored",
        )

    def _pointer_name(self, snapshot: Snapshot) -> str:
        return self._entry_name(snapshot.created_at, snapshot.id)

    def _entry_name(self, time: datetime, snapshot_id: str) -> str:
        return self._name(f"history/{time.strftime('%Y%m%dT%H%M%S%fZ')}-{snapshot_id}")

    def _name(self, below: str) -> str:
        return f"{self.prefix}/{below}"

    def _decode_head(self, data: bytes) -> Head:
        return decode_head(self.sealer.unprotect(data, "HEAD"), self.hasher)

    def _open_format(self, data: bytes) -> tuple[Hasher, Sealer]:
        return open_format(data, self.project_id, self.access.encryption)

    def _open_outline(self, name: TreeName, data: bytes) -> Outline:
        outline = decode_outline(self._matching(name.digest, data), self.sealer)
        if outline.snapshot.project_id != self.project_id:
            raise ValueError(f"is of project {outline.snapshot.project_id!r}")
        return outline

    def _matching(self, digest: str, data: bytes) -> bytes:
        if self.hasher.digest(data) != digest:
            raise ValueError("does not match its digest")
        return data

    def _checked(self, below: str, decode: Callable[[bytes], _T], max_bytes: int) -> _T:
        name = self._name(below)
        try:
            data = self.store.get(name, (0, max_bytes))
        except ObjectMissingError as error:
            raise self.corrupt(name, "is missing", error) from error
        return self._decoded(below, data, decode)

    def _decoded(self, below: str, data: bytes, decode: Callable[[bytes], _T]) -> _T:
        try:
            return decode(data)
        except ValueError as error:
            raise self.corrupt(self._name(below), str(error), error) from error
