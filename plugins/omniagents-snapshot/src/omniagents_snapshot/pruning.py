"""Removing snapshots and what only they needed, with no locks and no waiting.

One swap of ``HEAD`` says which snapshots are no part of the history any more, and which packs must not be referred to;
only then is anything deleted: history entries, trees, packs, each sort when the one before is gone. A writer that meant
to use a pack from before the swap loses its own swap and stores it again, under another name. A prune that was
killed is finished by the next one.

Packs that are needed in small part only are stored again before the swap, which names the list that says where their
content is from then on. A prune that loses its swap has stored nothing that anybody refers to.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace

from omniagents._ids import new_snapshot_id
from omniagents.errors import StateCorruptError, StateError
from omniagents_snapshot.committing import swap
from omniagents_snapshot.model import Head, TreeName
from omniagents_snapshot.moves import Moves
from omniagents_snapshot.needing import Needed, needed_by
from omniagents_snapshot.repacking import Packs, Repacker, worth_moving
from omniagents_snapshot.repository import Repository
from omniagents_snapshot.retention import Retention
from omniagents_snapshot.store import StoredObject

__all__ = ["PruneReport", "prune"]

_ATTEMPTS = 5
_DELETING = 8
# So many dropped snapshots are remembered in any case, in 36 bytes each.
_REMEMBERED = 64


@dataclass(frozen=True)
class PruneReport:
    """What a prune did, or with ``dry_run`` would do.

    Attributes:
        kept: Ids of snapshots, newest first, each with the rules that keep it.
        removed: Ids of snapshots, newest first.
        removed_objects: How many objects were deleted, and ``removed_bytes`` their sizes added up: also those
            that an interrupted save or prune had left.
        rewritten_bytes: What of them is still needed, and was stored again before; ``dry_run`` can only guess it.
            What the prune gave back is ``removed_bytes`` less this.
    """

    project_id: str
    kept: Mapping[str, tuple[str, ...]]
    removed: tuple[str, ...] = ()
    removed_objects: int = 0
    removed_bytes: int = 0
    dry_run: bool = False
    rewritten_bytes: int = 0


@dataclass
class _Plan:
    """What to keep and what to delete.

    Attributes:
        trees: Of the snapshots that are kept, newest first.
        moves: What ``HEAD`` is to name as the list of moves.
        objects: What to delete, by sort.
        condemned: The packs among it.
    """

    kept: Mapping[str, tuple[str, ...]]
    dropped: list[str]
    trees: list[TreeName]
    moves: TreeName | None = None
    objects: dict[str, list[str]] = field(default_factory=dict)
    condemned: set[str] = field(default_factory=set)
    bytes: int = 0
    rewritten_bytes: int = 0

    @property
    def is_needed(self) -> bool:
        return bool(self.objects or self.dropped)


def prune(repository: Repository, retention: Retention, session: str, *, dry_run: bool) -> PruneReport:
    """Keep what ``retention`` wants.

    Raises:
        StateCorruptError: Something of the history or of a kept snapshot is damaged; nothing was removed.
        StateError: Other writers were faster every time.
    """
    repacker = Repacker(repository)
    for _ in range(_ATTEMPTS):
        state = repository.read_head()
        if state.head is None:
            # Nothing was saved yet, but a first save may be under way.
            return PruneReport(repository.project_id, {}, dry_run=dry_run)
        try:
            plan = _plan(repository, state.head, retention, repacker, dry_run=dry_run)
        except StateCorruptError:
            if repository.head_version() == state.version:
                raise
            continue  # another prune deletes what this one was looking at
        if dry_run or not plan.is_needed or swap(repository, state, _marked(state.head, plan, session)):
            break
    else:
        raise StateError(
            f"project {repository.project_id!r} was not pruned: its HEAD changed {_ATTEMPTS} times meanwhile; "
            "prune again"
        )
    if not dry_run and plan.is_needed:
        _delete(repository, plan)
        _forget(repository, plan, session)
    return PruneReport(
        repository.project_id,
        plan.kept,
        tuple(plan.dropped),
        sum(map(len, plan.objects.values())),
        plan.bytes,
        dry_run,
        plan.rewritten_bytes,
    )


def _plan(repository: Repository, head: Head, retention: Retention, repacker: Repacker, *, dry_run: bool) -> _Plan:
    """What is to be done. Unless it is only to be said, what is to be stored again is."""
    recorded = repository.recorded(head)
    snapshots = [snapshot for snapshot, _ in recorded]
    kept = retention.kept(snapshots, head.snapshot_id, head.tags.values())
    trees = list(dict.fromkeys(tree for snapshot, tree in recorded if snapshot.id in kept))
    plan = _Plan(kept, [one.id for one in snapshots if one.id not in kept], trees, head.moves)
    moves, needed = repository.moves_of(head), needed_by(repository, trees)
    stored = [(*_sort_and_name(repository, found), found) for found in repository.list()]
    there = {name for sort, name, _ in stored if sort == "packs"}
    if missing := _used(needed, moves) - there:
        raise repository.corrupt(repository.pack_name(min(missing)), "is missing")
    packs = Packs.of(needed, moves)
    chosen = worth_moving(packs)
    moved = repacker.move(needed, moves, () if dry_run else chosen, there.difference(head.condemned))
    plan.rewritten_bytes = packs.needed_bytes(chosen) if dry_run else repacker.written_bytes
    if moved != moves:
        plan.moves = repository.put_moves(moved) if len(moved) and not dry_run else None
    elif dry_run and chosen:
        plan.moves = None
    used = _used(needed, moved) - (chosen if dry_run else set())
    _choose_objects(plan, stored, used, {*plan.dropped, *head.dropped})
    return plan


def _used(needed: Needed, moves: Moves) -> set[str]:
    """The packs that hold what is needed."""
    return {moves.locate(segment).pack.digest for segment in needed.content}


def _sort_and_name(repository: Repository, found: StoredObject) -> tuple[str, str]:
    sort, _, name = found.name.removeprefix(f"{repository.prefix}/").partition("/")
    return sort, name.rpartition("/")[2]


def _choose_objects(
    plan: _Plan, stored: Sequence[tuple[str, str, StoredObject]], used: Collection[str], gone: Collection[str]
) -> None:
    """What to delete: what is not used, and history entries of the snapshots that are ``gone``."""
    named = {"packs": used, "trees": {tree.digest for tree in plan.trees}}
    named["moves"] = {plan.moves.digest} if plan.moves else set()
    for sort, name, found in stored:
        if (sort in named and name not in named[sort]) or (sort == "history" and name.rpartition("-")[2] in gone):
            plan.objects.setdefault(sort, []).append(found.name)
            plan.bytes += found.size
            if sort == "packs":
                plan.condemned.add(name)


def _marked(head: Head, plan: _Plan, session: str) -> Head:
    return replace(
        head,
        commit_id=new_snapshot_id(),
        session=session,
        condemned=tuple(sorted(plan.condemned.union(head.condemned))),
        dropped=tuple(dict.fromkeys([*plan.dropped, *head.dropped])),
        unrecorded=tuple(tree for tree in head.unrecorded if tree in plan.trees),
        tags={tag: snapshot for tag, snapshot in head.tags.items() if snapshot in plan.kept},
        moves=plan.moves,
    )


def _delete(repository: Repository, plan: _Plan) -> None:
    for sort in ("history", "trees", "packs", "moves"):
        with ThreadPoolExecutor(_DELETING) as executor:
            list(executor.map(repository.store.delete, plan.objects.get(sort, ())))


def _forget(repository: Repository, plan: _Plan, session: str) -> None:
    """Take marks off ``HEAD``: of the packs that are deleted, whose names never come again; and of the snapshots
    that earlier prunes dropped. Those of this one and the last of others stay, so that a history entry that is still
    being written by whoever saved one of them says nothing; the next prune finds and deletes it."""
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
            dropped=tuple(one for row, one in enumerate(state.head.dropped) if row < _REMEMBERED or one in stay),
        )
        if (head.condemned, head.dropped) == (state.head.condemned, state.head.dropped):
            return
        if swap(repository, state, head):
            return
