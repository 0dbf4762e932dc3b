"""One save: scan, read what changed, write a commit here, push it, and only then say so.

Until the push has moved the branch, the branch names the snapshot before: a crash is harmless anywhere.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import TYPE_CHECKING

from omniagents._ids import utc_now
from omniagents.errors import StateError
from omniagents.records import LeftOut, Scan
from omniagents.state import Snapshot
from omniagents_git.base import Base, OnConflict
from omniagents_git.branches import Branches
from omniagents_git.cache import GitCache, Push, Rejected
from omniagents_git.conflicts import Again, Conflict, Made
from omniagents_git.description import Commit, commit_message
from omniagents_git.failures import GitFailure
from omniagents_git.objects import read_commits
from omniagents_git.planning import look
from omniagents_git.reading import ReadFiles, read_files
from omniagents_git.seen import marks_of, signature
from omniagents_git.sidecar import encode_sidecar
from omniagents_git.tree import Entry, Quota, count_changed, encode_path, entry_of, kept_mode
from omniagents_git.writing import CommitWriter, placed, writer
from omniagents_snapshot.progress import Reporter

if TYPE_CHECKING:
    from omniagents.workspace import Workspace

__all__ = ["Deleted", "Saver"]

_ATTEMPTS = 5


class Deleted(Exception):
    """The project's branch is gone: somebody deleted the project."""


@dataclass(frozen=True)
class _Seen:
    """A scan, divided: what is known without reading, and the files that must be read."""

    scan: Scan
    known: dict[str, Entry]
    dirty: list[str]


