"""A state manager on a store: what ``directory`` is, and what object stores will be."""

from __future__ import annotations

import random
import secrets
import threading
import time
import weakref
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, get_args

import platformdirs

from omniagents._ids import check_project_id
from omniagents.errors import StateConflictError, StateCorruptError, StateError
from omniagents.state import Snapshot, StateManager
from omniagents_snapshot.access import Access
from omniagents_snapshot.attempting import settle
from omniagents_snapshot.base import Aside, Base
from omniagents_snapshot.contents import check_paths
from omniagents_snapshot.encryption import Encryption
from omniagents_snapshot.exclusion import DEFAULT_LEAVE_OUT
from omniagents_snapshot.limits import TREE_MAX_STORED_BYTES
from omniagents_snapshot.maintenance import Maintenance
from omniagents_snapshot.model import TreeName
from omniagents_snapshot.pack_cache import PackCache
from omniagents_snapshot.progress import ProgressCallback
from omniagents_snapshot.repository import HeadState, Repository
from omniagents_snapshot.resolving import Again, OnConflict, resolve
from omniagents_snapshot.restoring import apply_plan, has_files_of, is_within, make_plan
from omniagents_snapshot.retention import DEFAULT_RETENTION, Retention
from omniagents_snapshot.saving import Lost, Quota, Saver
from omniagents_snapshot.scanning import scan_workspace
from omniagents_snapshot.statcache import Signatures, StatCache
from omniagents_snapshot.store import Store
from omniagents_snapshot.stored_tree import StoredTree

if TYPE_CHECKING:
    from omniagents.workspace import Workspace

__all__ = ["SnapshotStateManager"]

# A swap also fails when another process only marked packs for deletion; then the save is simply repeated.
_ATTEMPTS = 5
# How often a save that is stored already tries to become part of the project.
_SWAPS = 40
_LONGEST_PAUSE_SECONDS = 0.5


