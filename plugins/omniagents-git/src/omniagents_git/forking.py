"""A project that begins with a snapshot of another: a commit of its own on the same tree, so nothing is copied."""

from __future__ import annotations

from dataclasses import replace

from omniagents._ids import utc_now
from omniagents.errors import StateError
from omniagents.state import Snapshot
from omniagents_git.branches import Branches
from omniagents_git.cache import GitCache, Push, Rejected
from omniagents_git.description import Commit, commit_message
from omniagents_git.failures import GitFailure
from omniagents_git.objects import read_commits
from omniagents_git.tree import Quota, count_changed
from omniagents_git.writing import writer

__all__ = ["fork"]


def fork(cache: GitCache, source: Branches, commit: Commit, target: Branches, quota: Quota, doing: str) -> Snapshot:
    """Make the project ``target`` from a commit of ``source``.

    Raises:
        StateError: The new project exists already.
        StateCorruptError: The commit cannot be a workspace.
    """
    exists = StateError(
        f"project {target.project_id!r} exists already, at least in part; delete it first, or fork to another id"
    )
    if cache.ls_remote(*target.all, doing=doing):
        raise exists
    entries = source.listing(cache, commit, quota, doing).entries
    sizes = [entry.size for entry in entries if entry.kind == "file"]
    snapshot = replace(
        commit.snapshot,
        project_id=target.project_id,
        parent_id=None,
        created_at=utc_now(),
        files=len(sizes),
        bytes=sum(sizes),
        changed=count_changed((), entries),
    )
    message = commit_message(snapshot, 0, is_root=True)
    with writer(cache.git, ()) as commits:
        commit_id = commits.commit(message, snapshot.created_at, {}, {}, parent=None, tree=commit.tree)
    try:
        cache.push([Push(target.latest, commit_id, expected="")], doing=doing)
    except Rejected as failure:
        raise exists from failure
    except GitFailure:
        # The push may have taken effect, and only its answer be lost.
        if cache.ls_remote(target.latest, doing=doing).get(target.latest) != commit_id:
            raise
    (written,) = read_commits(cache.git, target.project_id, [commit_id])
    return written.snapshot
