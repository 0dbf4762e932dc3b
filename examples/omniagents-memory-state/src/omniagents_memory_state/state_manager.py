"""``memory``: every snapshot is a list of entries with their content, kept in this process."""

from __future__ import annotations

import threading
import uuid
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import PurePosixPath
from typing import Final, NamedTuple

from omniagents.errors import SnapshotNotFoundError
from omniagents.records import FileInfo, FileKind, ImportEntry, LeftOut, Scan
from omniagents.state import Snapshot, StateManager
from omniagents.workspace import Workspace

__all__ = ["MemoryStateManager"]

# How often a file that changes while it is read is read again.
_ATTEMPTS: Final = 3


class _Entry(NamedTuple):
    """What is kept of one path: equal entries are equal files."""

    path: str
    kind: FileKind
    mode: int
    mtime_ns: int
    target: str | None
    content: bytes


@dataclass(frozen=True)
class _Saved:
    snapshot: Snapshot
    entries: dict[str, _Entry]


class MemoryStateManager(StateManager):
    """Keeps the last snapshots of every project in the memory of this process.

    Args:
        keep: How many snapshots of a project to keep, at least 1; older ones are forgotten.
    """

    def __init__(self, *, keep: int = 20) -> None:
        if keep < 1:
            raise ValueError(f"keep is at least 1, not {keep!r}")
        self._keep = keep
        self._lock = threading.Lock()
        self._projects: defaultdict[str, list[_Saved]] = defaultdict(list)  # newest last

    def load(self, project_id: str, workspace: Workspace) -> Snapshot | None:
        saved = self._latest(project_id)
        if saved is None:
            return None
        _make_equal(workspace, saved.entries)
        return saved.snapshot

    def save(self, project_id: str, workspace: Workspace, message: str = "") -> Snapshot:
        entries, left_out = _read(workspace)
        with self._lock:
            saved = self._projects[project_id]
            latest = saved[-1] if saved else None
            if latest is not None and latest.entries == entries:
                return latest.snapshot
            snapshot = _snapshot(project_id, message, entries, left_out, latest)
            # Appended first, cut second: at no moment is there no snapshot.
            saved.append(_Saved(snapshot, entries))
            del saved[: -self._keep]
            return snapshot

    def history(self, project_id: str) -> Sequence[Snapshot]:
        with self._lock:
            return [saved.snapshot for saved in reversed(self._projects.get(project_id, []))]

    def restore(self, project_id: str, snapshot_id: str, workspace: Workspace) -> Snapshot:
        with self._lock:
            kept = {saved.snapshot.id: saved for saved in self._projects.get(project_id, [])}
        if snapshot_id not in kept:
            raise SnapshotNotFoundError(
                f"project {project_id!r} has no snapshot {snapshot_id!r}; kept are: {', '.join(kept) or 'none'}"
            )
        _make_equal(workspace, kept[snapshot_id].entries)
        return kept[snapshot_id].snapshot

    def delete(self, project_id: str) -> None:
        with self._lock:
            self._projects.pop(project_id, None)

    def _latest(self, project_id: str) -> _Saved | None:
        with self._lock:
            saved = self._projects.get(project_id)
            return saved[-1] if saved else None


def _read(workspace: Workspace) -> tuple[dict[str, _Entry], list[LeftOut]]:
    """Every file, directory and link of the workspace, and what could not be read."""
    scan = workspace.scan()
    left_out = [
        *scan.left_out,
        *(LeftOut(found.path, "not a file, directory or link") for found in scan.entries if found.kind == "other"),
    ]
    wanted = [found.path for found in scan.entries if found.kind != "other"]
    entries: dict[str, _Entry] = {}
    for _ in range(_ATTEMPTS):
        problems = {}
        for entry, problem in _exported(workspace, wanted):
            if problem is None:
                entries[entry.path] = entry
            else:
                problems[entry.path] = problem
        wanted = [path for path, problem in problems.items() if problem == "changed"]
        left_out += [LeftOut(path, problem) for path, problem in problems.items() if problem == "unreadable"]
        if not wanted:
            break
    return entries, left_out + [LeftOut(path, "kept changing while it was read") for path in wanted]


def _exported(workspace: Workspace, paths: Sequence[str]) -> Iterator[tuple[_Entry, str | None]]:
    """Each path's entry and what was wrong with it; one request for all of them."""
    for exported in workspace.export(paths):
        content = b"".join(exported.chunks)  # whether it is consistent is known once it is consumed
        info = exported.info
        yield _Entry(info.path, info.kind, info.mode, info.mtime_ns, info.target, content), exported.problem


def _make_equal(workspace: Workspace, entries: dict[str, _Entry]) -> None:
    """Write every entry, parents first, and remove everything else."""
    scan = workspace.scan()
    workspace.import_(map(_as_import, entries.values()), remove=_surplus(scan, entries))


def _surplus(scan: Scan, entries: dict[str, _Entry]) -> list[str]:
    """What a workspace has and a snapshot has not, or has as another kind; never what holds a left-out path."""
    needed = {str(parent) for left in scan.left_out for parent in PurePosixPath(left.path).parents}
    return [
        found.path
        for found in scan.entries
        if found.path not in needed and (found.path not in entries or entries[found.path].kind != found.kind)
    ]


def _as_import(entry: _Entry) -> ImportEntry:
    path, kind, mode, mtime_ns, target, content = entry
    info = FileInfo(path, kind, len(content), mode, mtime_ns, ctime_ns=0, inode=0, target=target)
    return ImportEntry(info, [content] if content else [])


def _snapshot(
    project_id: str, message: str, entries: dict[str, _Entry], left_out: list[LeftOut], parent: _Saved | None
) -> Snapshot:
    before = parent.entries if parent is not None else {}
    changed = [path for path in before.keys() | entries.keys() if before.get(path) != entries.get(path)]
    files = [entry for entry in entries.values() if entry.kind == "file"]
    return Snapshot(
        id=uuid.uuid4().hex,
        project_id=project_id,
        parent_id=parent.snapshot.id if parent is not None else None,
        created_at=datetime.now(UTC),
        message=message,
        files=len(files),
        bytes=sum(len(entry.content) for entry in files),
        changed=len(changed),
        left_out=tuple(left_out),
    )
