"""One save: scan, read what changed, store it, and only then say so.

The order is what makes a crash harmless: packs and the tree that refers to them, then the swap of
``HEAD``, which makes the snapshot, then its entry in the history.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from omniagents._ids import new_snapshot_id, utc_now
from omniagents.errors import StateError, StateQuotaError
from omniagents.records import FileInfo, LeftOut, Scan
from omniagents.state import Snapshot
from omniagents_snapshot.aligning import align
from omniagents_snapshot.attempting import attempting
from omniagents_snapshot.base import Attempt, Base
from omniagents_snapshot.committing import next_head, record, swap
from omniagents_snapshot.comparing import count_changed, is_changed
from omniagents_snapshot.model import Entry, Place, Row, Tree, TreeName
from omniagents_snapshot.packing import Packer
from omniagents_snapshot.reading import FileReader, ReadFiles, entry_of, kept_mode
from omniagents_snapshot.repository import HeadState
from omniagents_snapshot.scanning import scan_workspace
from omniagents_snapshot.statcache import Signature, Signatures, signature
from omniagents_snapshot.stored_tree import StoredTree
from omniagents_snapshot.tree_writing import PackNumbers, TreeWriter
from omniagents_snapshot.usable import Usable, UsablePlaces

if TYPE_CHECKING:
    from omniagents.workspace import Workspace

__all__ = ["Lost", "Quota", "Saver"]

# Three packs may be on their way, and two segments being compressed meanwhile.
_WORKERS = 5

# An entry of the tree before, where its chunks are, and its number.
_Old = tuple[Entry, Mapping[bytes, Place], int]


@dataclass(frozen=True)
class Quota:
    """Limits of one project's workspace: bytes of file content, and number of entries; None for no limit."""

    max_bytes: int | None
    max_files: int | None

    def check(self, project_id: str, size: int, entries: int) -> None:
        """Raises StateQuotaError if this is over a limit."""
        for number, limit, what, option in (
            (size, self.max_bytes, "bytes", "max_bytes"),
            (entries, self.max_files, "files, directories and links", "max_files"),
        ):
            if limit is not None and number > limit:
                raise StateQuotaError(
                    f"the workspace of project {project_id!r} holds {number:,} {what}, "
                    f"more than the limit of {limit:,}; remove some, list them in .omniagentsignore, or raise {option}"
                )


class Lost(Exception):
    """The swap of ``HEAD`` failed, or was not to be tried; the work is stored, and no part of the project yet.

    Attributes:
        signatures: Of the files that need not be read again for as long as they look like this.
    """

    def __init__(self, tree: Tree, name: TreeName, signatures: Signatures) -> None:
        super().__init__(tree.snapshot.id)
        self.tree = tree
        self.name = name
        self.signatures = signatures


