"""What can be done to kept projects without a workspace."""

from __future__ import annotations

import logging

from omniagents_git.branches import project_of
from omniagents_git.cache import GitCache
from omniagents_git.checking import CheckReport, check_project
from omniagents_git.repository import Repository

__all__ = ["Upkeep"]

_log = logging.getLogger(__name__)


class Upkeep:
    """The part of the manager that ``omniagents state`` has commands for."""

    _repository: Repository

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
                return check_project(branches, cache, repository.quota, keep=repository.keep, read_data=read_data)
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
