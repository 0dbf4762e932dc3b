"""What can be done to kept projects without a workspace."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

from omniagents.errors import SnapshotNotFoundError
from omniagents.state import Snapshot
from omniagents_git.branches import project_of
from omniagents_git.cache import GitCache
from omniagents_git.checking import CheckReport, check_project
from omniagents_git.forking import fork
from omniagents_git.repository import Repository
from omniagents_git.restoring import read_entries
from omniagents_snapshot.diffing import SnapshotDiff, compare_lines, diff_trees
from omniagents_snapshot.model import Entry, Tree
from omniagents_snapshot.progress import ProgressCallback, Reporter
from omniagents_snapshot.restoring import everything, is_within

__all__ = ["Upkeep"]

_log = logging.getLogger(__name__)
_T = TypeVar("_T")


class Upkeep:
    """The part of the manager that ``omniagents state`` has commands for."""

    progress: ProgressCallback | None
    _repository: Repository

    def _reporter(self, project_id: str) -> Reporter:
        return Reporter(project_id, self.progress)

    def check(self, project_id: str, *, read_data: bool = False) -> CheckReport:
        """Look whether every snapshot could be restored, on a fresh copy of everything the remote has of the project.

        Args:
            read_data: Read and check every byte of content once more.
        """
        repository = self._repository
        branches = repository.branches(project_id)

        def work(cache: GitCache) -> CheckReport:
            try:
                cache.rebuild()
                return check_project(
                    branches,
                    cache,
                    repository.quota,
                    keep=repository.keep,
                    read_data=read_data,
                    reporter=self._reporter(project_id),
                )
            finally:
                cache.discard()

        return repository.with_cache(project_id, f"checking project {project_id!r}", work, kind="check")

    def projects(self) -> list[str]:
        """The ids of every project that was ever saved here, sorted."""
        doing = "listing the projects"
        repository = self._repository
        heads = f"refs/heads/{repository.prefix}"

        def work(cache: GitCache) -> list[str]:
            here, remote = cache.refs(), cache.ls_remote(heads + "*", doing=doing)
            branches = {ref: commit for ref, commit in remote.items() if "/" not in ref.removeprefix(heads)}
            cache.drop(here.keys() - branches.keys())
            news = [ref for ref, commit in branches.items() if here.get(ref) != commit]
            if news:
                cache.fetch_commits(news, doing=doing)
            found = {ref: project_of(cache, ref, ref.removeprefix(heads)) for ref in branches}
            for ref in (ref for ref, project in found.items() if project is None):
                _log.warning("the branch %s of %s is of no project that can be told", ref, repository.remote.url)
            return sorted(project for project in found.values() if project is not None)

        return repository.with_cache("", doing, work, kind="projects")

    def fork(self, project_id: str, new_project_id: str, *, snapshot_id: str | None = None) -> Snapshot:
        """Begin a new project with a snapshot of another, by default its latest. The other is not touched.

        Costs one push; the remote has the content already.

        Returns:
            The new project's first snapshot.

        Raises:
            SnapshotNotFoundError: There is no such snapshot.
            StateError: The new project exists already.
        """
        repository = self._repository
        branches, new = repository.branches(project_id), repository.branches(new_project_id)
        doing = f"forking project {project_id!r}"
        found = repository.find(branches, snapshot_id) if snapshot_id is not None else []

        def work(cache: GitCache) -> Snapshot:
            commit = found[0] if found else branches.tip(cache, doing)
            if commit is None:
                raise SnapshotNotFoundError(f"project {project_id!r} has no snapshot: nothing was saved yet")
            return fork(cache, branches, commit, new, repository.quota, doing)

        return repository.with_cache(project_id, doing, work)

    def diff(
        self, project_id: str, before_id: str, after_id: str, *, paths: Sequence[str] | None = None
    ) -> SnapshotDiff:
        """Which paths differ between two snapshots.

        Args:
            paths: Only these files and directories, with everything below them.

        Raises:
            SnapshotNotFoundError: There is no such snapshot.
        """
        return self._compare(
            project_id, before_id, after_id, lambda _, before, after: diff_trees(before, after, _within(paths))
        )

    def diff_text(
        self,
        project_id: str,
        before_id: str,
        after_id: str,
        *,
        paths: Sequence[str] | None = None,
        max_file_bytes: int = 1 << 20,
    ) -> Iterator[str]:
        """The lines that differ between two snapshots, as ``diff -u`` shows them; all of them are held in memory.

        Args:
            paths: Only these files and directories, with everything below them.
            max_file_bytes: Of larger files, and of those that are not UTF-8, it is only said that they differ.

        Raises:
            SnapshotNotFoundError: There is no such snapshot.
        """

        def lines(cache: GitCache, before: Tree, after: Tree) -> list[str]:
            def read(tree: Tree, within: Callable[[str], bool]) -> Iterator[tuple[Entry, Iterator[bytes]]]:
                return read_entries(cache.git, [entry for entry in tree.entries if within(entry.path)])

            return list(compare_lines(read, before, after, _within(paths), max_file_bytes))

        return iter(self._compare(project_id, before_id, after_id, lines))

    def _compare(
        self, project_id: str, before_id: str, after_id: str, compare: Callable[[GitCache, Tree, Tree], _T]
    ) -> _T:
        repository = self._repository
        branches = repository.branches(project_id)
        doing = f"comparing snapshots of project {project_id!r}"
        commits = repository.find(branches, before_id, after_id)

        def work(cache: GitCache) -> _T:
            listings = [branches.listing(cache, commit, repository.quota, doing) for commit in commits]
            before, after = (
                Tree(commit.snapshot, listing.entries, {}) for commit, listing in zip(commits, listings, strict=True)
            )
            return compare(cache, before, after)

        return repository.with_cache(project_id, doing, work)


def _within(paths: Sequence[str] | None) -> Callable[[str], bool]:
    return everything if paths is None else is_within(paths)
