"""The one moment a snapshot becomes part of its project: the swap of ``HEAD``. Its history entry follows.

Everything that decides what a project consists of, a save, a side snapshot, a tag, a prune, is one such swap, so that
any two of them have an order. An entry of the history is written only after the swap that made the snapshot; until
that is known to be done, ``HEAD.unrecorded`` carries the snapshot from swap to swap.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping
from concurrent.futures import ThreadPoolExecutor

from omniagents._ids import new_snapshot_id
from omniagents.errors import StateCorruptError, StateError
from omniagents.state import Snapshot
from omniagents_snapshot.model import Head, TreeName
from omniagents_snapshot.objects import CorruptObjectError
from omniagents_snapshot.repository import HeadState, Repository
from omniagents_snapshot.store import ObjectMissingError
from omniagents_snapshot.tree_format import to_microseconds

__all__ = ["next_head", "record", "swap", "without_entry"]

_log = logging.getLogger(__name__)
_PARALLEL = 4


def next_head(repository: Repository, state: HeadState, snapshot: Snapshot, tree: TreeName, session: str) -> Head:
    """``HEAD`` with this snapshot as the latest; what the one before says of other things stays said."""
    before = state.head
    return Head(
        tree=tree,
        snapshot_id=snapshot.id,
        parent_id=snapshot.parent_id,
        commit_id=new_snapshot_id(),
        session=session,
        time=to_microseconds(snapshot.created_at),
        condemned=before.condemned if before else (),
        dropped=before.dropped if before else (),
        unrecorded=_unrecorded(repository, state),
        tags=before.tags if before else {},
        moves=before.moves if before else _moves_left(repository, state),
    )


def _moves_left(repository: Repository, state: HeadState) -> TreeName | None:
    """What takes the place of a ``HEAD`` that cannot be read must know where content is; the first one need not."""
    moves = repository.find_moves() if state.version is not None else None
    return repository.put_moves(moves) if moves else None


def swap(repository: Repository, state: HeadState, head: Head) -> HeadState | None:
    """Put ``head`` in the place of ``state``; None if another writer was first."""
    version = repository.swap_head(head, state.version)
    return None if version is None else HeadState(head, version)


def record(repository: Repository, state: HeadState, known: Mapping[TreeName, Snapshot]) -> HeadState:
    """Write the history entries that a swap just made due; ``state``, knowing so.

    A failure is logged only: the snapshots are saved, and the next swap carries on what is still due.

    Args:
        known: Descriptions that need not be read from the trees.
    """
    assert state.head is not None
    due = [state.head.tree, *state.head.unrecorded]

    def write(tree: TreeName) -> None:
        snapshot = known.get(tree)
        if snapshot is None:
            try:
                snapshot = repository.get_outline(tree).snapshot
            except StateCorruptError as error:
                # Dropped by a prune meanwhile; if it is damage, a check finds it.
                _log.debug("no history entry for the tree %s: %s", tree.digest, error)
                return
        repository.put_pointer(snapshot, tree)

    try:
        with ThreadPoolExecutor(_PARALLEL) as executor:
            list(executor.map(write, due))
    except StateError as error:
        _log.warning(
            "project %r is saved, but not yet listed in its history; the next save does that: %s",
            repository.project_id,
            error,
        )
        return state
    return state._replace(is_recorded=True)


def without_entry(repository: Repository, trees: Collection[TreeName]) -> tuple[TreeName, ...]:
    """Those of these trees whose snapshots have no entry in the history."""
    if not trees:
        return ()
    ids = {name.rpartition("-")[2] for name in repository.pointer_names()}
    return tuple(tree for tree in trees if _snapshot_id(repository, tree) not in ids)


def _snapshot_id(repository: Repository, tree: TreeName) -> str | None:
    """None if a prune has dropped it since ``HEAD`` was read, so that no swap of that can succeed."""
    try:
        return repository.get_outline(tree).snapshot.id
    except CorruptObjectError as error:
        if isinstance(error.__cause__, ObjectMissingError):
            return None
        raise


def _unrecorded(repository: Repository, state: HeadState) -> tuple[TreeName, ...]:
    """What ``HEAD`` must go on naming when another takes its place."""
    if state.head is None or state.is_recorded:
        return ()
    older = without_entry(repository, state.head.unrecorded)
    return older if repository.has_pointer(state.head) else (*older, state.head.tree)