class Saver:
    """Saves one workspace on top of ``base``, which it brings up to date."""

    def __init__(
        self, base: Base, workspace: Workspace, *, leave_out: Sequence[str], quota: Quota, session: str
    ) -> None:
        self._base = base
        self._workspace = workspace
        self._leave_out = leave_out
        self._quota = quota
        self._session = session
        self._repository = base.repository
        self._reporter = base.repository.reporter()
        self._usable = Usable(base.repository, base.state, base.gone)
        # What the workspace was made equal to is kept, in HEAD or beside it.
        self._is_kept = base.tree is not None and (base.is_latest or base.aside is not None)

    def save(self, message: str) -> Snapshot:
        """The new snapshot, or the latest one if nothing changed.

        Raises:
            Lost: Another writer was first.
            StateQuotaError: The workspace is over a limit; nothing was stored.
        """
        with self._base.tree.held() if self._base.tree else nullcontext():
            return self._save(message)

    def _save(self, message: str) -> Snapshot:
        base = self._base
        self._reporter.start("scan")
        scan = scan_workspace(self._workspace, base, self._leave_out)
        self._reporter.add(len(scan.entries))
        self._reporter.finish()
        self._check_quota(scan)
        dirty, differs = self._compare(scan)
        if not dirty and not differs and self._is_kept and base.tree is not None:
            return base.tree.snapshot
        if base.head is None:
            self._repository.create()
        with ThreadPoolExecutor(_WORKERS, thread_name_prefix="snapshot-save") as executor:
            numbers = PackNumbers(base.tree)
            packer = Packer(self._repository, self._usable_places(), executor, numbers.next)
            try:
                read = self._read(dirty, packer, scan)
                new = _Merged(self, scan, dirty, read, packer)
                writer = TreeWriter(self._repository, packer, numbers, base.tree, self._usable)
                writer.write(new.rows())
                if not differs and not new.changed and self._is_kept and base.tree is not None:
                    base.signatures = new.signatures
                    return base.tree.snapshot
                tree = writer.finish(self._describe(new, message, _left_out(scan, read)))
                name = self._repository.put_outline(tree.outline())  # while the last packs are on their way
                self._reporter.start("store")
                packer.wait()
                self._reporter.finish()
            except BaseException as error:
                executor.shutdown(wait=True, cancel_futures=True)
                if isinstance(error, ValueError) and not isinstance(error, StateError):
                    raise self._repository.unsavable(error) from error
                raise
        return self._publish(tree, name, new.signatures)

    def _check_quota(self, scan: Scan) -> None:
        size = sum(entry.size for entry in scan.entries if entry.kind == "file")
        self._quota.check(self._repository.project_id, size, len(scan.entries))

    def _usable_places(self) -> Mapping[bytes, Place]:
        """Chunks that may be referred to without storing them again: those not deleted, nor about to be."""
        if self._base.tree is None:
            return {}
        places = self._base.tree.places
        return places if self._usable.is_all else UsablePlaces(places, self._usable)

    def pairs(self, scan: Scan) -> Iterator[tuple[_Old | None, tuple[FileInfo, int] | None]]:
        """What was and what is at each path, side by side."""
        before = self._base.tree.rows() if self._base.tree else ()
        old = ((entry, places, row) for row, (entry, places) in enumerate(before))
        return align(old, ((info, row) for row, info in enumerate(scan.entries)))

    def _compare(self, scan: Scan) -> tuple[array[int], bool]:
        """The rows of files that must be read, and whether anything else differs from the tree before."""
        dirty = array("Q")
        differs = self._base.tree is None
        for old, new in self.pairs(scan):
            if new is None or (new[0].kind == "other"):
                differs = differs or old is not None
            elif new[0].kind == "file" and not self.is_clean(old, new[0]):
                dirty.append(new[1])
                differs = differs or old is None or old[0].kind != "file"
            else:
                differs = differs or is_changed(old[0] if old else None, clean_entry(old, new[0]))
        return dirty, differs

    def is_clean(self, old: _Old | None, info: FileInfo) -> bool:
        """Whether a file's content is known, and stored where it stays."""
        if old is None or old[0].kind != "file" or self._base.signatures.get(old[2]) != signature(info):
            return False
        entry, places, _ = old
        return self._usable.is_all or all(self._usable(places[chunk]) for chunk in entry.content)

    def signature(self, row: int) -> Signature | None:
        """What is remembered of an entry of the tree before."""
        return self._base.signatures.get(row)

    def _read(self, dirty: array[int], packer: Packer, scan: Scan) -> ReadFiles:
        if not dirty:
            return ReadFiles()
        reader = FileReader(
            self._workspace,
            packer.add,
            started_ns=scan.started_ns,
            max_bytes=self._quota.max_bytes,
            reporter=self._reporter,
        )
        self._reporter.start("read", len(dirty), sum(scan.entries[row].size for row in dirty))
        found = reader.read([scan.entries[row].path for row in dirty])
        self._reporter.finish()
        packer.settle()
        return found

    def _publish(self, tree: StoredTree, name: TreeName, signatures: Signatures) -> Snapshot:
        state = self._swapped(tree, name, signatures)
        if state is None:
            raise Lost(tree, name, signatures)
        known = {name: tree.snapshot} | self._base.description()
        self._base.stands_on(state, tree, name, signatures)
        self._base.state = record(self._repository, state, known)
        return tree.snapshot

    def _swapped(self, tree: StoredTree, name: TreeName, signatures: Signatures) -> HeadState | None:
        if self._base.aside is not None:
            return None  # others' work is in HEAD that this tree lacks
        head = next_head(self._repository, self._base.state, tree.snapshot, name, self._session)
        with attempting(self._base, Attempt(head, tree, name, signatures)):
            return swap(self._repository, self._base.state, head)

    def _describe(self, new: _Merged, message: str, left_out: tuple[LeftOut, ...]) -> Snapshot:
        parent = self._parent()
        if parent is not None and parent is self._base.tree:
            changed = new.changed
        else:
            changed = count_changed(parent.entries if parent else (), (entry for entry, _ in new.rows()))
        return Snapshot(
            id=new_snapshot_id(),
            project_id=self._repository.project_id,
            parent_id=parent.snapshot.id if parent else None,
            # Never before its parent, whatever this host's clock says: the history is ordered by time.
            created_at=max(utc_now(), parent.snapshot.created_at + timedelta(microseconds=1)) if parent else utc_now(),
            message=message,
            files=new.files,
            bytes=new.bytes,
            changed=changed,
            left_out=left_out,
        )

    def _parent(self) -> Tree | None:
        base = self._base
        if base.aside is not None:
            return base.aside.common
        if base.head is None or base.is_latest:
            return base.tree if base.is_latest else None
        return self._repository.get_tree(base.head.tree)


