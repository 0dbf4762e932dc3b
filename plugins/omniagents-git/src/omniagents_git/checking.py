"""Is everything there, and is it what it says it is?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from omniagents.errors import StateCorruptError, StateQuotaError
from omniagents_git.branches import Branches
from omniagents_git.cache import GitCache
from omniagents_git.failures import GitFailure
from omniagents_git.objects import read_commits, read_listing
from omniagents_git.tree import Quota
from omniagents_snapshot.progress import Reporter

__all__ = ["CheckReport", "Problem", "check_project"]


@dataclass(frozen=True)
class Problem:
    """Something that is damaged: a branch or commit, what is wrong with it, and which snapshots are lost to it."""

    name: str
    message: str
    snapshots: tuple[str, ...] = ()


@dataclass(frozen=True)
class CheckReport:
    """What a check found.

    Attributes:
        problems: Empty if all is well.
        snapshots: How many the history lists.
        objects: How many git objects they are made of.
        stored_bytes: What those take, compressed.
    """

    project_id: str
    problems: tuple[Problem, ...]
    snapshots: int
    objects: int
    stored_bytes: int

    @property
    def is_whole(self) -> bool:
        """Whether no problem was found."""
        return not self.problems


def check_project(
    branches: Branches, cache: GitCache, quota: Quota, *, keep: int, read_data: bool, reporter: Reporter
) -> CheckReport:
    """Fetch the project's branches whole into ``cache``, which is empty, and look at every snapshot's tree.

    git itself hashes every object it receives, and finds those that are missing.

    Args:
        read_data: Let git read every object once more, and compare each with what it must be (``git fsck``).
    """
    doing = f"checking project {branches.project_id!r}"
    remote = cache.ls_remote(*branches.all, doing=doing)
    problems: list[Problem] = []
    ids: list[str] = []
    if remote:
        cache.fetch_whole(remote, doing=doing)
        ids = [commit.id for commit in branches.history(cache, keep, doing)]
        problems = _problems(branches, cache, quota, ids, reporter)
    if read_data:
        try:
            cache.git.run("fsck", "--full", "--no-progress", "--no-dangling", "--connectivity-only")
            cache.git.run("fsck", "--full", "--no-progress", "--no-dangling")
        except GitFailure as failure:
            problems.append(Problem(branches.name, failure.said, tuple(ids)))
    counted = cache.statistics()
    return CheckReport(
        project_id=branches.project_id,
        snapshots=len(ids),
        objects=counted.get("count", 0) + counted.get("in-pack", 0),
        stored_bytes=1024 * (counted.get("size", 0) + counted.get("size-pack", 0)),
        problems=tuple(problems),
    )


def _problems(
    branches: Branches, cache: GitCache, quota: Quota, ids: Sequence[str], reporter: Reporter
) -> list[Problem]:
    found = []
    reporter.start("check", len(ids))
    for commit in read_commits(cache.git, branches.project_id, ids):
        reporter.add(1)
        try:
            read_listing(cache.git, commit, quota)
        except (StateCorruptError, StateQuotaError, GitFailure) as error:
            found.append(Problem(commit.id, str(error), (commit.id,)))
    reporter.finish()
    return found
