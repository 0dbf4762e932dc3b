"""A new project that begins with a snapshot of another. Packs are copied as they are, by the store where it can.

That works because the new project gets the other's key: chunks and packs keep their names. The two then share nothing
that either could change or remove.
"""

from __future__ import annotations

from collections.abc import Collection
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

from omniagents._ids import new_snapshot_id, utc_now
from omniagents.errors import StateConflictError, StateError
from omniagents.state import Snapshot
from omniagents_snapshot.committing import next_head, record, swap
from omniagents_snapshot.limits import PACK_MAX_BYTES
from omniagents_snapshot.model import Pack
from omniagents_snapshot.moves import Moves
from omniagents_snapshot.repository import HeadState, Repository
from omniagents_snapshot.store import CopyingStore, ObjectMissingError

__all__ = ["fork"]

_PARALLEL = 8


def fork(source: Repository, target: Repository, snapshot_id: str | None, session: str) -> Snapshot:
    """Make ``target`` from one snapshot, by default the latest.

    Raises:
        SnapshotNotFoundError: There is none with this id.
        StateError: The new project exists already.
    """
    head = source.read_head().head
    if snapshot_id is None and head is not None:
        tree = head.tree
    else:
        _, tree = source.find(snapshot_id or "latest")
    outline = source.get_outline(tree)
    if not target.create_like(source):
        raise StateError(
            f"project {target.project_id!r} exists already, at least in part; delete it first, or fork to another id"
        )
    moves = _copied(source, target, set(outline.packs.values()))
    snapshot = replace(
        outline.snapshot,
        id=new_snapshot_id(),
        project_id=target.project_id,
        parent_id=None,
        created_at=utc_now(),
        changed=outline.snapshot.files,
    )
    name = target.put_outline(outline._replace(snapshot=snapshot))
    start = HeadState()
    head = replace(next_head(target, start, snapshot, name, session), moves=target.put_moves(moves) if moves else None)
    state = swap(target, start, head)
    if state is None:
        raise StateConflictError(
            f"project {target.project_id!r} was saved by another writer meanwhile; it is not forked"
        )
    record(target, state, {name: snapshot})
    return snapshot


def _copied(source: Repository, target: Repository, packs: Collection[Pack]) -> Moves:
    """Copy what trees call by these packs; the moves among it."""
    while True:
        moves = source.moves.only(packs)
        digests = {stored.digest for pack in packs for stored in moves.packs_of(pack)}
        try:
            with ThreadPoolExecutor(_PARALLEL) as executor:
                list(executor.map(lambda digest: _copy(source, target, digest), digests))
            return moves
        except StateError as error:
            source.read_head()
            if not isinstance(error.__cause__, ObjectMissingError) or source.moves.only(packs) == moves:
                raise  # else a prune has moved some of it meanwhile


def _copy(source: Repository, target: Repository, digest: str) -> None:
    old, new = source.pack_name(digest), target.pack_name(digest)
    store = source.store
    try:
        if isinstance(store, CopyingStore):
            store.copy_new(old, new)
        else:
            store.put_new(new, store.get(old, (0, PACK_MAX_BYTES)))
    except ObjectMissingError as error:
        raise StateError(
            f"the stored object {old!r} vanished while project {source.project_id!r} was forked; delete "
            f"{target.project_id!r} and fork again from a snapshot that is kept"
        ) from error