class SnapshotStateManager(Maintenance, StateManager):
    """Incremental, versioned, checked snapshots in a store.

    Args:
        store: Where they are kept. Its credentials stay on this side.
        max_bytes: Limit of a project's file content; None for none.
        max_files: Limit of its files, directories and links together; None for none.
        leave_out: What is not saved, in gitignore syntax; ``()`` to keep everything. A workspace adds to it
            by a file ``.omniagentsignore`` at its top.
        cache_directory: Where this machine remembers which files need not be read again; by default
            in the user's cache directory. Losing it costs time only.
        cache_bytes: How much of what is stored may also be kept there, so that a restore makes nearly no
            request; for all projects together, the longest unused goes first. 0 for none.
        on_conflict: What a save does when another writer saved first. Ours is kept as a snapshot of its own in any
            case, and then: ``"error"`` raises ``StateConflictError``; ``"merge"`` takes both sides' changes where
            no path was changed by both, and raises where one was; ``"overwrite"`` makes ours the latest, on top of
            theirs. A merge does not touch the workspace: it gets the others' files by the next ``load``.
        retention: What ``prune`` keeps unless it is told otherwise.
        encryption: The key that new projects are encrypted with, and that encrypted ones are opened with.
        progress: Told how far saves, loads, restores and checks have come.
    """

    def __init__(
        self,
        store: Store,
        *,
        max_bytes: int | None = 16 << 30,
        max_files: int | None = 2_000_000,
        leave_out: Sequence[str] = DEFAULT_LEAVE_OUT,
        cache_directory: Path | None = None,
        cache_bytes: int = 4 << 30,
        on_conflict: OnConflict = "error",
        retention: Retention = DEFAULT_RETENTION,
        encryption: Encryption | None = None,
        progress: ProgressCallback | None = None,
    ) -> None:
        self.store = store
        self.on_conflict = _checked(on_conflict)
        self.retention = retention
        self.leave_out = tuple(leave_out)
        self._quota = Quota(max_bytes, max_files)
        directory = cache_directory or platformdirs.user_cache_path("omniagents") / "snapshots"
        cache = PackCache(directory / "packs", max_bytes=cache_bytes) if cache_bytes else None
        self._access = Access(encryption, cache, progress)
        self._cache = StatCache(directory, store.identity)
        self._session = secrets.token_hex(16)
        self._bases: dict[str, Base] = {}
        self._locks: dict[str, threading.RLock] = {}
        self._guard = threading.Lock()

    @property
    def progress(self) -> ProgressCallback | None:
        """Told how far calls that begin from now on have come."""
        return self._access.progress

    @progress.setter
    def progress(self, callback: ProgressCallback | None) -> None:
        self._access = replace(self._access, progress=callback)

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

    def save(
        self, project_id: str, workspace: Workspace, message: str = "", *, on_conflict: OnConflict | None = None
    ) -> Snapshot:
        """Save the workspace as the latest snapshot. With nothing changed, the latest one is returned again.

        Args:
            on_conflict: Instead of the manager's own; also the way out of a conflict that was raised.

        Raises:
            StateConflictError: Another writer saved since the workspace was last loaded or saved. What was to be
                saved is in the history all the same.
            StateQuotaError: The workspace is over a limit; nothing was stored.
            StateError: It could not be stored; the previous snapshot is untouched.
        """
        with self._locked(project_id):
            base = self._bases.get(project_id)
            if base is None:
                repository = self._repository(project_id)
                base = self._base_from_store(Base(repository, repository.read_head()), workspace)
            self._remember(base, workspace)
            before, signatures = base.tree_digest, base.signatures
            saved = self._attempt(base, workspace, message, _checked(on_conflict or self.on_conflict))
            if (base.tree_digest, base.signatures) != (before, signatures) and base.tree_digest:
                self._cache.write(project_id, base.tree_digest, base.signatures)
            return saved

    def restore(
        self, project_id: str, snapshot_id: str, workspace: Workspace, *, paths: Sequence[str] | None = None
    ) -> Snapshot:
        """Make the workspace equal to a snapshot, which becomes the latest only when it is saved again.

        That save is a new snapshot on top of the latest. This is also the way out of a conflict,
        and of a damaged ``HEAD``.

        Args:
            paths: Only these files and directories, with everything below them; the rest of the workspace stays.

        Raises:
            SnapshotNotFoundError: The project has no such snapshot.
            FileNotFoundError: The snapshot has no such path; nothing was done.
            StateCorruptError: Something of it is damaged; names the object.
        """
        with self._locked(project_id):
            repository = self._repository(project_id)
            # First: whoever drops the snapshot after this makes our next swap fail.
            state = _state_to_replace(repository)
            is_latest = state.head is not None and state.head.snapshot_id == snapshot_id
            name = state.head.tree if state.head and is_latest else repository.find(snapshot_id)[1]
            if paths is not None:
                return self._restore_paths(repository, state, name, workspace, paths)
            return self._make_equal(repository, state, name, workspace)

    def _restore_paths(
        self, repository: Repository, state: HeadState, name: TreeName, workspace: Workspace, paths: Sequence[str]
    ) -> Snapshot:
        tree = repository.get_tree(name)
        check_paths(tree, paths)
        base = self._bases.get(repository.project_id)
        base = base or self._base_from_store(Base(repository, state), workspace, {name: tree})
        with tree.held():
            plan = make_plan(scan_workspace(workspace, base, self.leave_out), tree, base, is_within(paths))
            apply_plan(base.repository, workspace, tree, plan)
        return tree.snapshot

    def delete(self, project_id: str) -> None:
        """Forget the project: every snapshot and everything stored for it. Idempotent.

        Nobody may be saving it meanwhile.
        """
        with self._locked(project_id):
            self._bases.pop(project_id, None)
            self._repository(project_id).delete()
            self._cache.forget(project_id)

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

    def _base_from_store(
        self, base: Base, workspace: Workspace, trees: Mapping[TreeName, StoredTree] = MappingProxyType({})
    ) -> Base:
        """The ground for a workspace this manager did not fill: an environment that outlived its host process.

        Args:
            base: With the latest ``HEAD`` and no tree.
            trees: Those that need not be read.
        """
        if base.head is not None:
            digest, signatures = self._cache.last(base.repository.project_id)
            if digest not in (None, base.head.tree.digest):
                self._see_what_was_missed(base, TreeName(str(digest), TREE_MAX_STORED_BYTES), signatures, workspace)
            if base.tree is None:
                name = base.head.tree
                base.tree, base.tree_digest = trees.get(name) or base.repository.get_tree(name), name.digest
                base.signatures = signatures if digest == base.tree_digest else Signatures()
        return base

    def _see_what_was_missed(self, base: Base, name: TreeName, signatures: Signatures, workspace: Workspace) -> None:
        """Find out whether others saved since the workspace was last equal to a snapshot, by a process that is gone."""
        try:
            tree = base.repository.get_tree(name)
        except StateCorruptError:
            return  # not kept any more
        seen = Base(base.repository, base.state, tree, name.digest, signatures)
        if has_files_of(scan_workspace(workspace, seen, self.leave_out), seen):
            base.tree, base.tree_digest, base.signatures = tree, name.digest, signatures
            base.aside = Aside(common=tree)

    def _attempt(self, base: Base, workspace: Workspace, message: str, on_conflict: OnConflict) -> Snapshot:
        for _ in range(_ATTEMPTS):
            if base.attempts:
                settle(base, base.repository.read_head())
            saver = Saver(base, workspace, leave_out=self.leave_out, quota=self._quota, session=self._session)
            try:
                saved = saver.save(message)
                if base.aside is None:
                    return saved
                lost = self._answer_again(base, on_conflict)
                if not isinstance(lost, Lost):
                    return lost
            except Lost as error:
                lost = error
            resolved = self._resolved(base, lost, on_conflict)
            if resolved is not None:
                return resolved
        raise StateError(
            f"project {base.repository.project_id!r} could not be saved: its HEAD changed {_ATTEMPTS} times meanwhile; "
            "save again"
        )

    def _resolved(self, base: Base, lost: Lost, on_conflict: OnConflict) -> Snapshot | None:
        """What becomes of a save that lost its swap; None if it must be made anew."""
        for number in range(_SWAPS):
            now = self._current_head(base)
            if settle(base, now):
                return None
            try:
                outcome = resolve(base, lost, now, on_conflict=on_conflict, session=self._session, quota=self._quota)
            except StateCorruptError:
                if base.repository.head_version() == now.version:
                    raise
                continue  # a prune deletes what others had saved on top of what they saved meanwhile
            if isinstance(outcome, Snapshot):
                return outcome
            if outcome is Again.SAVE:
                return None
            # Many writers at once: let one of them through.
            time.sleep(random.uniform(0, min(_LONGEST_PAUSE_SECONDS, 0.01 * 2**number)))
        return None

    def _answer_again(self, base: Base, on_conflict: OnConflict) -> Snapshot | Lost:
        """What a save says of a workspace that is as it was when others' work was found in its way."""
        assert base.aside is not None
        assert base.tree is not None
        answer = base.aside.answer
        if isinstance(answer, StateConflictError):
            if on_conflict == base.aside.on_conflict:
                raise answer
            assert base.aside.ours is not None
            return Lost(base.tree, base.aside.ours, base.signatures)
        if answer is None:
            assert base.head is not None
            answer = base.repository.get_outline(base.head.tree).snapshot
            base.aside = replace(base.aside, answer=answer)
        return answer

    def _current_head(self, base: Base) -> HeadState:
        """``HEAD`` as it is now.

        Raises:
            StateConflictError: The project was deleted.
        """
        project_id = base.repository.project_id
        now = base.repository.read_head() if base.repository.is_current() else HeadState()
        if now.head is None:
            del self._bases[project_id]
            raise StateConflictError(
                f"project {project_id!r} was deleted while this workspace was in use; it was not saved. "
                "Saving once more makes a new project of it"
            )
        return now

    def _make_equal(self, repository: Repository, state: HeadState, name: TreeName, workspace: Workspace) -> Snapshot:
        base = self._bases.pop(repository.project_id, None) or Base(repository, state)
        tree = base.tree if base.tree is not None and base.tree_digest == name.digest else repository.get_tree(name)
        if base.tree is None:
            base.tree, base.signatures = tree, self._cache.read(repository.project_id, name.digest)
        self._quota.check(repository.project_id, tree.snapshot.bytes, len(tree.entries))
        with tree.held():
            plan = make_plan(scan_workspace(workspace, base, self.leave_out), tree, base)
            apply_plan(repository, workspace, tree, plan)
        self._remember(Base(repository, state, tree, name.digest, plan.signatures, base.kept_venvs), workspace)
        self._cache.write(repository.project_id, name.digest, plan.signatures)
        return tree.snapshot


def _checked(on_conflict: OnConflict) -> OnConflict:
    if on_conflict not in get_args(OnConflict):
        raise ValueError(f"on_conflict is 'error', 'merge' or 'overwrite', not {on_conflict!r}")
    return on_conflict


def _state_to_replace(repository: Repository) -> HeadState:
    try:
        return repository.read_head()
    except StateCorruptError:
        return HeadState(None, repository.head_version())
