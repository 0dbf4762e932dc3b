"""What backends share whose workspace is a directory of this machine, so that it outlives the host process."""

from __future__ import annotations

import os
from abc import abstractmethod
from collections.abc import Mapping
from pathlib import Path

from omniagents.backends.base import Backend
from omniagents.errors import BackendError, BackendStartError
from omniagents.guest.removal import remove_tree
from omniagents.presets.base import Preset
from omniagents.state.base import StateManager

__all__ = ["DirectoryBackend"]


class DirectoryBackend(Backend):
    """A workspace on this machine's disk; a subclass says where, and starts processes in it (``_open``).

    Args:
        workspace_dir: A directory of the user's to work in; created if missing, never removed. By default
            one that ``_own_directory`` names: removed after a saved shutdown; after a crash it is still
            there, and the next start goes on with it.

    The other arguments are ``Backend``'s.
    """

    def __init__(
        self,
        project_id: str,
        state_manager: StateManager | None = None,
        *,
        workspace_dir: str | os.PathLike[str] | None = None,
        preset: Preset | None = None,
        environment: Mapping[str, str] | None = None,
        checkpoint_interval_seconds: float | None = 60.0,
        takeover: bool = False,
    ) -> None:
        super().__init__(
            project_id,
            state_manager,
            preset=preset,
            environment=environment,
            checkpoint_interval_seconds=checkpoint_interval_seconds,
            takeover=takeover,
        )
        if workspace_dir == "":
            raise ValueError("workspace_dir is empty; the current directory is '.'")
        self._is_ours = workspace_dir is None
        self._directory = self._own_directory() if workspace_dir is None else Path(workspace_dir).absolute()

    @abstractmethod
    def _own_directory(self) -> Path:
        """Where the workspace lies when the user names no directory: under the user's data directory."""

    def _provision(self) -> None:
        try:
            self._is_reattached = self._directory.is_dir() and (self._is_ours or any(self._directory.iterdir()))
            self._directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        except OSError as error:
            raise BackendStartError(f"{self}: the workspace directory cannot be used: {error}") from error

    def _destroy(self) -> None:
        if self._is_ours:
            self._remove(self._directory)

    def _remove(self, directory: Path) -> None:
        """Remove a directory of ours with all it holds, if it is there."""
        try:
            if directory.exists():
                remove_tree(str(directory))
        except OSError as error:
            raise BackendError(f"{self}: {directory} could not be removed: {error}; call shutdown() again") from error
