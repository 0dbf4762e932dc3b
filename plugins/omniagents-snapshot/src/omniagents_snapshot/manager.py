"""A state manager on a store: what ``directory`` is, and what object stores will be."""

from __future__ import annotations

import secrets
import threading
import weakref
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import platformdirs

from omniagents._ids import check_project_id
from omniagents.errors import StateConflictError, StateCorruptError, StateError
from omniagents.state import Snapshot, StateManager
from omniagents_snapshot.access import Access
from omniagents_snapshot.base import Base
from omniagents_snapshot.checking import Checker, CheckReport
from omniagents_snapshot.encryption import Encryption
from omniagents_snapshot.exclusion import DEFAULT_LEAVE_OUT
from omniagents_snapshot.model import TreeName
from omniagents_snapshot.repository import HeadState, Repository, project_ids
from omniagents_snapshot.restoring import apply_plan, make_plan
from omniagents_snapshot.saving import Lost, Quota, Saver
from omniagents_snapshot.scanning import scan_workspace
from omniagents_snapshot.statcache import StatCache
from omniagents_snapshot.store import Store

if TYPE_CHECKING:
    from omniagents.workspace import Workspace

__all__ = ["SnapshotStateManager"]

# A swap also fails when another process only marked packs for deletion; then the save is simply repeated.
_ATTEMPTS = 5


