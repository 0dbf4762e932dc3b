"""``local``: the guest as a child process. For development: nothing stands between its code and this machine."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import platformdirs

from omniagents._ids import encode_project_id
from omniagents.backends.child_stream import ChildStream
from omniagents.backends.directory import DirectoryBackend
from omniagents.connection import ByteStream
from omniagents.errors import BackendStartError
from omniagents.presets.base import Preset
from omniagents.state.base import StateManager

__all__ = ["LocalBackend"]

# What a command needs from the host's environment to work at all; anything else may be a secret.
_PASSED = frozenset({"PATH", "HOME", "USER", "LANG", "TERM", "TZ", "TMPDIR"})


class LocalBackend(DirectoryBackend):
    """A workspace directory on this machine, and processes of this user. No isolation: for development only.

    Without ``workspace_dir`` the workspace lies under the user's data directory and is removed after a
    saved shutdown; after a crash it is still there, and the next start goes on with it.

    Args:
        workspace_dir: A directory of yours to work in; created if missing, never removed.
        python: The interpreter that runs the guest; this one by default.

    The other arguments are ``Backend``'s. Commands see PATH, HOME, USER, LANG, LC_*, TERM, TZ and
    TMPDIR of this process and what ``environment`` names, nothing else.
    """

    def __init__(
        self,
        project_id: str,
        state_manager: StateManager | None = None,
        *,
        workspace_dir: str | os.PathLike[str] | None = None,
        python: str = sys.executable,
        preset: Preset | None = None,
        environment: Mapping[str, str] | None = None,
        checkpoint_interval_seconds: float | None = 60.0,
        takeover: bool = False,
    ) -> None:
        super().__init__(
            project_id,
            state_manager,
            workspace_dir=workspace_dir,
            preset=preset,
            environment=environment,
            checkpoint_interval_seconds=checkpoint_interval_seconds,
            takeover=takeover,
        )
        self.workspace_path = str(self._directory)
        self.python = (python,)

    def _own_directory(self) -> Path:
        return platformdirs.user_data_path("omniagents") / "workspaces" / encode_project_id(self.project_id)

    def _open(self, argv: Sequence[str]) -> ByteStream:
        inherited = {name: value for name, value in os.environ.items() if name in _PASSED or name.startswith("LC_")}
        try:
            return ChildStream(argv, inherited)
        except OSError as error:
            raise BackendStartError(f"the guest's interpreter {argv[0]!r} cannot be started: {error}") from error
