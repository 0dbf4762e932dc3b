"""A project's branches, and getting their commits onto this machine."""

from __future__ import annotations

from dataclasses import dataclass

from omniagents._ids import encode_project_id
from omniagents_git.cache import GitCache
from omniagents_git.description import Commit
from omniagents_git.failures import GitFailure
from omniagents_git.objects import Listing, read_commits, read_listing
from omniagents_git.tree import Quota

__all__ = ["Branches", "check_prefix", "project_of"]


@dataclass(frozen=True)
class Branches:
    """The names of one project's branches.

    Attributes:
        latest: The browsable one: the latest snapshot, and those before it.
        previous: Where ``latest`` was before it was given a new root; no branch for people, so not below ``heads``.
        sides: How the branches begin that hold work which lost against another writer.
    """

    project_id: str
    prefix: str

    @property
    def name(self) -> str:
        return f"{self.prefix}{encode_project_id(self.project_id)}"

    @property
    def latest(self) -> str:
        return f"refs/heads/{self.name}"

    @property
    def previous(self) -> str:
        return f"refs/previous/{self.name}"

    @property
    def sides(self) -> str:
        return f"refs/heads/{self.prefix}conflicts/{encode_project_id(self.project_id)}/"

    @property
    def all(self) -> tuple[str, str, str]:
        """As ``ls-remote`` is asked."""
        return (self.latest, self.previous, self.sides + "*")

    def tip(self, cache: GitCache, doing: str) -> Commit | None:
        """The latest commit at the remote, brought here with its files; None if there is no branch."""
        commit_id = cache.ls_remote(self.latest, doing=doing).get(self.latest)
        return self.bring(cache, commit_id, doing) if commit_id else None

    def bring(self, cache: GitCache, commit_id: str, doing: str) -> Commit:
        """A commit of the remote, with its files, brought here unless it is here.

        Raises:
            GitFailure: It cannot be got.
        """
        if not cache.has(commit_id):
            cache.fetch(commit_id, self.latest, doing=doing)
            if not cache.has(commit_id):
                raise GitFailure("fetch", 0, f"the remote did not send the commit {commit_id}")
        (commit,) = read_commits(cache.git, self.project_id, [commit_id])
        return commit

    def listing(self, cache: GitCache, commit: Commit, quota: Quota, doing: str) -> Listing:
        """The checked tree of a commit.

        Raises:
            StateCorruptError: It cannot be a workspace.
        """
        return read_listing(cache.git, self.bring(cache, commit.id, doing), quota)

    def history(self, cache: GitCache, keep: int, doing: str) -> list[Commit]:
        """The newest ``keep`` commits, and work that met others', newest first; ``cache`` is one for histories."""
        remote = cache.ls_remote(*self.all, doing=doing)
        here = cache.refs()
        cache.drop(here.keys() - remote.keys())
        news = [ref for ref, commit in remote.items() if here.get(ref) != commit]
        if news:
            cache.fetch_commits(news, doing=doing)
        ids: list[str] = []
        for ref in (self.latest, self.previous):
            if ref in remote and len(ids) < keep:
                ids += cache.first_parents(ref, keep - len(ids))
        sides = [commit for ref, commit in remote.items() if ref.startswith(self.sides) and commit not in ids]
        chain = read_commits(cache.git, self.project_id, ids)
        # What a save merged with others' work is a snapshot of its own, too.
        sides += [commit.merged_id for commit in chain if commit.is_ours and commit.merged_id]
        return _with_sides(chain, read_commits(cache.git, self.project_id, dict.fromkeys(sides)))


def _with_sides(chain: list[Commit], sides: list[Commit]) -> list[Commit]:
    """The chain in its own order, whatever clocks said, and each of the others before the first that is older."""
    found = list(chain)
    for side in sides:
        older = (place for place, one in enumerate(found) if one.snapshot.created_at <= side.snapshot.created_at)
        found.insert(next(older, len(found)), side)
    return found


def project_of(cache: GitCache, ref: str, name: str) -> str | None:
    """The project that a branch is of, as its newest commit of ours says, if that can be true."""
    ids = cache.first_parents(ref, 1000)
    for commit in read_commits(cache.git, "", ids):
        if commit.said_project and encode_project_id(commit.said_project) == name:
            return commit.said_project
    return None


def check_prefix(prefix: str) -> None:
    """Raises ValueError for one that makes no names of branches, or names that another could make."""
    parts = prefix.split("/")
    allowed = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-")
    if parts[-1] or not all(part and set(part) <= allowed for part in parts[:-1]):
        raise ValueError(
            f"a branch prefix is made of letters, digits, '-' and '_', with a '/' after each part; not {prefix!r}"
        )
