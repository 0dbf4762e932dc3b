"""What a manager remembers of a project between two calls."""

from __future__ import annotations

import weakref
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from omniagents_snapshot.model import Head, Tree
from omniagents_snapshot.repository import HeadState, Repository
from omniagents_snapshot.statcache import Signatures

if TYPE_CHECKING:
    from omniagents.workspace import Workspace

__all__ = ["Base"]


@dataclass
class Base:
    """The ground that the next save stands on.

    Attributes:
        state: ``HEAD`` as this manager last saw it; the swap of the next save expects it.
        tree: What the workspace was last made equal to or saved as; None before the first save.
            Not the latest one after a restore.
        tree_digest: Its name.
        signatures: Files of ``tree``, by number, that need not be read as long as they look like this.
        kept_venvs: Virtual environments that nothing could rebuild.
        owner: The workspace it is about; without it nobody needs this any more.
    """

    repository: Repository
    state: HeadState
    tree: Tree | None = None
    tree_digest: str | None = None
    signatures: Signatures = field(default_factory=Signatures)
    kept_venvs: frozenset[str] = frozenset()
    owner: weakref.ref[Workspace] | None = None

    @property
    def head(self) -> Head | None:
        return self.state.head

    @property
    def is_latest(self) -> bool:
        """Whether ``tree`` is the one that ``HEAD`` names."""
        return self.head is not None and self.head.tree.digest == self.tree_digest
