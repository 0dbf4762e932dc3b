"""Swaps of ``HEAD`` whose answer never came: nobody knows whether they took effect until ``HEAD`` is read again."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from omniagents.errors import SnapshotNotFoundError
from omniagents_snapshot.base import Aside, Attempt, Base
from omniagents_snapshot.committing import record
from omniagents_snapshot.repository import HeadState

__all__ = ["attempting", "settle"]

# All of them expect one version of ``HEAD``, so one at most takes effect.
_MOST = 16


@contextmanager
def attempting(base: Base, attempt: Attempt) -> Iterator[None]:
    """Remember a swap that ends without an answer."""
    base.attempts.append(attempt)
    del base.attempts[:-_MOST]
    yield
    base.attempts.remove(attempt)


def settle(base: Base, now: HeadState) -> bool:
    """Whether a swap that ended without an answer turns out to have taken effect; ``base`` then stands on it.

    Args:
        now: ``HEAD`` as just read.
    """
    if not base.attempts or now.version == base.state.version:
        return False
    attempts, base.attempts = base.attempts, []
    for attempt in attempts:
        if now.head is not None and now.head.commit_id == attempt.head.commit_id:
            _stand_on(base, attempt, now)
            base.state = record(base.repository, now, {attempt.head.tree: attempt.merged or attempt.tree.snapshot})
            return True
    for attempt in attempts:
        if _is_kept(base, attempt):
            # Others saved on top of it: the next swap fails by the old version, and finds out about them.
            _stand_on(base, attempt, HeadState(attempt.head, base.state.version))
            return True
    return False


def _is_kept(base: Base, attempt: Attempt) -> bool:
    try:
        base.repository.find(attempt.head.snapshot_id)
    except SnapshotNotFoundError:
        return False
    return True


def _stand_on(base: Base, attempt: Attempt, state: HeadState) -> None:
    base.stands_on(state, attempt.tree, attempt.name, attempt.signatures)
    base.aside = Aside(common=attempt.tree, answer=attempt.merged) if attempt.merged else None
