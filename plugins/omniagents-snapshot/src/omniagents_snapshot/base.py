"""What a manager remembers of a project between two calls."""

from __future__ import annotations

import weakref
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from omniagents.errors import StateConflictError
from omniagents.state import Snapshot
from omniagents_snapshot.model import Head, Tree, TreeName
from omniagents_snapshot.repository import HeadState, Repository
from omniagents_snapshot.statcache import Signatures

if TYPE_CHECKING:
    from omniagents.workspace import Workspace

__all__ = ["Aside", "Attempt", "Base"]


@dataclass(frozen=True)
class Aside:
    """Others' work is in ``HEAD`` that the workspace has never seen: a save must bring the two together.

    Attributes:
        common: The last tree that both come from; None for an empty one, or one that is not kept any more.
        answer: What a save says whose workspace is still equal to ``Base.tree``: the merged snapshot,
            or the conflict over again; None for what ``HEAD`` names.
        on_conflict: What was asked for when a conflict was the answer.
        ours: The tree's name then.
    """

    common: Tree | None = None
    answer: Snapshot | StateConflictError | None = None
    on_conflict: str = ""
    ours: TreeName | None = None


class Attempt(NamedTuple):
    """A swap of ``HEAD`` whose answer has not come, and what the workspace was when it was tried.

    Attributes:
        merged: What ``head`` names, if that is others' work as well; ``tree`` is the workspace in any case.
    """

    head: Head
    tree: Tree
    name: TreeName
    signatures: Signatures
    merged: Snapshot | None = None


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
        aside: What ``HEAD`` has that the workspace has not; None as long as nobody else saved.
        attempts: Swaps on top of ``state`` that may have taken effect or not.
        gone: Packs of which ``tree`` needs what the store may not have any more.
        owner: The workspace it is about; without it nobody needs this any more.
    """

    repository: Repository
    state: HeadState
    tree: Tree | None = None
    tree_digest: str | None = None
    signatures: Signatures = field(default_factory=Signatures)
    kept_venvs: frozenset[str] = frozenset()
    aside: Aside | None = None
    attempts: list[Attempt] = field(default_factory=list)
    gone: frozenset[str] = frozenset()
    owner: weakref.ref[Workspace] | None = None

    @property
    def head(self) -> Head | None:
        return self.state.head

    @property
    def is_latest(self) -> bool:
        """Whether ``tree`` is the one that ``HEAD`` names."""
        return self.head is not None and self.head.tree.digest == self.tree_digest

    def stands_on(self, state: HeadState, tree: Tree, name: TreeName, signatures: Signatures) -> None:
        """The workspace was found equal to ``tree``, and that is stored."""
        self.state = state
        self.tree, self.tree_digest, self.signatures = tree, name.digest, signatures
        self.gone = frozenset()

    def description(self) -> dict[TreeName, Snapshot]:
        """The snapshot that ``HEAD`` names, if it is ``tree``."""
        return {self.head.tree: self.tree.snapshot} if self.is_latest and self.head and self.tree else {}