class Saver:
    """Saves one workspace on top of ``base``, which it brings up to date.

    Args:
        leave_out: In gitignore syntax.
        keep: How many saves make a branch before it is given a new root.
        on_conflict: What to do where another writer was first.
        reporter: Told how far it is.
    """

    def __init__(
        self,
        branches: Branches,
        base: Base,
        workspace: Workspace,
        *,
        leave_out: Sequence[str],
        quota: Quota,
        keep: int,
        on_conflict: OnConflict,
        reporter: Reporter,
    ) -> None:
        self._branches = branches
        self._base = base
        self._workspace = workspace
        self._leave_out = leave_out
        self._quota = quota
        self._keep = keep
        self._on_conflict = on_conflict
        self._reporter = reporter
        self._doing = f"saving project {branches.project_id!r}"
        self._may_have_new_root = True
        self._lost: GitFailure | None = None
        self._seen = self._look()

    def _look(self) -> _Seen:
        self._reporter.start("scan")
        found = look(self._workspace, self._base, self._leave_out)
        size = sum(info.size for info in found.entries if info.kind == "file")
        self._quota.check(self._branches.project_id, size, len(found.entries))
        before = {entry.path: entry for entry in self._base.entries}
        known: dict[str, Entry] = {}
        dirty: list[str] = []
        for info in found.entries:
            old = before.get(info.path)
            if info.kind in ("directory", "link"):
                known[info.path] = entry_of(info)
            elif info.kind != "file":
                continue
            elif old is not None and old.kind == "file" and self._base.signatures.get(info.path) == signature(info):
                known[info.path] = old._replace(mode=kept_mode(info))
            else:
                dirty.append(info.path)
        return _Seen(found, known, dirty)

    def unchanged(self) -> Snapshot | None:
        """The latest snapshot, if one look at the workspace shows that it still is what was saved."""
        if self._seen.dirty or self._base.commit is None:
            return None
        return self._answer(tuple(self._seen.known.values()))

    def _answer(self, entries: Sequence[Entry]) -> Snapshot | None:
        """What stands for a workspace that holds this; None if it is to be saved."""
        base = self._base
        if base.commit is None or count_changed(base.entries, entries):
            return None
        if base.merged is not None:
            return base.merged.snapshot
        return base.commit.snapshot if base.is_latest else None

    def save(self, cache: GitCache, message: str) -> Snapshot:
        """The new snapshot, or the latest one if nothing changed.

        Raises:
            StateConflictError: Another writer was first; this work is on a branch of its own.
            Deleted: The project was deleted meanwhile.
            GitFailure: Something of git's did not work; nothing was saved, or it was and the answer got lost.
        """
        for _ in range(_ATTEMPTS):
            try:
                return self._save(cache, message)
            except Again:
                continue
        name = self._branches.name
        raise StateError(f"{self._doing}: the branch {name!r} was moved {_ATTEMPTS} times meanwhile; save again")

    def _save(self, cache: GitCache, message: str) -> Snapshot:
        base, ground = self._base, self._ground(cache)
        is_root = ground.tip is None or (self._may_have_new_root and ground.tip.number + 1 >= self._keep)
        blobs = {blob for entry in ground.entries for blob in entry.content} | set(ground.sidecar.values())
        with writer(cache.git, blobs) as commits:
            made = self._make(commits)
            answer = self._answer(made.entries)
            if answer is not None:
                base.signatures = made.signatures
                return answer
            if self._is_settled(made.entries) and base.side is not None:
                raise base.side.error
            self._reporter.start("store")
            snapshot = self._describe(made, message, cache)
            written, sidecar = self._commit(cache, commits, ground, made, snapshot, is_root=is_root)
        made = replace(made, sidecar=sidecar)
        merged: Commit | None = None
        try:
            if self._lost is not None:
                raise self._lost
            if base.merged is not None:
                raise Rejected("the branch has work that this workspace has not seen")
            self._push(cache, written, is_root=is_root)
        except (Rejected, GitFailure) as failure:
            merged = self._look_after(cache, made, written, failure, is_root=is_root)
        base.tip, base.commit, base.merged = merged or written, written, merged
        base.entries, base.sidecar, base.signatures = made.entries, sidecar, made.signatures
        base.marks = marks_of(self._seen.scan.entries)
        base.side = None
        base.unconfirmed.clear()
        self._reporter.finish()
        return (merged or written).snapshot

    def _ground(self, cache: GitCache) -> Base:
        """As much of the base as is on this machine now.

        What others' saves have pushed out of the history, and this machine's copy has lost, is nowhere. Then every
        file is read and written anew, so that no work is lost with it.
        """
        base = self._base
        self._lost = self._missing(cache, base.tip)
        if (self._lost if base.is_latest else self._missing(cache, base.commit)) is None:
            return base if self._lost is None else replace(base, tip=None)
        base.signatures = {}
        self._seen = self._look()
        return Base(base.tip if self._lost is None else None)

    def _missing(self, cache: GitCache, commit: Commit | None) -> GitFailure | None:
        """Why a commit cannot be had any more; None if it is here."""
        try:
            if commit is not None and not cache.has(commit.id):
                self._branches.bring(cache, commit.id, self._doing)
        except GitFailure as failure:
            if not failure.is_gone:
                raise
            return failure
        return None

    def _is_settled(self, entries: Sequence[Entry]) -> bool:
        """Whether this very work is on a branch of its own, and nothing else is to be done with it."""
        side = self._base.side
        return side is not None and side.on_conflict == self._on_conflict and not count_changed(side.entries, entries)

    def _make(self, commits: CommitWriter) -> Made:
        seen = self._seen
        sizes = {info.path: info.size for info in seen.scan.entries}
        self._reporter.start("read", len(seen.dirty), sum(sizes[path] for path in seen.dirty))
        read = read_files(
            self._workspace,
            seen.dirty,
            commits.take,
            project_id=self._branches.project_id,
            started_ns=seen.scan.started_ns,
            quota=self._quota,
            reporter=self._reporter,
        )
        self._reporter.finish()
        found = (seen.known.get(info.path) or read.entries.get(info.path) for info in seen.scan.entries)
        kept = {path: known for path, known in self._base.signatures.items() if path in seen.known}
        return Made(
            tuple(entry for entry in found if entry is not None), kept | read.signatures, _left_out(seen.scan, read)
        )

    def _describe(self, made: Made, message: str, cache: GitCache) -> Snapshot:
        base, tip = self._base, self._base.tip
        before: Sequence[Entry] = ()
        if tip is not None:
            is_known = base.is_latest or self._lost is not None
            before = base.entries if is_known else self._branches.listing(cache, tip, self._quota, self._doing).entries
        sizes = [entry.size for entry in made.entries if entry.kind == "file"]
        now = utc_now()
        return Snapshot(
            id="",
            project_id=self._branches.project_id,
            parent_id=tip.id if tip else None,
            # Never before its parent, whatever this host's clock says: the history is ordered by time.
            created_at=max(now, tip.snapshot.created_at + timedelta(microseconds=1)) if tip else now,
            message=message,
            files=len(sizes),
            bytes=sum(sizes),
            changed=count_changed(before, made.entries),
            left_out=made.left_out,
        )

    def _commit(
        self,
        cache: GitCache,
        commits: CommitWriter,
        ground: Base,
        made: Made,
        snapshot: Snapshot,
        *,
        is_root: bool,
    ) -> tuple[Commit, dict[bytes, bytes]]:
        """The commit, not yet pushed, and its sidecar's blobs by path."""
        number = 0 if is_root or ground.tip is None else ground.tip.number + 1
        sidecar = {path: commits.take(data) for path, data in encode_sidecar(made.entries).items()}
        for entry in made.entries:
            if entry.kind == "link":
                commits.take(encode_path(entry.target))
            elif entry.kind == "file" and not entry.content:
                commits.take(b"")
        commit_id = commits.commit(
            commit_message(snapshot, number, is_root=is_root),
            snapshot.created_at,
            placed(ground.entries, ground.sidecar),
            placed(made.entries, sidecar),
            parent=ground.tip.id if ground.tip and not is_root else None,
            tree=ground.commit.tree if ground.commit else None,
        )
        (written,) = read_commits(cache.git, snapshot.project_id, [commit_id])
        # All of what was left out, where the commit only lists the first.
        whole = replace(written.snapshot, left_out=snapshot.left_out)
        return replace(written, snapshot=whole), sidecar

    def _push(self, cache: GitCache, written: Commit, *, is_root: bool) -> None:
        tip = self._base.tip
        moves = [Push(self._branches.latest, written.id, expected=tip.id if tip else "")]
        if is_root and tip is not None:
            moves.append(Push(self._branches.previous, tip.id))
        cache.push(moves, doing=self._doing, is_first=tip is None)

    def _look_after(
        self, cache: GitCache, made: Made, written: Commit, failure: Rejected | GitFailure, *, is_root: bool
    ) -> Commit | None:
        """Find out what a failed push did, and deal with another writer.

        Returns:
            The commit that merges both, which is pushed; None if the push took effect after all.
        """
        base = self._base
        expected = base.tip.id if base.tip else None
        base.unconfirmed.add(written.id)
        try:
            now = cache.ls_remote(self._branches.latest, doing=self._doing).get(self._branches.latest)
        except GitFailure as still_away:
            raise failure from still_away
        if now == written.id:
            return None
        if now is not None and now != expected and now in base.unconfirmed:
            # An earlier push had taken effect although its answer was lost.
            base.tip = self._branches.bring(cache, now, self._doing)
            raise Again from failure
        if now is None and expected is not None:
            raise Deleted from failure
        if now is not None and (now != expected or base.merged is not None):
            conflict = Conflict(
                self._branches, base, self._lost is not None, self._quota, self._on_conflict, self._doing
            )
            return conflict.resolve(cache, made, written, now, failure)
        if isinstance(failure, GitFailure):
            if not (is_root and base.tip and "[remote rejected]" in failure.said):
                raise failure
            # A server that allows no forced push, or no such branch: the history goes on from the root it has.
            self._may_have_new_root = False
        raise Again from failure


def _left_out(found: Scan, read: ReadFiles) -> tuple[LeftOut, ...]:
    others = [LeftOut(info.path, "is a FIFO, socket or device") for info in found.entries if info.kind == "other"]
    return tuple(sorted([*found.left_out, *others, *read.left_out()]))
