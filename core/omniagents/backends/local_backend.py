"""``local``: the guest as a child process. For development: nothing stands between its code and this machine."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path

import platformdirs

from omniagents._ids import encode_project_id
from omniagents.backends.base import Backend
from omniagents.connection import ByteStream
from omniagents.errors import BackendStartError
from omniagents.guest import kernel
from omniagents.guest.removal import remove_tree
from omniagents.presets.base import Preset
from omniagents.state.base import StateManager

__all__ = ["LocalBackend"]

# What a command needs from the host's environment to work at all; anything else may be a secret.
_PASSED = frozenset({"PATH", "HOME", "USER", "LANG", "TERM", "TZ", "TMPDIR"})

_END_SECONDS = 5.0
_KEPT_ERROR_BYTES = 4096


class LocalBackend(Backend):
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
            preset=preset,
            environment=environment,
            checkpoint_interval_seconds=checkpoint_interval_seconds,
            takeover=takeover,
        )
        self._is_ours = workspace_dir is None
        self._directory = (
            platformdirs.user_data_path("omniagents") / "workspaces" / encode_project_id(project_id)
            if workspace_dir is None
            else Path(workspace_dir).absolute()
        )
        self.workspace_path = str(self._directory)
        self.python = (python,)

    def _provision(self) -> None:
        try:
            self._is_reattached = self._directory.is_dir() and (self._is_ours or any(self._directory.iterdir()))
            self._directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        except OSError as error:
            raise BackendStartError(f"{self}: the workspace directory cannot be used: {error}") from error

    def _open(self, argv: Sequence[str]) -> ByteStream:
        inherited = {name: value for name, value in os.environ.items() if name in _PASSED or name.startswith("LC_")}
        return _ChildStream(argv, inherited)

    def _destroy(self) -> None:
        if self._is_ours and self._directory.exists():
            remove_tree(str(self._directory))


class _ChildStream(ByteStream):
    """A child process on one end of a socket pair: unlike pipes, a socket can be shut down under a blocked thread."""

    def __init__(self, argv: Sequence[str], environment: Mapping[str, str]) -> None:
        self._socket, theirs = socket.socketpair()
        self._closing = threading.Lock()
        try:
            self._child = subprocess.Popen(
                argv,
                stdin=theirs.fileno(),
                stdout=theirs.fileno(),
                stderr=subprocess.PIPE,
                env=environment,
                cwd="/",
                start_new_session=True,
            )
        except OSError as error:
            self._socket.close()
            raise BackendStartError(f"the guest's interpreter {argv[0]!r} cannot be started: {error}") from error
        finally:
            theirs.close()
        self._errors = b""
        self._error_reader = threading.Thread(target=self._keep_errors, daemon=True, name="omniagents-errors")
        self._error_reader.start()

    def read(self) -> bytes:
        try:
            return self._socket.recv(1 << 18)
        except ConnectionResetError:
            return b""  # the guest was killed with unread input

    def write(self, data: bytes) -> None:
        self._socket.sendall(data)

    def close(self) -> None:
        with contextlib.suppress(OSError):  # not connected any more
            self._socket.shutdown(socket.SHUT_RDWR)
        with self._closing:
            try:
                # The end of the stream tells the guest to end what it started, then itself.
                self._child.wait(_END_SECONDS)
            except subprocess.TimeoutExpired:
                # It hangs or is stopped, and what it started with it.
                kernel.kill_tree(self._child.pid)
                self._child.wait()
            self._socket.close()

    def diagnostics(self) -> str:
        self._error_reader.join(1.0)
        return self._errors.decode("utf-8", "replace")

    def _keep_errors(self) -> None:
        pipe = self._child.stderr
        assert pipe is not None
        with pipe:
            while data := os.read(pipe.fileno(), _KEPT_ERROR_BYTES):
                self._errors = (self._errors + data)[-_KEPT_ERROR_BYTES:]