class _Merged:
    """The new tree: what was read, and of the tree before what is still so.

    Attributes:
        files: Of the new tree, when ``rows`` were looked through; likewise ``bytes``.
        changed: How many paths differ from the tree before.
        signatures: Of its entries.
    """

    def __init__(
        self, saver: Saver, scan: Scan, dirty: array[int], read: ReadFiles, packer: Mapping[bytes, Place]
    ) -> None:
        self._saver = saver
        self._scan = scan
        self._dirty = dirty
        self._read = read
        self._packer = packer
        self._reset()

    def _reset(self) -> None:
        self.files = self.bytes = self.changed = 0
        self.signatures = Signatures()

    def rows(self) -> Iterator[Row]:
        """The entries with where their content is; whoever asks again sees the same."""
        self._reset()
        number, rows = 0, self._dirty
        for old, new in self._saver.pairs(self._scan):
            entry: Entry | None = None
            found: Signature | None = None
            places: Mapping[bytes, Place] = self._packer
            if new is not None and number < len(rows) and rows[number] == new[1]:
                entry, found = self._read.entry(number, new[0].path), self._read.signature(number)
                number += 1
            elif new is not None and new[0].kind != "other":
                entry = clean_entry(old, new[0])
                if old is not None and entry.kind == "file":
                    places, found = old[1], self._saver.signature(old[2])
            self.changed += is_changed(old[0] if old else None, entry)
            if entry is not None:
                self.files += entry.kind == "file"
                self.bytes += entry.size
                self.signatures.append(found)
                yield entry, places


def clean_entry(old: _Old | None, info: FileInfo) -> Entry:
    """The entry of what need not be read; a file is the one that was there, with the mode it has now."""
    if info.kind != "file" or old is None:
        return entry_of(info)
    mode = kept_mode(info)
    return old[0] if old[0].mode == mode else old[0]._replace(mode=mode)


def _left_out(scan: Scan, read: ReadFiles) -> tuple[LeftOut, ...]:
    others = [LeftOut(info.path, "is a FIFO, socket or device") for info in scan.entries if info.kind == "other"]
    return tuple(sorted([*scan.left_out, *others, *read.left_out]))