class SnapshotStateManager(StateManager):
    """Incremental, versioned, checked snapshots in a store.

    Args:
        store: Where they are kept. Its credentials stay on this side.
        max_bytes: Limit of a project's file content; None for none.
        max_files: Limit of its files, directories and links together; None for none.
        leave_out: What is not saved, in gitignore syntax; ``()`` to keep everything. A workspace adds to it
            by a file ``.omniagentsignore`` at its top.
        cache_directory: Where this machine remembers which files need not be read again; by default
            in the user's cache directory. Losing it costs time only.
        encryption: The key that new projects are encrypted with, and that encrypted ones are opened with.
    """

    def __init__(
        self,
        store: Store,
        *,
        max_bytes: int | None = 16 << 30,
        max_files: int | None = 2_000_000,
        leave_out: Sequence[str] = DEFAULT_LEAVE_OUT,
        cache_directory: Path | None = None,
        encryption: Encryption | None = None,
    ) -> None:
        self.store = store
        self.leave_out = tuple(leave_out)
        self._quota = Quota(max_bytes, max_files)
        self._access = Access(encryption)
        directory = cache_directory or platformdirs.user_cache_path("omniagents") / "snapshots"
        self._cache = StatCache(directory, store.identity)
        self._session = secrets.token_hex(16)
        self._bases: dict[str, Base] = {}
        self._locks: dict[str, threading.RLock] = {}
        self._guard = threading.Lock()

    def load(self, project_id: str, workspace: Workspace) -> Snapshot | None:
        """Make the workspace equal to the latest snapshot; None, and nothing done, if there is none.

        Raises:
            StateCorruptError: Something of it is damaged; names the object.
            StateQuotaError: It is over a limit of this manager.
        """
        with self._locked(project_id):
            repository = self._repository(project_id)
            state = repository.read_head()
            if state.head is None:
                self._remember(Base(repository, state), workspace)
                return None
            return self._make_equal(repository, state, state.head.tree, workspace)

    def save(self, project_id: str, workspace: Workspace, message: str = "") -> Snapshot:
        """Save the workspace as the latest snapshot. With nothing changed, the latest one is returned again.

        Raises:
            StateConflictError: Another writer saved since this manager's last load or save. What was to be
                saved is in the history all the same.
            StateQuotaError: The workspace is over a limit; nothing was stored.
            StateError: It could not be stored; the previous snapshot is untouched.
        """
        with self._locked(project_id):
            base = self._bases.get(project_id) or self._base_from_store(project_id)
            self._remember(base, workspace)
            before, signatures = base.tree_digest, base.signatures
            saved = self._attempt(base, workspace, message)
            if (base.tree_digest, base.signatures) != (before, signatures) and base.tree_digest:
                self._cache.write(project_id, base.tree_digest, base.signatures)
            return saved

    def history(self, project_id: str) -> list[Snapshot]:
        """Every kept snapshot, newest first, also those that lost a conflict; empty for a project never saved.

        Of a long list of what was left out, an entry here has the first 1,000.
        """
        return self._repository(check_project_id(project_id)).history()

    def restore(self, project_id: str, snapshot_id: str, workspace: Workspace) -> Snapshot:
        """Make the workspace equal to a snapshot, which becomes the latest only when it is saved again.

        That save is a new snapshot on top of the latest. This is also the way out of a conflict,
        and of a damaged ``HEAD``.

        Raises:
            SnapshotNotFoundError: The project has no such snapshot.
            StateCorruptError: Something of it is damaged; names the object.
        """
        with self._locked(project_id):
            repository = self._repository(project_id)
            _, tree = repository.find(snapshot_id)
            return self._make_equal(repository, _state_to_replace(repository), tree, workspace)

    def delete(self, project_id: str) -> None:
        """Forget the project: every snapshot and everything stored for it. Idempotent.

        Nobody may be saving it meanwhile.
        """
        with self._locked(project_id):
            self._bases.pop(project_id, None)
            self._repository(project_id).delete()
            self._cache.forget(project_id)

    def check(self, project_id: str, *, read_data: bool = False) -> CheckReport:
        """Look whether every snapshot could be restored: every object is there and every description sound.

        Args:
            read_data: Read and check every byte of content, too.
        """
        return Checker(self._repository(check_project_id(project_id))).check(read_data=read_data)

    def change_key(self, project_id: str, encryption: Encryption) -> None:
        """Make an encrypted project readable by another key only. Managers with the old key cannot open it any more.

        Only the project's own key is encrypted anew: whoever had it before, and a copy of the store, can
        still read what they could.

        Raises:
            StateError: The project is not encrypted, or was changed meanwhile.
        """
        with self._locked(project_id):
            self._repository(project_id).change_key(encryption)
            self._bases.pop(project_id, None)
            self._access = replace(self._access, encryption=encryption)

    def projects(self) -> list[str]:
        """The ids of every project that was ever saved here, sorted.

        Raises:
            StateCorruptError: A project's format is damaged; names it.
        """
        return sorted(project_ids(self.store))

    def _repository(self, project_id: str) -> Repository:
        return Repository(self.store, project_id, self._access)

    @contextmanager
    def _locked(self, project_id: str) -> Iterator[None]:
        """One thread at a time in one project."""
        with self._guard:
            lock = self._locks.setdefault(check_project_id(project_id), threading.RLock())
        with lock:
            yield

    def _remember(self, base: Base, workspace: Workspace) -> None:
        """Keep ``base`` for as long as the workspace is in use: many thousand projects may come and go."""
        project_id = base.repository.project_id

        def forget(_: weakref.ref[Workspace]) -> None:
            if self._bases.get(project_id) is base:
                del self._bases[project_id]

        base.owner = weakref.ref(workspace, forget)
        self._bases[project_id] = base

    def _base_from_store(self, project_id: str) -> Base:
        """The ground for a workspace this manager did not fill: an environment that outlived its host process."""
        repository = self._repository(project_id)
        base = Base(repository, repository.read_head())
        if base.head is not None:
            base.tree, base.tree_digest = repository.get_tree(base.head.tree), base.head.tree.digest
            base.signatures = self._cache.read(project_id, base.tree_digest)
        return base

    def _attempt(self, base: Base, workspace: Workspace, message: str) -> Snapshot:
        for _ in range(_ATTEMPTS):
            saver = Saver(base, workspace, leave_out=self.leave_out, quota=self._quota, session=self._session)
            try:
                return saver.save(message)
            except Lost as lost:
                ours = lost.snapshot
            if not base.repository.is_current():
                # Under a key that is gone, it would only spoil the history of whoever saves next.
                base.repository.remove_pointer(ours)
                del self._bases[ours.project_id]
                raise StateConflictError(
                    f"project {ours.project_id!r} was deleted while this workspace was in use; it was not saved. "
                    "Saving once more makes a new project of it"
                )
            now = base.repository.read_head()
            if base.head is None or now.head is None or now.head.tree != base.head.tree:
                raise _conflict(base, now, ours)
            # Only marks were added: the same save on top of them takes the place of the one that failed.
            base.repository.remove_pointer(ours)
            base.state = now
        raise StateError(
            f"project {ours.project_id!r} could not be saved: its HEAD changed {_ATTEMPTS} times meanwhile; save again"
        )

    def _make_equal(self, repository: Repository, state: HeadState, name: TreeName, workspace: Workspace) -> Snapshot:
        base = self._bases.pop(repository.project_id, None) or Base(repository, state)
        tree = base.tree if base.tree is not None and base.tree_digest == name.digest else repository.get_tree(name)
        if base.tree is None:
            base.tree, base.signatures = tree, self._cache.read(repository.project_id, name.digest)
        self._quota.check(repository.project_id, tree.snapshot.bytes, len(tree.entries))
        plan = make_plan(scan_workspace(workspace, base, self.leave_out), tree, base)
        apply_plan(repository, workspace, tree, plan)
        self._remember(Base(repository, state, tree, name.digest, plan.signatures, base.kept_venvs), workspace)
        self._cache.write(repository.project_id, name.digest, plan.signatures)
        return tree.snapshot


def _state_to_replace(repository: Repository) -> HeadState:
    try:
        return repository.read_head()
    except StateCorruptError:
        return HeadState(None, repository.head_version())


def _conflict(base: Base, now: HeadState, ours: Snapshot) -> StateConflictError:
    expected = repr(base.head.snapshot_id) if base.head else "none"
    latest = repr(now.head.snapshot_id) if now.head else "none"
    return StateConflictError(
        f"another writer saved project {ours.project_id!r} first: the latest is now {latest}, not {expected}. "
        f"This workspace is kept in the history as {ours.id!r}; restore one of the two, then save"
    )
