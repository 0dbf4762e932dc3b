"""One git repository that keeps projects, and this machine's copies of their branches."""

from __future__ import annotations

import hashlib
import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from omniagents._ids import check_project_id, encode_project_id
from omniagents.errors import SnapshotNotFoundError
from omniagents_git.branches import Branches
from omniagents_git.cache import GitCache
from omniagents_git.credentials import Credentials
from omniagents_git.description import Commit
from omniagents_git.failures import GitFailure
from omniagents_git.git import Git
from omniagents_git.remote import Remote
from omniagents_git.tree import Quota

__all__ = ["Repository"]

_log = logging.getLogger(__name__)
_T = TypeVar("_T")


@dataclass(frozen=True)
class Repository:
    """Where a manager's projects are.

    Attributes:
        prefix: How the names of branches begin.
        keep: How many snapshots a history lists.
        quota: Of one project.
        timeout_seconds: For each git command.
        caches: A directory for the copies of this and of other repositories.
    """

    remote: Remote
    credentials: Credentials
    prefix: str
    keep: int
    quota: Quota
    timeout_seconds: float
    caches: Path
    _locks: dict[str, threading.RLock] = field(default_factory=dict)
    _guard: threading.Lock = field(default_factory=threading.Lock)

    @property
    def directory(self) -> Path:
        """This machine's own directory for it."""
        identity = f"{self.remote.url}\0{self.prefix}"
        return self.caches / hashlib.sha256(identity.encode()).hexdigest()[:32]

    def branches(self, project_id: str) -> Branches:
        """Raises InvalidProjectIdError for what is no id."""
        return Branches(check_project_id(project_id), self.prefix)

    @contextmanager
    def alone(self, project_id: str) -> Iterator[None]:
        """One thread at a time in one project."""
        with self._guard:
            lock = self._locks.setdefault(project_id, threading.RLock())
        with lock:
            yield

    def with_cache(self, project_id: str, doing: str, work: Callable[[GitCache], _T], *, kind: str = "project") -> _T:
        """Do work with a copy on this machine; once more with a new one if that turns out to be damaged.

        Args:
            project_id: Empty for a copy of what all projects have.
            doing: For messages: ``saving project 'alice'``.
            kind: Which of the project's copies.
        """
        name = encode_project_id(project_id) if project_id else "all"
        directory = self.directory / f"{name}.{kind}.git"
        git = Git(directory, self.remote, self.credentials, timeout_seconds=self.timeout_seconds)
        cache = GitCache(git, max_bytes=self.quota.max_bytes)
        with cache.locked():
            try:
                return work(cache)
            except GitFailure as failure:
                if failure.is_about_the_remote:
                    raise git.error(failure, doing) from failure
                _log.warning("%s: the copy in %s is made anew, since %s", doing, git.directory, failure)
            cache.rebuild()
            try:
                return work(cache)
            except GitFailure as failure:
                raise git.error(failure, doing) from failure

    def history(self, branches: Branches) -> list[Commit]:
        """As ``StateManager.history``."""
        doing = f"reading the history of project {branches.project_id!r}"
        return self.with_cache(
            branches.project_id, doing, lambda cache: branches.history(cache, self.keep, doing), kind="history"
        )

    def find(self, branches: Branches, *snapshot_ids: str) -> list[Commit]:
        """Some commits of the history.

        Raises:
            SnapshotNotFoundError: One of them is not in it.
        """
        kept = {commit.id: commit for commit in self.history(branches)}
        for snapshot_id in snapshot_ids:
            if snapshot_id not in kept:
                newest = f"the newest is {next(iter(kept))!r}" if kept else "nothing was saved yet"
                raise SnapshotNotFoundError(
                    f"project {branches.project_id!r} has no snapshot {snapshot_id!r}: it has {len(kept)}, and {newest}"
                )
        return [kept[snapshot_id] for snapshot_id in snapshot_ids]
