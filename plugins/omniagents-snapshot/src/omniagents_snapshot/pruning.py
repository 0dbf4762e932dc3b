"""Removing snapshots and what only they needed, with no locks and no waiting.

One swap of ``HEAD`` says which snapshots are no part of the history any more, and which packs must not be referred to;
only then is anything deleted: history entries, trees, packs, each sort when the one before is gone. A writer that meant
to use a pack from before the swap loses its own swap and stores it again, under another name. A prune that was
killed is finished by the next one.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace

from omniagents._ids import new_snapshot_id
from omniagents.errors import StateError
from omniagents_snapshot.committing import swap
from omniagents_snapshot.model import Head, TreeName
from omniagents_snapshot.repository import Repository
from omniagents_snapshot.retention import Retention

__all__ = ["PruneReport", "prune"]

_ATTEMPTS = 5
_READING = 8
_DELETING = 8


@dataclass(frozen=True)
class PruneReport:
    """What a prune did, or with ``dry_run`` would do.

    Attributes:
        kept: Ids of snapshots, newest first, each with the rules that keep it.
        removed: Ids of snapshots, newest first.
        removed_objects: How many objects were deleted, and ``removed_bytes`` their sizes added up: also those
            that an interrupted save or prune had left.
    """

    project_id: str
    kept: Mapping[str, tuple[str, ...]]
    removed: tuple[str, ...] = ()
    removed_objects: int = 0
    removed_bytes: int = 0
    dry_run: bool = False


@dataclass
class _Plan:
    kept: Mapping[str, tuple[str, ...]]
    dropped: list[str]
    objects: dict[str, list[str]] = field(default_factory=dict)
    condemned: set[str] = field(default_factory=set)
    kept_trees: set[TreeName] = field(default_factory=set)
    bytes: int = 0


def prune(repository: Repository, retention: Retention, session: str, *, dry_run: bool) -> PruneReport:
    """Keep what ``retention`` wants.

    Raises:
        StateCorruptError: Something of the history or of a kept snapshot is damaged; nothing was removed.
        StateError: Other writers were faster every time.
    """
    for _ in range(_ATTEMPTS):
        state = repository.read_head()
        if state.head is None:
            # Nothing was saved yet, but a first save may be under way.
            return PruneReport(repository.project_id, {}, dry_run=dry_run)
        plan = _plan(repository, state.head, retention)
        is_needed = any(plan.objects.values()) or plan.dropped
        if dry_run or not is_needed or swap(repository, state, _marked(state.head, plan, session)):
            break
    else:
        raise StateError(
            f"project {repository.project_id!r} was not pruned: its HEAD changed {_ATTEMPTS} times meanwhile; "
            "prune again"
        )
    if not dry_run and is_needed:
        _delete(repository, plan)
        _forget(repository, plan, session)
    return PruneReport(
        repository.project_id,
        plan.kept,
        tuple(plan.dropped),
        sum(map(len, plan.objects.values())),
        plan.bytes,
        dry_run,
    )


def _plan(repository: Repository, head: Head, retention: Retention) -> _Plan:
    recorded = repository.recorded(head)
    snapshots = [snapshot for snapshot, _ in recorded]
    kept = retention.kept(snapshots, head.snapshot_id, head.tags.values())
    plan = _Plan(kept, [one.id for one in snapshots if one.id not in kept])
    plan.kept_trees = {tree for snapshot, tree in recorded if snapshot.id in kept}
    used = _packs_of(repository, plan.kept_trees)
    trees = {tree.digest for tree in plan.kept_trees}
    gone = {*plan.dropped, *head.dropped}
    for found in repository.list():
        sort, _, name = found.name.removeprefix(f"{repository.prefix}/").partition("/")
        last = name.rpartition("/")[2]
        if (
            (sort == "packs" and last not in used)
            or (sort == "trees" and last not in trees)
            or (sort == "history" and last.rpartition("-")[2] in gone)
        ):
            plan.objects.setdefault(sort, []).append(found.name)
            plan.bytes += found.size
            if sort == "packs":
                plan.condemned.add(last)
        elif sort == "packs":
            used.discard(last)
    if used:
        raise repository.corrupt(repository.pack_name(min(used)), "is missing")
    return plan


def _packs_of(repository: Repository, trees: Collection[TreeName]) -> set[str]:
    with ThreadPoolExecutor(_READING) as executor:
        outlines = executor.map(repository.get_outline, trees)
        return {pack.digest for outline in outlines for pack in outline.packs.values()}


def _marked(head: Head, plan: _Plan, session: str) -> Head:
    return replace(
        head,
        commit_id=new_snapshot_id(),
        session=session,
        condemned=tuple(sorted(plan.condemned.union(head.condemned))),
        dropped=tuple(dict.fromkeys([*plan.dropped, *head.dropped])),
        unrecorded=tuple(tree for tree in head.unrecorded if tree in plan.kept_trees),
        tags={tag: snapshot for tag, snapshot in head.tags.items() if snapshot in plan.kept},
    )


def _delete(repository: Repository, plan: _Plan) -> None:
    for sort in ("history", "trees", "packs"):
        with ThreadPoolExecutor(_DELETING) as executor:
            list(executor.map(repository.store.delete, plan.objects.get(sort, ())))


def _forget(repository: Repository, plan: _Plan, session: str) -> None:
    """Take marks off ``HEAD``: of the packs that are deleted, whose names never come again; and of the snapshots
    that an earlier prune dropped. Those of this one stay, so that a history entry that is still being written by
    whoever saved one of them says nothing; the next prune finds and deletes it."""
    late = {name.rpartition("-")[2] for name in plan.objects.get("history", ())}
    stay = late.union(plan.dropped)
    for _ in range(_ATTEMPTS):
        state = repository.read_head()
        if state.head is None:
            return
        head = replace(
            state.head,
            commit_id=new_snapshot_id(),
            session=session,
            condemned=tuple(pack for pack in state.head.condemned if pack not in plan.condemned),
            dropped=tuple(one for one in state.head.dropped if one in stay),
        )
        if (head.condemned, head.dropped) == (state.head.condemned, state.head.dropped):
            return
        if swap(repository, state, head):
            return
