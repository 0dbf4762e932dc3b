"""What a save does where another writer was first."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta

from omniagents._ids import utc_now
from omniagents.errors import StateConflictError
from omniagents.records import LeftOut
from omniagents_git.base import Base, OnConflict, Side
from omniagents_git.branches import Branches
from omniagents_git.cache import GitCache, Push, Rejected
from omniagents_git.description import Commit, commit_message
from omniagents_git.failures import GitFailure
from omniagents_git.merging import merge
from omniagents_git.objects import Listing, read_commits
from omniagents_git.seen import Signature
from omniagents_git.sidecar import encode_sidecar
from omniagents_git.tree import Entry, Quota, count_changed
from omniagents_git.writing import placed, writer

__all__ = ["Again", "Conflict", "Made"]

_LISTED = 5


class Again(Exception):
    """Something was learned about the branch: make the commit anew."""


@dataclass(frozen=True)
class Made:
    """A tree to save."""

    entries: tuple[Entry, ...]
    signatures: dict[str, Signature]
    left_out: tuple[LeftOut, ...]
    sidecar: Mapping[bytes, bytes] = field(default_factory=dict)


@dataclass(frozen=True)
class Conflict:
    """A save and the work of another writer.

    Attributes:
        base: What the save stands on; brought up to date.
        is_base_lost: Its tip is kept nowhere any more.
    """

    branches: Branches
    base: Base
    is_base_lost: bool
    quota: Quota
    on_conflict: OnConflict
    doing: str

    def resolve(self, cache: GitCache, made: Made, ours: Commit, now: str, failure: Exception) -> Commit:
        """The branch is ``now``: the pushed merge of both.

        Args:
            made: What was to be saved, and ``ours`` the commit of it, which is not pushed.
            failure: How the push of it ended.

        Raises:
            StateConflictError: The two could not, or were not to be brought together; ours is on a branch of its own.
            Again: ``base`` was brought up to date.
        """
        base = self.base
        winner = self.branches.bring(cache, now, self.doing)
        if self.on_conflict == "overwrite":
            base.tip, base.merged = winner, None
            raise Again from failure
        disputed: list[str] = []
        common = self._common(cache) if self.on_conflict == "merge" else None
        if common is not None:
            theirs = self.branches.listing(cache, winner, self.quota, self.doing)
            entries, disputed = merge(common, made.entries, theirs.entries)
            if not disputed:
                return self._push_merge(cache, made, ours, winner, theirs, entries)
        before = base.side
        ref = before.ref if before else self.branches.sides + ours.id[:12]
        cache.push([Push(ref, ours.id)], doing=self.doing)
        error = self._conflict(ours, winner, ref, disputed)
        base.side = Side(ref, made.entries, self.on_conflict, error)
        raise error from failure

    def _common(self, cache: GitCache) -> Sequence[Entry] | None:
        """The tree that both sides come from; None where it cannot be had any more."""
        base = self.base
        if base.tip is None or base.is_latest or base.merged is not None:
            return base.entries
        if self.is_base_lost:
            return None
        return self.branches.listing(cache, base.tip, self.quota, self.doing).entries

    def _push_merge(
        self, cache: GitCache, made: Made, ours: Commit, winner: Commit, theirs: Listing, entries: tuple[Entry, ...]
    ) -> Commit:
        sizes = [entry.size for entry in entries if entry.kind == "file"]
        self.quota.check(self.branches.project_id, sum(sizes), len(entries))
        later = max(one.snapshot.created_at for one in (ours, winner)) + timedelta(microseconds=1)
        snapshot = replace(
            ours.snapshot,
            parent_id=winner.id,
            created_at=max(utc_now(), later),
            files=len(sizes),
            bytes=sum(sizes),
            changed=count_changed(theirs.entries, entries),
        )
        with writer(cache.git, {*made.sidecar.values(), *theirs.sidecar.values()}) as commits:
            sidecar = {path: commits.take(data) for path, data in encode_sidecar(entries).items()}
            commit_id = commits.commit(
                commit_message(snapshot, winner.number + 1, is_root=False),
                snapshot.created_at,
                placed(theirs.entries, theirs.sidecar),
                placed(entries, sidecar),
                parent=winner.id,
                tree=winner.tree,
                merged=ours.id,
            )
        (merged,) = read_commits(cache.git, snapshot.project_id, [commit_id])
        try:
            cache.push([Push(self.branches.latest, merged.id, expected=winner.id)], doing=self.doing)
        except Rejected as failure:
            raise Again from failure
        except GitFailure:
            if cache.ls_remote(self.branches.latest, doing=self.doing).get(self.branches.latest) != merged.id:
                raise
        return replace(merged, snapshot=replace(merged.snapshot, left_out=made.left_out))

    def _conflict(self, ours: Commit, winner: Commit, ref: str, disputed: Sequence[str]) -> StateConflictError:
        expected = repr(self.base.tip.id) if self.base.tip else "none"
        both = ""
        if disputed:
            more = f" and {len(disputed) - _LISTED:,} more" if len(disputed) > _LISTED else ""
            both = f" Both changed {', '.join(map(repr, disputed[:_LISTED]))}{more}."
        others = "'overwrite'" if self.on_conflict == "merge" else "'merge' or 'overwrite'"
        return StateConflictError(
            f"another writer saved project {self.branches.project_id!r} first: the latest is now {winner.id!r}, not "
            f"{expected}. This workspace is kept in the history as {ours.id!r}, on the branch "
            f"{ref.removeprefix('refs/heads/')!r}.{both} Restore one of the two, then save; or save with "
            f"on_conflict={others}"
        )
