"""What every backend is: an environment, the guest in it, and the life of a project from start to shutdown.

A third-party backend writes three methods (``_provision``, ``_open``, ``_destroy``); everything
users call is here.
"""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import logging
import os
import secrets
import threading
import weakref
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from types import TracebackType
from typing import ClassVar, Literal, NamedTuple, Self

import platformdirs

from omniagents._ids import check_project_id
from omniagents.backends._options import check_options
from omniagents.backends.checkpoints import Checkpoints
from omniagents.backends.lease import Lease
from omniagents.connection import ByteStream
from omniagents.errors import (
    BackendError,
    BackendNotStartedError,
    BackendUnavailableError,
    GuestDiedError,
    SaveFailedError,
)  # fmt: skip
from omniagents.link import GuestLink
from omniagents.plugins.manager import notify
from omniagents.presets.base import Preset
from omniagents.presets.set_up import set_up
from omniagents.state.base import Snapshot, StateManager
from omniagents.state.noop import NoOpStateManager
from omniagents.workspace import Workspace

__all__ = ["Backend", "BackendStatus", "ByteStream", "Problem"]

BackendStatus = Literal["uninitialized", "running", "stopped", "failed"]

_log = logging.getLogger("omniagents")

# In the workspace while a snapshot is being loaded into it: a workspace that has it is not complete.
_LOADING_MARKER = ".omniagents-loading.tmp"


class Problem(NamedTuple):
    """Why a backend cannot work on this machine.

    Attributes:
        what: What is missing or forbidden, in a few words.
        why: What was found.
        cure: The command, or what to do.
    """

    what: str
    why: str
    cure: str


