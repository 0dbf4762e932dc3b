"""``git``: each project a branch of a git repository, ordinary files as themselves."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, get_args

import platformdirs

from omniagents.errors import StateConflictError
from omniagents.state import Snapshot, StateManager
from omniagents_git.attaching import Bases
from omniagents_git.base import Base, OnConflict
from omniagents_git.branches import Branches, check_prefix
from omniagents_git.cache import GitCache, Push
from omniagents_git.credentials import Credentials
from omniagents_git.remote import parse_remote
from omniagents_git.repository import Repository
from omniagents_git.saving import Deleted, Saver
from omniagents_git.secret_files import SECRET_FILES
from omniagents_git.seen import SeenFiles
from omniagents_git.tree import Quota
from omniagents_git.upkeep import Upkeep
from omniagents_snapshot.exclusion import DEFAULT_LEAVE_OUT
from omniagents_snapshot.progress import ProgressCallback

if TYPE_CHECKING:
    from omniagents.workspace import Workspace

__all__ = ["GitStateManager"]


class GitStateManager(Upkeep, StateManager):
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
        progress: Told how far saves, loads, restores and checks have come, as ``omniagents_snapshot.progress`` says; in
            ``check``, files are snapshots. ``store`` is the commit and its push, of which nothing is counted.
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
        progress: ProgressCallback | None = None,
        cache_directory: str | os.PathLike[str] | None = None,
    ) -> None:
        if keep < 1:
            raise ValueError(f"keep is at least 1, not {keep!r}")
        check_prefix(branch_prefix)
        #: Told how far calls that begin from now on have come.
        self.progress = progress
        self._on_conflict = _checked(on_conflict)
        address = parse_remote(remote)
        self._repository = Repository(
            address,
            Credentials(address, token, username),
            prefix=branch_prefix,
            keep=keep,
            quota=Quota(max_bytes, max_files),
            timeout_seconds=timeout_seconds,
            caches=Path(cache_directory or platformdirs.user_cache_path("omniagents") / "git").absolute(),
        )
        keeps_secrets = address.is_local if keep_secrets is None else keep_secrets
        self._leave_out = (*(() if keeps_secrets else SECRET_FILES), *leave_out)
        seen = SeenFiles(self._repository.directory / "seen")
        self._bases = Bases(seen, self._leave_out, self._repository.quota)

    def __repr__(self) -> str:
        return f"GitStateManager({self._repository.remote.url!r})"

    def load(self, project_id: str, workspace: Workspace) -> Snapshot | None:
        """Make the workspace equal to the latest snapshot; None, and nothing done, if there is none.

        Raises:
            StateAccessError: The remote refuses the credentials, or there are none.
            StateConfigurationError: There is no such repository, or no usable git here.
            StateUnavailableError: The remote does not answer.
            StateCorruptError: The branch cannot be a workspace.
            StateQuotaError: It is over a limit of this manager.
        """
        branches = self._repository.branches(project_id)
        doing = f"loading project {project_id!r}"

        def work(cache: GitCache) -> Snapshot | None:
            tip = branches.tip(cache, doing)
            if tip is None:
                self._bases.keep(project_id, Base(), workspace)
                return None
            return self._bases.make_equal(cache, branches, tip, tip, workspace, doing, self._reporter(project_id))

        with self._repository.alone(project_id):
            return self._repository.with_cache(project_id, doing, work)

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
        branches = self._repository.branches(project_id)
        doing = f"saving project {project_id!r}"
        chosen = _checked(on_conflict or self._on_conflict)

        def work(cache: GitCache) -> Snapshot:
            base = self._bases.get(project_id) or self._bases.attach(cache, branches, workspace, doing)
            self._bases.keep(project_id, base, workspace)
            return self._saver(branches, base, workspace, chosen).save(cache, message)

        with self._repository.alone(project_id):
            known = self._bases.get(project_id)
            if known is not None:
                unchanged = self._saver(branches, known, workspace, chosen).unchanged()
                if unchanged is not None:
                    return unchanged
            try:
                snapshot = self._repository.with_cache(project_id, doing, work)
            except Deleted as error:
                self._bases.drop(project_id)
                raise StateConflictError(
                    f"project {project_id!r} was deleted while this workspace was in use; it was not saved. "
                    "Saving once more makes a new project of it"
                ) from error
            self._bases.note(project_id)
            return snapshot

    def history(self, project_id: str) -> list[Snapshot]:
        """The newest snapshots, newest first, also those that lost a conflict; empty for a project never saved.

        Commits that somebody else made on the branch are in it, too, without counts. Of what was left out, an
        entry has the first 100.
        """
        return [commit.snapshot for commit in self._repository.history(self._repository.branches(project_id))]

    def restore(self, project_id: str, snapshot_id: str, workspace: Workspace) -> Snapshot:
        """Make the workspace equal to a snapshot, which becomes the latest only when it is saved again.

        That save is a new commit on top of the branch. This is also the way out of a conflict.

        Raises:
            SnapshotNotFoundError: The project has no such snapshot.
        """
        branches = self._repository.branches(project_id)
        doing = f"restoring project {project_id!r}"
        with self._repository.alone(project_id):
            (wanted,) = self._repository.find(branches, snapshot_id)
            return self._repository.with_cache(
                project_id,
                doing,
                lambda cache: self._bases.make_equal(
                    cache, branches, branches.tip(cache, doing), wanted, workspace, doing, self._reporter(project_id)
                ),
            )

    def delete(self, project_id: str) -> None:
        """Forget the project: every branch of it, and what this machine keeps of it. Idempotent.

        Nobody may be saving it meanwhile. When the server forgets the content of deleted branches is its business.
        """
        branches = self._repository.branches(project_id)
        doing = f"deleting project {project_id!r}"

        def work(cache: GitCache) -> None:
            found = cache.ls_remote(*branches.all, doing=doing)
            if found:
                cache.push([Push(ref, "") for ref in found], doing=doing)
            cache.discard()

        with self._repository.alone(project_id):
            self._bases.drop(project_id)
            self._repository.with_cache(project_id, doing, work)
            self._repository.with_cache(project_id, doing, GitCache.discard, kind="history")
            self._bases.forget(project_id)

    def _saver(self, branches: Branches, base: Base, workspace: Workspace, on_conflict: OnConflict) -> Saver:
        return Saver(
            branches,
            base,
            workspace,
            leave_out=self._leave_out,
            quota=self._repository.quota,
            keep=self._repository.keep,
            on_conflict=on_conflict,
            reporter=self._reporter(branches.project_id),
        )


def _checked(on_conflict: OnConflict) -> OnConflict:
    if on_conflict not in get_args(OnConflict):
        raise ValueError(f"on_conflict is 'error', 'merge' or 'overwrite', not {on_conflict!r}")
    return on_conflict
