"""What a manager remembers of a project between two calls."""

from __future__ import annotations

import weakref
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, NamedTuple

from omniagents.errors import StateConflictError
from omniagents_git.description import Commit
from omniagents_git.seen import Signature
from omniagents_git.tree import Entry

if TYPE_CHECKING:
    from omniagents.workspace import Workspace

__all__ = ["Base", "OnConflict", "Side"]


#: What a save does when another writer saved first.
OnConflict = Literal["error", "merge", "overwrite"]


class Side(NamedTuple):
    """Work that lost against another writer: its branch, what it holds, what was asked for, and what was said."""

    ref: str
    entries: tuple[Entry, ...]
    on_conflict: OnConflict
    error: StateConflictError


@dataclass
class Base:
    """The ground that the next save stands on.

    Attributes:
        tip: The branch's commit as this manager last saw it; the push of the next save expects it. None for no branch.
        commit: What the workspace was last made equal to or saved as; not ``tip`` after a restore.
        entries: Its tree, and ``sidecar`` its other files.
        signatures: Files of it that need not be read as long as they look like this.
        marks: Signatures of some files, settled or not, by which the workspace is known again.
        kept_venvs: Virtual environments that nothing could rebuild.
        unconfirmed: Commits that were pushed, with no answer.
        side: Set from a conflict until the next load or restore.
        merged: The branch's commit that brought the workspace together with others' work, which it has not seen:
            until the next load or restore, a save must do that again.
        owner: The workspace it is about; without it nobody needs this any more.
    """

    tip: Commit | None = None
    commit: Commit | None = None
    entries: tuple[Entry, ...] = ()
    sidecar: Mapping[bytes, bytes] = field(default_factory=dict)
    signatures: dict[str, Signature] = field(default_factory=dict)
    marks: dict[str, Signature] = field(default_factory=dict)
    kept_venvs: frozenset[str] = frozenset()
    unconfirmed: set[str] = field(default_factory=set)
    side: Side | None = None
    merged: Commit | None = None
    owner: weakref.ref[Workspace] | None = None

    @property
    def is_latest(self) -> bool:
        """Whether ``commit`` is the one that the branch names."""
        return self.tip is not None and self.commit is not None and self.tip.id == self.commit.id
