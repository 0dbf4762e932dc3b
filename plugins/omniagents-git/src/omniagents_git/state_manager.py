"""``git``: each project a branch of a git repository, ordinary files as themselves."""

from __future__ import annotations

import hashlib
import logging
import os
import threading
import weakref
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar, get_args

import platformdirs

from omniagents._ids import check_project_id, encode_project_id
from omniagents.errors import SnapshotNotFoundError, StateConflictError
from omniagents.records import FileInfo
from omniagents.state import Snapshot, StateManager
from omniagents_git.base import Base, OnConflict
from omniagents_git.branches import Branches, check_prefix, project_of
from omniagents_git.cache import GitCache, Push
from omniagents_git.checking import CheckReport, check_project
from omniagents_git.credentials import Credentials
from omniagents_git.description import Commit
from omniagents_git.failures import GitFailure
from omniagents_git.git import Git
from omniagents_git.planning import look, make_plan
from omniagents_git.remote import parse_remote
from omniagents_git.restoring import carry_out
from omniagents_git.saving import Deleted, Saver
from omniagents_git.secret_files import SECRET_FILES
from omniagents_git.seen import Seen, SeenFiles, signature
from omniagents_git.tree import Entry, Quota
from omniagents_snapshot.exclusion import DEFAULT_LEAVE_OUT

if TYPE_CHECKING:
    from omniagents.workspace import Workspace

__all__ = ["GitStateManager"]

_log = logging.getLogger(__name__)
_T = TypeVar("_T")