class Backend(ABC):
    """One project's environment.

    Args:
        project_id: Any non-empty string of at most 200 characters.
        state_manager: What keeps the workspace between sessions; by default nothing does.
        preset: Image, environment, set-up commands of a new workspace.
        environment: Variables for every command. What you put here, code in the environment can read.
        checkpoint_interval_seconds: How often to save while running, where the state manager keeps anything;
            None or 0 for never. A checkpoint with nothing changed costs one scan.
        takeover: Start even if another living backend holds the project; that one loses it.
    """

    #: Where the workspace is inside the environment.
    workspace_path: str = "/workspace"
    #: The environment's Python, as the start of an argv.
    python: Sequence[str] = ("python3",)
    #: The channel ``_open`` returns carries only text.
    is_text_channel: ClassVar[bool] = False

    def __init__(
        self,
        project_id: str,
        state_manager: StateManager | None = None,
        *,
        preset: Preset | None = None,
        environment: Mapping[str, str] | None = None,
        checkpoint_interval_seconds: float | None = 60.0,
        takeover: bool = False,
    ) -> None:
        self.project_id = check_project_id(project_id)
        self.state_manager = state_manager if state_manager is not None else NoOpStateManager()
        check_options(self.state_manager, preset, environment, checkpoint_interval_seconds)
        self.preset = preset
        self.environment = {**(preset.environment if preset is not None else {}), **(environment or {})}
        self.checkpoint_interval_seconds = checkpoint_interval_seconds
        self.takeover = takeover
        self.snapshot: Snapshot | None = None
        self.last_checkpoint_error: Exception | None = None
        #: Set by ``_provision`` when it found this project's living environment: its workspace is kept as it is.
        self._is_reattached = False
        # There is something to remove, or to try again to remove.
        self._is_provisioned = False
        self._status: BackendStatus = "uninitialized"
        self._changing = threading.RLock()
        self._saving = threading.Lock()
        self._link: GuestLink | None = None
        self._workspace: Workspace | None = None
        self._checkpoints: Checkpoints | None = None
        leases = platformdirs.user_data_path("omniagents") / "leases" / type(self).__name__
        self._lease = Lease(leases, self.project_id)

    @classmethod
    def problems(cls) -> list[Problem]:
        """What keeps this kind of backend from working on this machine, as far as it can be told without a project.

        ``omniagents doctor`` shows it, and the backend ``auto`` takes the first that has none.
        """
        return []

    @abstractmethod
    def _provision(self) -> None:
        """Create the environment, or reattach to this project's living one (then set ``_is_reattached``)."""

    @abstractmethod
    def _open(self, argv: Sequence[str]) -> ByteStream:
        """Start a process inside; the stream is its standard input and output."""

    @abstractmethod
    def _destroy(self) -> None:
        """Remove the environment with the workspace. Idempotent; also after a failed ``_provision``."""

    @property
    def status(self) -> BackendStatus:
        """``running`` once started; ``failed`` when the environment died or could not be saved."""
        if self._status == "running" and self._link is not None and self._link.is_gone:
            self._status = "failed"
        return self._status

    @property
    def workspace(self) -> Workspace:
        """Files and commands.

        Raises:
            BackendNotStartedError: Not running.
        """
        if self._workspace is None:
            raise BackendNotStartedError(
                f"{self}: not running (status {self.status!r}); call start(), or use it in a with statement"
            )
        return self._workspace

    def start(self) -> None:
        """Create or find the environment, start the guest, load the latest snapshot. Of no effect while running.

        Raises:
            ProjectInUseError: Another living backend holds the project.
            BackendStartError: The environment cannot be created or cannot run the guest.
            StateError: The latest snapshot cannot be loaded; the environment is as before.
        """
        with self._changing:
            if self.status == "running":
                return
            if self._link is not None:
                self._disconnect("the backend is being started again")
            self._lease.acquire(takeover=self.takeover, owner=str(self))
            self._is_reattached = False
            self._is_provisioned = True
            try:
                self._bring_up()
            except BaseException:
                self._status = "failed"
                self._give_up()
                raise
            self._status = "running"
            _running.add(self)
            interval = self.checkpoint_interval_seconds
            if interval and self.state_manager.keeps_snapshots:
                self._checkpoints = Checkpoints(self, interval)
            notify("omniagents_backend_started", backend=self)

    def shutdown(self, *, save: bool = True) -> None:
        """Save the workspace, then remove the environment. Safe to call twice.

        An environment that died before it could be saved, or that another backend has taken over, is left as it is.

        Args:
            save: False discards what was not saved.

        Raises:
            SaveFailedError: It could not be saved; the environment is kept and the status is ``failed``.
                Call ``shutdown()`` to try again, ``shutdown(save=False)`` to discard.
            BackendError: It could not be removed; call ``shutdown()`` to try again.
        """
        with self._changing:
            if not self._is_provisioned:
                return
            is_saved = True
            if self._link is not None:
                self._stop_checkpoints()
                notify("omniagents_backend_stopping", backend=self)
                if save and self.state_manager.keeps_snapshots:
                    is_saved = self._save_before_end()
                self._disconnect("the backend was shut down")
            if is_saved and self._lease.is_ours():
                self._status = "failed"
                self._destroy()
            self._is_provisioned = False
            self._lease.release()
            self._status = "stopped"

    def checkpoint(self, message: str = "") -> Snapshot | None:
        """Save now, and go on. None where the state manager keeps nothing; the latest snapshot if nothing changed.

        Raises:
            StateError: It could not be saved.
        """
        workspace = self.workspace
        if not self.state_manager.keeps_snapshots:
            return None
        with self._saving:
            previous = self.snapshot
            snapshot = self.state_manager.save(self.project_id, workspace, message)
            self.snapshot = snapshot
            self.last_checkpoint_error = None
        if previous is None or previous.id != snapshot.id:
            notify("omniagents_snapshot_saved", backend=self, snapshot=snapshot)
        return snapshot

    def restore(self, snapshot_id: str) -> Snapshot:
        """Make the workspace equal to an earlier snapshot; the next save is a new one.

        Raises:
            SnapshotNotFoundError: The project has no such snapshot.
        """
        with self._saving, _being_filled(self.workspace):
            self.snapshot = self.state_manager.restore(self.project_id, snapshot_id, self.workspace)
            return self.snapshot

    async def astart(self) -> None:
        """``start`` in a thread."""
        await asyncio.to_thread(self.start)

    async def ashutdown(self, *, save: bool = True) -> None:
        """``shutdown`` in a thread."""
        await asyncio.to_thread(self.shutdown, save=save)

    async def acheckpoint(self, message: str = "") -> Snapshot | None:
        """``checkpoint`` in a thread."""
        return await asyncio.to_thread(self.checkpoint, message)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.shutdown()

    async def __aenter__(self) -> Self:
        await self.astart()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.ashutdown()

    def __str__(self) -> str:
        return f"{type(self).__name__}(project_id={self.project_id!r})"

    def _bring_up(self) -> None:
        self._provision()
        self._link = GuestLink(
            self._open_ours,
            {
                "root": self.workspace_path,
                "aliases": ["/workspace"],
                "create": True,
                "environment": self.environment,
                "session": secrets.token_hex(16),
            },
            python=self.python,
            text=self.is_text_channel,
            name=str(self),
            is_ours=self._lease.is_ours,
        )
        hello = self._link.open()
        self._workspace = Workspace(self._link, str(hello["root"]))
        self._fill(self._workspace)

    def _open_ours(self, argv: Sequence[str]) -> ByteStream:
        if not self._lease.is_ours():
            raise BackendUnavailableError(f"{self}: another backend has taken the project over")
        return self._open(argv)

    def _fill(self, workspace: Workspace) -> None:
        """Load the latest snapshot into a new workspace; one that lives on is newer than any snapshot."""
        if self._is_reattached and not workspace.exists(_LOADING_MARKER):
            return
        if self.state_manager.keeps_snapshots or self.preset is not None:
            workspace.write_bytes(_LOADING_MARKER, b"")
        self.snapshot = self.state_manager.load(self.project_id, workspace)
        if self.snapshot is None and self.preset is not None:
            set_up(self.preset, workspace, where=str(self))
        workspace.remove(_LOADING_MARKER, missing_ok=True)

    def _save_before_end(self) -> bool:
        """Whether the workspace is saved; false where there is no environment any more to save from."""
        try:
            self.checkpoint()
            return True
        except Exception as error:
            if isinstance(error, BackendUnavailableError) and not isinstance(error, GuestDiedError):
                kept = f"the latest snapshot is {self.snapshot.id}" if self.snapshot else "nothing was ever saved"
                _log.warning("%s: shut down without saving, its environment is gone (%s); %s", self, error, kept)
                return False
            self._status = "failed"
            raise SaveFailedError(
                f"{self}: the workspace could not be saved ({type(error).__name__}: {error}); the environment is kept. "
                "Call shutdown() to try again, or shutdown(save=False) to discard what was not saved"
            ) from error

    def _disconnect(self, reason: str) -> None:
        self._stop_checkpoints()
        if self._link is not None:
            self._link.close(f"{self}: {reason}")
        self._link = self._workspace = None
        _running.discard(self)

    def _give_up(self) -> None:
        """After a failed start: nothing of ours stays, but what was there before."""
        self._disconnect("the start failed")
        try:
            if not self._is_reattached:
                self._destroy()
        except Exception:  # what made the start fail is the error to raise
            _log.exception("%s: the environment of a failed start could not be removed", self)
        finally:
            self._is_provisioned = False
            self._lease.release()

    def _stop_checkpoints(self) -> None:
        checkpoints, self._checkpoints = self._checkpoints, None
        if checkpoints is not None:
            checkpoints.stop()


@contextlib.contextmanager
def _being_filled(workspace: Workspace) -> Iterator[None]:
    """Should the host die in here, the next start finds the marker and loads again."""
    workspace.write_bytes(_LOADING_MARKER, b"")
    try:
        yield
    finally:
        with contextlib.suppress(BackendError):
            workspace.remove(_LOADING_MARKER, missing_ok=True)


_running: weakref.WeakSet[Backend] = weakref.WeakSet()
# A forked child's exit does not end its parent's backends.
os.register_at_fork(after_in_child=_running.clear)


@atexit.register
def _shut_down_all() -> None:
    """A program ends without shutdown: save and stop what runs; what cannot be saved is kept for the next start."""
    for backend in [*_running]:
        try:
            backend.shutdown()
        except Exception as error:
            _log.warning("%s: not shut down at exit, its workspace is kept: %s", backend, error)
            backend._disconnect("the program ended")
