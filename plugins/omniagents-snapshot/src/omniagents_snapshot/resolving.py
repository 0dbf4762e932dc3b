"""What becomes of work that another writer's was in the way of. Nothing of either is lost, whatever is decided."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from enum import Enum, auto
from typing import TYPE_CHECKING, Literal

from omniagents._ids import new_snapshot_id, utc_now
from omniagents.errors import StateConflictError, StateCorruptError
from omniagents.state import Snapshot
from omniagents_snapshot.attempting import attempting
from omniagents_snapshot.base import Aside, Attempt, Base
from omniagents_snapshot.committing import next_head, record, swap, without_entry
from omniagents_snapshot.comparing import count_changed
from omniagents_snapshot.merging import Merge, merge
from omniagents_snapshot.model import Tree
from omniagents_snapshot.repository import HeadState, Repository
from omniagents_snapshot.statcache import Signatures
from omniagents_snapshot.usable import Usable

if TYPE_CHECKING:
    from omniagents_snapshot.saving import Lost, Quota

__all__ = ["Again", "OnConflict", "gone_packs", "resolve"]

OnConflict = Literal["error", "merge", "overwrite"]
_LISTED = 5


def gone_packs(repository: Repository, tree: Tree, state: HeadState) -> frozenset[str]:
    """Packs of which a tree needs what the store has not any more, or soon will not have.

    Whoever then swaps ``state`` knows that the others are still there.
    """
    usable = Usable(repository, state, alive=repository.pack_digests())
    return frozenset(place.segment.pack.digest for place in tree.places.values() if not usable(place))


class Again(Enum):
    """What else must be tried: the whole save, for which ``base`` was brought up to date, or the last swap of it."""

    SAVE = auto()
    RESOLVE = auto()


def resolve(
    base: Base, lost: Lost, now: HeadState, *, on_conflict: OnConflict, session: str, quota: Quota
) -> Snapshot | Again:
    """Bring the stored work of ``lost`` together with ``now``, which is not what ``base`` expected.

    Returns:
        The snapshot that is the latest now.

    Raises:
        StateConflictError: The two could not, or were not to be brought together. Ours is a snapshot of its own.
    """
    gone = gone_packs(base.repository, lost.tree, now)
    only_marks = base.aside is None and base.head and now.head and now.head.tree == base.head.tree
    if only_marks:
        # Nobody saved; packs are about to be deleted, say, or somebody's work was kept aside.
        base.state = now
    if gone or not base.repository.has_tree(lost.name):
        # A prune took them for what a killed writer had left.
        base.gone |= gone
        if base.aside is not None:
            base.tree, base.tree_digest, base.signatures = None, None, Signatures()
        return Again.SAVE
    if only_marks:
        return _publish_again(base, lost, session)
    if on_conflict == "overwrite":
        base.state, base.aside = now, None
        return Again.SAVE
    common = _common(base)
    merged = _merged(base.repository, common, lost.tree, now) if on_conflict == "merge" else None
    if merged is not None and not merged.conflicts:
        quota.check(lost.tree.snapshot.project_id, sum(e.size for e in merged.entries), len(merged.entries))
        return _commit_merged(base, lost, now, merged, session)
    conflicts = merged.conflicts if merged else ()
    error = _conflict(base, lost.tree.snapshot, common, now, on_conflict, conflicts)
    if _keep_aside(base, lost, now, session):
        base.aside = Aside(common, error, on_conflict, lost.name)
        raise error
    return Again.RESOLVE


def _publish_again(base: Base, lost: Lost, session: str) -> Snapshot | Again:
    """Swap once more, on top of ``base.state``."""
    snapshot = lost.tree.snapshot
    head = next_head(base.repository, base.state, snapshot, lost.name, session)
    with attempting(base, Attempt(head, lost.tree, lost.name, lost.signatures)):
        state = swap(base.repository, base.state, head)
    if state is None:
        return Again.RESOLVE
    known = {lost.name: snapshot} | base.description()
    base.stands_on(state, lost.tree, lost.name, lost.signatures)
    base.state = record(base.repository, state, known)
    return snapshot


def _common(base: Base) -> Tree | None:
    """The tree that both sides come from; None if there was none, or if it is not kept any more."""
    if base.aside is not None:
        return base.aside.common
    if base.head is None or base.is_latest:
        return base.tree if base.is_latest else None
    try:
        return base.repository.get_tree(base.head.tree)
    except StateCorruptError:
        return None


def _merged(repository: Repository, common: Tree | None, ours: Tree, now: HeadState) -> Merge:
    assert now.head is not None
    return merge(common, ours, repository.get_tree(now.head.tree))


def _commit_merged(base: Base, lost: Lost, now: HeadState, merged: Merge, session: str) -> Snapshot | Again:
    assert now.head is not None
    ours, theirs = lost.tree.snapshot, base.repository.get_tree(now.head.tree)
    files = [entry.size for entry in merged.entries if entry.kind == "file"]
    snapshot = Snapshot(
        id=new_snapshot_id(),
        project_id=ours.project_id,
        parent_id=theirs.snapshot.id,
        created_at=max(utc_now(), *(one.created_at + timedelta(microseconds=1) for one in (ours, theirs.snapshot))),
        message=ours.message,
        files=len(files),
        bytes=sum(files),
        changed=count_changed(theirs.entries, merged.entries),
        left_out=ours.left_out,
    )
    name = base.repository.put_tree(Tree(snapshot, merged.entries, merged.places), theirs)
    head = next_head(base.repository, now, snapshot, name, session)
    with attempting(base, Attempt(head, lost.tree, lost.name, lost.signatures, snapshot)):
        state = swap(base.repository, now, replace(head, unrecorded=(*head.unrecorded, lost.name)))
    if state is None:
        return Again.RESOLVE
    base.stands_on(state, lost.tree, lost.name, lost.signatures)
    base.aside = Aside(common=lost.tree, answer=snapshot)
    known = {name: snapshot, now.head.tree: theirs.snapshot, lost.name: ours}
    base.state = record(base.repository, state, known)
    return snapshot


def _keep_aside(base: Base, lost: Lost, now: HeadState, session: str) -> bool:
    """Make ours a snapshot beside the latest; False if ``HEAD`` changed meanwhile."""
    assert now.head is not None
    unrecorded = tuple(dict.fromkeys([*without_entry(base.repository, now.head.unrecorded), lost.name]))
    head = replace(now.head, commit_id=new_snapshot_id(), session=session, unrecorded=unrecorded)
    state = swap(base.repository, now, head)
    if state is None:
        return False
    base.stands_on(state, lost.tree, lost.name, lost.signatures)
    base.state = record(base.repository, state, {lost.name: lost.tree.snapshot})
    return True


def _conflict(
    base: Base, ours: Snapshot, common: Tree | None, now: HeadState, on_conflict: OnConflict, conflicts: tuple[str, ...]
) -> StateConflictError:
    assert now.head is not None
    before = common.snapshot.id if common else base.head.snapshot_id if base.head else None
    both = ""
    if conflicts:
        more = f" and {len(conflicts) - _LISTED:,} more" if len(conflicts) > _LISTED else ""
        both = f" Both changed {', '.join(map(repr, conflicts[:_LISTED]))}{more}."
    others = "'overwrite'" if on_conflict == "merge" else "'merge' or 'overwrite'"
    return StateConflictError(
        f"another writer saved project {ours.project_id!r} first: the latest is now "
        f"{now.head.snapshot_id!r}, not {'none' if before is None else repr(before)}. "
        f"This workspace is kept in the history as {ours.id!r}.{both} "
        f"Restore one of the two, then save; or save with on_conflict={others}"
    )
