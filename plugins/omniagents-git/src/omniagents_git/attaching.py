"""What a project's next save stands on: found out, kept while its workspace is in use, noted for later processes."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from omniagents.records import FileInfo
from omniagents.state import Snapshot
from omniagents_git.base import Base
from omniagents_git.branches import Branches
from omniagents_git.cache import GitCache
from omniagents_git.description import Commit
from omniagents_git.failures import GitFailure
from omniagents_git.planning import look, make_plan
from omniagents_git.restoring import carry_out
from omniagents_git.seen import Seen, SeenFiles, signature
from omniagents_git.tree import Entry, Quota
from omniagents_snapshot.progress import Reporter

if TYPE_CHECKING:
    from omniagents.workspace import Workspace

__all__ = ["Bases"]


class Bases:
    """A manager's ``Base`` of each project whose workspace is in use.

    Args:
        seen: What earlier processes noted, and later ones are to know.
        leave_out: What is not looked at, in gitignore syntax.
    """

    def __init__(self, seen: SeenFiles, leave_out: Sequence[str], quota: Quota) -> None:
        self._seen = seen
        self._leave_out = leave_out
        self._quota = quota
        self._bases: dict[str, Base] = {}

    def get(self, project_id: str) -> Base | None:
        """The one this process knows."""
        return self._bases.get(project_id)

    def keep(self, project_id: str, base: Base, workspace: Workspace) -> None:
        """Keep ``base`` for as long as the workspace is in use: many thousand projects may come and go."""
        bases = self._bases

        def forget(reference: weakref.ref[Workspace]) -> None:
            kept = bases.get(project_id)
            if kept is not None and kept.owner is reference:
                del bases[project_id]

        base.owner = weakref.ref(workspace, forget)
        bases[project_id] = base

    def drop(self, project_id: str) -> None:
        """The next save starts from nothing."""
        self._bases.pop(project_id, None)

    def forget(self, project_id: str) -> None:
        """As ``drop``, for later processes, too."""
        self.drop(project_id)
        self._seen.forget(project_id)

    def note(self, project_id: str) -> None:
        """Let the next process know what the workspace was last equal to, and which files still are."""
        base = self._bases[project_id]
        if base.commit is not None and base.tip is not None:
            is_merged = base.merged is not None
            seen = Seen(base.commit.id, base.tip.id, is_merged, base.signatures, base.marks)
            self._seen.write(project_id, seen)

    def attach(self, cache: GitCache, branches: Branches, workspace: Workspace, doing: str) -> Base:
        """The base of a workspace that this manager did not fill: an environment that outlived its host process."""
        tip = branches.tip(cache, doing)
        if tip is None:
            return Base()
        seen = self._seen.read(branches.project_id)
        if seen is not None and (seen.commit, seen.tip) != (tip.id, tip.id):
            missed = self._as_seen(cache, branches, seen, workspace, doing)
            if missed is not None:
                return missed
        return self._at(cache, branches, tip, tip, doing)

    def make_equal(
        self,
        cache: GitCache,
        branches: Branches,
        tip: Commit | None,
        wanted: Commit,
        workspace: Workspace,
        doing: str,
        reporter: Reporter,
    ) -> Snapshot:
        """Make a workspace equal to a commit, and remember it.

        Args:
            tip: Where the branch is.
        """
        base = self._at(cache, branches, tip, wanted, doing)
        before = self._bases.pop(branches.project_id, None)
        if before is None or before.commit is None:
            before = base
        reporter.start("scan")
        plan = make_plan(look(workspace, before, self._leave_out), base.entries, _content_knower(before))
        kept = {path: before.signatures[path] for path in plan.keep}
        written, marks = carry_out(cache.git, workspace, plan, reporter)
        base.signatures, base.marks, base.kept_venvs = kept | written, kept | marks, before.kept_venvs
        self.keep(branches.project_id, base, workspace)
        self.note(branches.project_id)
        return wanted.snapshot

    def _at(self, cache: GitCache, branches: Branches, tip: Commit | None, commit: Commit, doing: str) -> Base:
        """The base of a workspace that is to be taken for ``commit``, with what was noted of its files."""
        listing = branches.listing(cache, commit, self._quota, doing)
        seen = self._seen.read(branches.project_id)
        signatures = dict(seen.files) if seen is not None and seen.commit == commit.id else {}
        return Base(tip, commit, listing.entries, listing.sidecar, signatures)

    def _as_seen(
        self, cache: GitCache, branches: Branches, seen: Seen, workspace: Workspace, doing: str
    ) -> Base | None:
        """The base that a process that is gone left this workspace on, if it is this one; nothing, if it is not kept.

        Others may have saved since: what they did must not be taken for what this workspace has removed.
        """
        base = Base()
        try:
            tip, commit = (branches.bring(cache, one, doing) for one in (seen.tip, seen.commit))
        except GitFailure as failure:
            if not failure.is_gone:
                raise
        else:
            listing = branches.listing(cache, commit, self._quota, doing)
            base = Base(tip, commit, listing.entries, listing.sidecar, dict(seen.files), dict(seen.marks))
            base.merged = tip if seen.is_merged else None
        return base if seen.is_of(look(workspace, base, self._leave_out)) else None


def _content_knower(base: Base) -> Callable[[FileInfo, Entry], bool]:
    contents = {entry.path: entry.content for entry in base.entries}

    def has_content(info: FileInfo, entry: Entry) -> bool:
        return base.signatures.get(info.path) == signature(info) and contents.get(info.path) == entry.content

    return has_content
