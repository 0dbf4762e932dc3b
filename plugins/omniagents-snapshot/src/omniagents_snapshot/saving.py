"""One save: scan, read what changed, store it, and only then say so.

The order is what makes a crash harmless: packs, then the tree that refers to them, then the
entry of the history, then the swap of ``HEAD``. Until the last, ``HEAD`` names the snapshot before.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from omniagents._ids import new_snapshot_id, utc_now
from omniagents.errors import StateQuotaError
from omniagents.records import FileInfo, LeftOut, Scan
from omniagents.state import Snapshot
from omniagents_snapshot.base import Base
from omniagents_snapshot.comparing import count_changed
from omniagents_snapshot.model import Entry, Head, Place, Tree, TreeName
from omniagents_snapshot.packing import Packer
from omniagents_snapshot.reading import FileReader, ReadFiles, entry_of, kept_mode
from omniagents_snapshot.repository import HeadState
from omniagents_snapshot.scanning import scan_workspace
from omniagents_snapshot.statcache import Signature, signature
from omniagents_snapshot.tree_format import to_microseconds

if TYPE_CHECKING:
    from omniagents.workspace import Workspace

__all__ = ["Lost", "Quota", "Saver"]

# Compressing and storing overlap with reading; more would not help two cores or one disk.
_WORKERS = 4


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
    """The swap of ``HEAD`` failed; the work is stored as this snapshot all the same."""

    def __init__(self, snapshot: Snapshot) -> None:
        super().__init__(snapshot.id)
        self.snapshot = snapshot


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

    def save(self, message: str) -> Snapshot:
        """The new snapshot, or the latest one if nothing changed.

        Raises:
            Lost: Another writer was first.
            StateQuotaError: The workspace is over a limit; nothing was stored.
        """
        scan = scan_workspace(self._workspace, self._base, self._leave_out)
        self._check_quota(scan)
        known = self._usable_places()
        clean, dirty = self._split(scan, known)
        if self._base.head is None:
            self._repository.create()
        with ThreadPoolExecutor(_WORKERS, thread_name_prefix="snapshot-save") as executor:
            packer = Packer(self._repository, known, executor)
            try:
                read = self._read(dirty, packer, scan)
                entries = _in_order(scan, clean, read)
                signatures = _of(clean, self._base.signatures) | read.signatures
                if not self._is_new(entries):
                    return self._nothing_new(signatures, bool(dirty))
                places = known | packer.finish()
            except BaseException:
                executor.shutdown(wait=True, cancel_futures=True)
                raise
        return self._store(entries, places, signatures, message, _left_out(scan, read))

    def _check_quota(self, scan: Scan) -> None:
        size = sum(entry.size for entry in scan.entries if entry.kind == "file")
        self._quota.check(self._repository.project_id, size, len(scan.entries))

    def _usable_places(self) -> dict[bytes, Place]:
        """Chunks that may be referred to without storing them again: those not about to be deleted."""
        if self._base.tree is None:
            return {}
        condemned = frozenset(self._base.head.condemned if self._base.head else ())
        places = self._base.tree.places
        if not condemned:
            return places
        return {chunk: place for chunk, place in places.items() if place.segment.pack.digest not in condemned}

    def _split(self, scan: Scan, known: dict[bytes, Place]) -> tuple[dict[str, Entry], list[str]]:
        """The entries that are known without reading, by path, and the files that must be read."""
        signatures = self._base.signatures
        before = {entry.path: entry for entry in self._base.tree.entries} if self._base.tree and signatures else {}
        clean: dict[str, Entry] = {}
        dirty: list[str] = []
        for info in scan.entries:
            if info.kind in ("directory", "link"):
                clean[info.path] = entry_of(info)
            elif info.kind == "file":
                old = before.get(info.path)
                if old is not None and _is_unchanged(info, old, signatures) and _is_kept(old, known):
                    clean[info.path] = old if old.mode == kept_mode(info) else old._replace(mode=kept_mode(info))
                else:
                    dirty.append(info.path)
        return clean, dirty

    def _read(self, dirty: Sequence[str], packer: Packer, scan: Scan) -> ReadFiles:
        if not dirty:
            return ReadFiles()
        reader = FileReader(self._workspace, packer.add, started_ns=scan.started_ns, max_bytes=self._quota.max_bytes)
        return reader.read(dirty)

    def _is_new(self, entries: Sequence[Entry]) -> bool:
        base = self._base
        return not base.is_latest or base.tree is None or count_changed(base.tree.entries, entries) > 0

    def _nothing_new(self, signatures: dict[str, Signature], were_read: bool) -> Snapshot:
        assert self._base.tree is not None
        if were_read:
            self._base.signatures = signatures
        return self._base.tree.snapshot

    def _store(
        self,
        entries: tuple[Entry, ...],
        places: dict[bytes, Place],
        signatures: dict[str, Signature],
        message: str,
        left_out: tuple[LeftOut, ...],
    ) -> Snapshot:
        snapshot = self._describe(entries, message, left_out)
        used = {chunk for entry in entries for chunk in entry.content}
        tree = Tree(snapshot, entries, {chunk: places[chunk] for chunk in used})
        name = self._repository.put_tree(tree)
        self._repository.put_pointer(snapshot, name)
        head = self._head(snapshot, name)
        version = self._repository.swap_head(head, self._base.state.version)
        if version is None:
            raise Lost(snapshot)
        self._base.state = HeadState(head, version)
        self._base.tree, self._base.tree_digest = tree, name.digest
        self._base.signatures = signatures
        return snapshot

    def _head(self, snapshot: Snapshot, tree: TreeName) -> Head:
        before = self._base.head
        return Head(
            tree=tree,
            snapshot_id=snapshot.id,
            parent_id=snapshot.parent_id,
            commit_id=new_snapshot_id(),
            session=self._session,
            time=to_microseconds(snapshot.created_at),
            condemned=before.condemned if before else (),
        )

    def _describe(self, entries: Sequence[Entry], message: str, left_out: tuple[LeftOut, ...]) -> Snapshot:
        parent = self._parent()
        files = [entry.size for entry in entries if entry.kind == "file"]
        return Snapshot(
            id=new_snapshot_id(),
            project_id=self._repository.project_id,
            parent_id=parent.snapshot.id if parent else None,
            # Never before its parent, whatever this host's clock says: the history is ordered by time.
            created_at=max(utc_now(), parent.snapshot.created_at + timedelta(microseconds=1)) if parent else utc_now(),
            message=message,
            files=len(files),
            bytes=sum(files),
            changed=count_changed(parent.entries if parent else (), entries),
            left_out=left_out,
        )

    def _parent(self) -> Tree | None:
        base = self._base
        if base.head is None or base.is_latest:
            return base.tree if base.is_latest else None
        return self._repository.get_tree(base.head.tree)


def _is_unchanged(info: FileInfo, old: Entry, signatures: dict[str, Signature]) -> bool:
    return old.kind == "file" and signatures.get(info.path) == signature(info)


def _is_kept(entry: Entry, known: dict[bytes, Place]) -> bool:
    return all(chunk in known for chunk in entry.content)


def _of(clean: dict[str, Entry], signatures: dict[str, Signature]) -> dict[str, Signature]:
    return {path: found for path, found in signatures.items() if path in clean}


def _in_order(scan: Scan, clean: dict[str, Entry], read: ReadFiles) -> tuple[Entry, ...]:
    found = (clean.get(info.path) or read.entries.get(info.path) for info in scan.entries)
    return tuple(entry for entry in found if entry is not None)


def _left_out(scan: Scan, read: ReadFiles) -> tuple[LeftOut, ...]:
    others = [LeftOut(info.path, "is a FIFO, socket or device") for info in scan.entries if info.kind == "other"]
    return tuple(sorted([*scan.left_out, *others, *read.left_out]))