class GitStateManager(StateManager):
    """Keeps each project as a branch of a git repository: browsable, versioned, lossless.

    Args:
        remote: An ``https://``, ``ssh://`` or ``git@host:path`` address, or the path of a bare repository; by
            default ``$OMNIAGENTS_GIT_REMOTE``. A password in it is taken out and never reaches an argument.
        token: For HTTP: a token, or a function that returns one. By default ``$OMNIAGENTS_GIT_TOKEN``; on github.com
            (and the host that ``GH_HOST`` names) ``GH_TOKEN`` or ``GITHUB_TOKEN``; what ``gh auth login`` stored; then
            the user's own credential helpers. For ssh: the user's agent and keys.
        username: To go with the token; by default ``$OMNIAGENTS_GIT_USERNAME``, else one that forges take with a token.
        branch_prefix: How the names of branches begin.
        keep: How many snapshots the history lists, at least 1; a branch is given a new root after as many.
        keep_secrets: Save ``.env`` files and the like, too. By default only where the repository is on this machine's
            disk; elsewhere they are left out, and listed in ``Snapshot.left_out``.
        max_bytes: Limit of a project's file content, in a workspace and in a branch; None for none.
        max_files: Limit of its files, directories and links together; None for none.
        on_conflict: What a save does when another writer saved first: ``"error"`` puts ours on a branch of its own and
            raises ``StateConflictError``; ``"merge"`` takes both sides' changes where no path was changed by both, and
            else does the same; ``"overwrite"`` makes ours the latest, on top of theirs. A merge does not touch the
            workspace: it gets the others' files by the next ``load``.
        leave_out: What else is not saved, in gitignore syntax. A workspace adds to it by a file ``.omniagentsignore``.
        timeout_seconds: For each git command.
        cache_directory: Where this machine keeps copies of branches; by default in the user's cache directory. Losing
            it costs time only.

    Raises:
        StateConfigurationError: No remote was named, or it is no address.
    """

    def __init__(
        self,
        remote: str | os.PathLike[str] | None = None,
        *,
        token: str | Callable[[], str] | None = None,
        username: str | None = None,
        branch_prefix: str = "omniagents/",
        keep: int = 100,
        keep_secrets: bool | None = None,
        max_bytes: int | None = 16 << 30,
        max_files: int | None = 2_000_000,
        on_conflict: OnConflict = "error",
        leave_out: Sequence[str] = DEFAULT_LEAVE_OUT,
        timeout_seconds: float = 600.0,
        cache_directory: str | os.PathLike[str] | None = None,
    ) -> None:
        if keep < 1:
            raise ValueError(f"keep is at least 1, not {keep!r}")
        check_prefix(branch_prefix)
        self._remote = parse_remote(remote)
        self._credentials = Credentials(self._remote, token, username)
        self._prefix = branch_prefix
        self._on_conflict = _checked(on_conflict)
        self._keep = keep
        keeps_secrets = self._remote.is_local if keep_secrets is None else keep_secrets
        self._leave_out = (*(() if keeps_secrets else SECRET_FILES), *leave_out)
        self._quota = Quota(max_bytes, max_files)
        self._timeout_seconds = timeout_seconds
        identity = f"{self._remote.url}\0{branch_prefix}"
        root = Path(cache_directory or platformdirs.user_cache_path("omniagents") / "git")
        self._directory = root.absolute() / hashlib.sha256(identity.encode()).hexdigest()[:32]
        self._seen = SeenFiles(self._directory / "seen")
        self._bases: dict[str, Base] = {}
        self._locks: dict[str, threading.RLock] = {}
        self._guard = threading.Lock()

    def __repr__(self) -> str:
        return f"GitStateManager({self._remote.url!r})"

    def load(self, project_id: str, workspace: Workspace) -> Snapshot | None:
        """Make the workspace equal to the latest snapshot; None, and nothing done, if there is none.

        Raises:
            StateAccessError: The remote refuses the credentials, or there are none.
            StateConfigurationError: There is no such repository, or no usable git here.
            StateUnavailableError: The remote does not answer.
            StateCorruptError: The branch cannot be a workspace.
            StateQuotaError: It is over a limit of this manager.
        """
        branches = self._branches(project_id)
        doing = f"loading project {project_id!r}"

        def work(cache: GitCache) -> Snapshot | None:
            tip = branches.tip(cache, doing)
            if tip is None:
                self._remember(project_id, Base(), workspace)
                return None
            return self._make_equal(cache, branches, tip, tip, workspace, doing)

        with self._alone(project_id):
            return self._with_cache(project_id, doing, work)

    def save(
        self, project_id: str, workspace: Workspace, message: str = "", *, on_conflict: OnConflict | None = None
    ) -> Snapshot:
        """Save the workspace as the latest snapshot: a commit on the project's branch.

        With nothing changed, the latest one is returned again, without a request to the remote.

        Args:
            on_conflict: Instead of the manager's own; also the way out of a conflict that was raised.

        Raises:
            StateConflictError: Another writer saved since this manager's last load or save. What was to be
                saved is in the history all the same, on a branch of its own.
            StateQuotaError: The workspace is over a limit, or a push over one of the server; nothing was stored.
            StateAccessError: The remote refuses the credentials, or the push.
            StateUnavailableError: The remote did not answer; what it did is found out by the next save.
        """
        branches = self._branches(project_id)
        doing = f"saving project {project_id!r}"
        chosen = _checked(on_conflict or self._on_conflict)

        def work(cache: GitCache) -> Snapshot:
            base = self._bases.get(project_id) or self._attach(cache, branches, workspace, doing)
            self._remember(project_id, base, workspace)
            return self._saver(branches, base, workspace, chosen).save(cache, message)

        with self._alone(project_id):
            known = self._bases.get(project_id)
            if known is not None:
                unchanged = self._saver(branches, known, workspace, chosen).unchanged()
                if unchanged is not None:
                    return unchanged
            try:
                snapshot = self._with_cache(project_id, doing, work)
            except Deleted as error:
                del self._bases[project_id]
                raise StateConflictError(
                    f"project {project_id!r} was deleted while this workspace was in use; it was not saved. "
                    "Saving once more makes a new project of it"
                ) from error
            self._note(project_id)
            return snapshot

    def history(self, project_id: str) -> list[Snapshot]:
        """The newest snapshots, newest first, also those that lost a conflict; empty for a project never saved.

        Commits that somebody else made on the branch are in it, too, without counts. Of what was left out, an
        entry has the first 100.
        """
        return [commit.snapshot for commit in self._history(self._branches(project_id))]

    def restore(self, project_id: str, snapshot_id: str, workspace: Workspace) -> Snapshot:
        """Make the workspace equal to a snapshot, which becomes the latest only when it is saved again.

        That save is a new commit on top of the branch. This is also the way out of a conflict.

        Raises:
            SnapshotNotFoundError: The project has no such snapshot.
        """
        branches = self._branches(project_id)
        doing = f"restoring project {project_id!r}"
        with self._alone(project_id):
            kept = {commit.id: commit for commit in self._history(branches)}
            if snapshot_id not in kept:
                newest = f"the newest is {next(iter(kept))!r}" if kept else "nothing was saved yet"
                raise SnapshotNotFoundError(
                    f"project {project_id!r} has no snapshot {snapshot_id!r}: it has {len(kept)}, and {newest}"
                )
            return self._with_cache(
                project_id,
                doing,
                lambda cache: self._make_equal(
                    cache, branches, branches.tip(cache, doing), kept[snapshot_id], workspace, doing
                ),
            )

    def delete(self, project_id: str) -> None:
        """Forget the project: every branch of it, and what this machine keeps of it. Idempotent.

        Nobody may be saving it meanwhile. When the server forgets the content of deleted branches is its business.
        """
        branches = self._branches(project_id)
        doing = f"deleting project {project_id!r}"

        def work(cache: GitCache) -> None:
            found = cache.ls_remote(*branches.all, doing=doing)
            if found:
                cache.push([Push(ref, "") for ref in found], doing=doing)
            cache.discard()

        with self._alone(project_id):
            self._bases.pop(project_id, None)
            self._with_cache(project_id, doing, work)
            self._with_cache(project_id, doing, GitCache.discard, kind="history")
            self._seen.forget(project_id)

    def check(self, project_id: str, *, read_data: bool = False) -> CheckReport:
        """Look whether every snapshot could be restored, on a fresh copy of everything the remote has of the project.

        Args:
            read_data: Read and check every byte of content once more.
        """
        branches = self._branches(project_id)

        def work(cache: GitCache) -> CheckReport:
            try:
                cache.rebuild()
                return check_project(branches, cache, self._quota, keep=self._keep, read_data=read_data)
            finally:
                cache.discard()

        return self._with_cache(project_id, f"checking project {project_id!r}", work, kind="check")

    def projects(self) -> list[str]:
        """The ids of every project that was ever saved here, sorted."""
        doing = "listing the projects"
        heads = f"refs/heads/{self._prefix}"

        def work(cache: GitCache) -> list[str]:
            here, remote = cache.refs(), cache.ls_remote(heads + "*", doing=doing)
            branches = {ref: commit for ref, commit in remote.items() if "/" not in ref.removeprefix(heads)}
            cache.drop(here.keys() - branches.keys())
            news = [ref for ref, commit in branches.items() if here.get(ref) != commit]
            if news:
                cache.fetch_commits(news, doing=doing)
            found = {ref: project_of(cache, ref, ref.removeprefix(heads)) for ref in branches}
            for ref in (ref for ref, project in found.items() if project is None):
                _log.warning("the branch %s of %s is of no project that can be told", ref, self._remote.url)
            return sorted(project for project in found.values() if project is not None)

        return self._with_cache("", doing, work, kind="projects")

    def _branches(self, project_id: str) -> Branches:
        return Branches(check_project_id(project_id), self._prefix)

    @contextmanager
    def _alone(self, project_id: str) -> Iterator[None]:
        """One thread at a time in one project."""
        with self._guard:
            lock = self._locks.setdefault(project_id, threading.RLock())
        with lock:
            yield

    def _with_cache(self, project_id: str, doing: str, work: Callable[[GitCache], _T], *, kind: str = "project") -> _T:
        """Do work with a copy on this machine; once more with a new one if that turns out to be damaged."""
        name = encode_project_id(project_id) if project_id else "all"
        git = Git(
            self._directory / f"{name}.{kind}.git",
            self._remote,
            self._credentials,
            timeout_seconds=self._timeout_seconds,
        )
        cache = GitCache(git, max_bytes=self._quota.max_bytes)
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

    def _saver(self, branches: Branches, base: Base, workspace: Workspace, on_conflict: OnConflict) -> Saver:
        return Saver(
            branches,
            base,
            workspace,
            leave_out=self._leave_out,
            quota=self._quota,
            keep=self._keep,
            on_conflict=on_conflict,
        )

    def _history(self, branches: Branches) -> list[Commit]:
        doing = f"reading the history of project {branches.project_id!r}"
        return self._with_cache(
            branches.project_id, doing, lambda cache: branches.history(cache, self._keep, doing), kind="history"
        )

    def _attach(self, cache: GitCache, branches: Branches, workspace: Workspace, doing: str) -> Base:
        """The ground for a workspace this manager did not fill: an environment that outlived its host process."""
        tip = branches.tip(cache, doing)
        if tip is None:
            return Base()
        seen = self._seen.read(branches.project_id)
        if seen is not None and (seen.commit, seen.tip) != (tip.id, tip.id):
            missed = self._as_seen(cache, branches, seen, workspace, doing)
            if missed is not None:
                return missed
        listing = branches.listing(cache, tip, self._quota, doing)
        signatures = dict(seen.files) if seen is not None and seen.commit == tip.id else {}
        return Base(tip, tip, listing.entries, listing.sidecar, signatures)

    def _as_seen(
        self, cache: GitCache, branches: Branches, seen: Seen, workspace: Workspace, doing: str
    ) -> Base | None:
        """The ground that a process that is gone left this workspace on, if it is this one, and is still kept.

        Others may have saved since: what they did must not be taken for what this workspace has removed.
        """
        try:
            tip, commit = (branches.bring(cache, one, doing) for one in (seen.tip, seen.commit))
        except GitFailure as failure:
            if not failure.is_gone:
                raise
            return None
        listing = branches.listing(cache, commit, self._quota, doing)
        base = Base(tip, commit, listing.entries, listing.sidecar, dict(seen.files), dict(seen.marks))
        base.merged = tip if seen.is_merged else None
        return base if seen.is_of(look(workspace, base, self._leave_out)) else None

    def _make_equal(
        self,
        cache: GitCache,
        branches: Branches,
        tip: Commit | None,
        wanted: Commit,
        workspace: Workspace,
        doing: str,
    ) -> Snapshot:
        listing = branches.listing(cache, wanted, self._quota, doing)
        before = self._bases.pop(branches.project_id, None)
        if before is None or before.commit is None:
            seen = self._seen.read(branches.project_id)
            signatures = dict(seen.files) if seen is not None and seen.commit == wanted.id else {}
            before = Base(None, wanted, listing.entries, listing.sidecar, signatures)
        plan = make_plan(look(workspace, before, self._leave_out), listing.entries, _content_knower(before))
        kept = {path: before.signatures[path] for path in plan.keep}
        written, marks = carry_out(cache.git, workspace, plan)
        base = Base(tip, wanted, listing.entries, listing.sidecar, kept | written, kept | marks, before.kept_venvs)
        self._remember(branches.project_id, base, workspace)
        self._note(branches.project_id)
        return wanted.snapshot

    def _note(self, project_id: str) -> None:
        """Let the next process know what the workspace was last equal to, and which files still are."""
        base = self._bases[project_id]
        if base.commit is not None and base.tip is not None:
            is_merged = base.merged is not None
            seen = Seen(base.commit.id, base.tip.id, is_merged, base.signatures, base.marks)
            self._seen.write(project_id, seen)

    def _remember(self, project_id: str, base: Base, workspace: Workspace) -> None:
        """Keep ``base`` for as long as the workspace is in use: many thousand projects may come and go."""
        bases = self._bases

        def forget(reference: weakref.ref[Workspace]) -> None:
            kept = bases.get(project_id)
            if kept is not None and kept.owner is reference:
                del bases[project_id]

        base.owner = weakref.ref(workspace, forget)
        bases[project_id] = base


def _content_knower(base: Base) -> Callable[[FileInfo, Entry], bool]:
    contents = {entry.path: entry.content for entry in base.entries}

    def has_content(info: FileInfo, entry: Entry) -> bool:
        return base.signatures.get(info.path) == signature(info) and contents.get(info.path) == entry.content

    return has_content


def _checked(on_conflict: OnConflict) -> OnConflict:
    if on_conflict not in get_args(OnConflict):
        raise ValueError(f"on_conflict is 'error', 'merge' or 'overwrite', not {on_conflict!r}")
    return on_conflict
