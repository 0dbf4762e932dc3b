"""``bubblewrap``: each project in Linux namespaces of its own, on a workspace directory of this machine."""

from __future__ import annotations

import logging
import os
import shutil
import weakref
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Literal

import platformdirs

from omniagents._ids import encode_project_id
from omniagents.backends.base import Problem
from omniagents.backends.directory import DirectoryBackend
from omniagents.connection import ByteStream
from omniagents.errors import BackendStartError, BackendUnavailableError
from omniagents.presets.base import Preset
from omniagents.state.base import Snapshot, StateManager
from omniagents_bubblewrap import doctor, host_user, view
from omniagents_bubblewrap.cgroups import Cgroup, make_cgroup
from omniagents_bubblewrap.command import Sandbox
from omniagents_bubblewrap.disk_watch import DiskWatch
from omniagents_bubblewrap.limits import Limits, describe
from omniagents_bubblewrap.sandbox_stream import SandboxStream

__all__ = ["BubblewrapBackend", "Limits"]

_log = logging.getLogger("omniagents")


class BubblewrapBackend(DirectoryBackend):
    """A workspace directory on this machine, and processes that see nothing else of it but a toolchain.

    The workspace survives a killed host process; what ran does not. Nothing needs to be running or
    installed but ``bwrap``.

    Args:
        workspace_dir: A directory of yours to work in; created if missing, never removed. As root, the
            environment's processes run as its owner.
        network: ``none``: only a loopback interface of its own. ``host``: the host's network, with everything
            that listens on the host's loopback, on its local networks and on abstract UNIX sockets.
        visible: Directories and programs of this machine to show read-only, at the same path, besides /usr;
            their ``bin`` comes first in PATH.
        limits: What it may use; a mapping sets fields of ``Limits``.
        python: The path, in the environment, of the Python that runs the guest; by default the system's.

    The other arguments are ``Backend``'s. Commands see no variable of this process, only what
    ``environment`` names.

    Attributes:
        limits_applied: Once started: what enforces each limit.
        host_user: Once started: user and group of the environment's processes, outside.
    """

    def __init__(
        self,
        project_id: str,
        state_manager: StateManager | None = None,
        *,
        workspace_dir: str | os.PathLike[str] | None = None,
        network: Literal["none", "host"] = "none",
        visible: Iterable[str | os.PathLike[str]] = (),
        limits: Limits | Mapping[str, float | None] | None = None,
        python: str | None = None,
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
        if network not in ("none", "host"):
            raise ValueError(f"network={network!r}; it is 'none' or 'host'")
        self.network = network
        self.limits = limits if isinstance(limits, Limits) else Limits(**(limits or {}))  # type: ignore[arg-type]
        self.limits_applied: Mapping[str, str] = {}
        self.host_user = (os.geteuid(), os.getegid())
        private = [platformdirs.user_data_path("omniagents"), self._directory]
        self._visible = view.check_visible(visible, private)
        found, needed = view.find_python()
        self.python = (python or found,)
        self._needed = [] if python else needed
        self._home = self._base() / "home"
        # Device and inode of the workspace that the sandbox has.
        self._identity = (0, 0)
        self._streams: weakref.WeakSet[SandboxStream] = weakref.WeakSet()
        self._watch: DiskWatch | None = None

    @classmethod
    def problems(cls) -> list[Problem]:
        return doctor.problems()

    def _base(self) -> Path:
        return platformdirs.user_data_path("omniagents") / "bubblewrap" / encode_project_id(self.project_id)

    def _own_directory(self) -> Path:
        return self._base() / "workspace"

    def _provision(self) -> None:
        program = shutil.which("bwrap")
        if program is None:
            raise BackendStartError(f"{self}: bwrap is not on PATH; {doctor.install_command()}")
        self._program = program
        try:
            # Code inside may open its directories to everybody, and leave programs there that run as their owner.
            self._base().mkdir(parents=True, exist_ok=True, mode=0o700)
            super()._provision()
            self.host_user = host_user.settle(self.project_id, self._directory, self._home, is_ours=self._is_ours)
            self._identity = _identity_of(self._directory)
        except OSError as error:
            raise BackendStartError(f"{self}: its directories cannot be prepared: {error}") from error

    def checkpoint(self, message: str = "") -> Snapshot | None:
        """As ``Backend.checkpoint``.

        Raises:
            BackendUnavailableError: The workspace was removed from this machine's disk: the sandbox sees an empty one,
                which must not become the latest snapshot.
        """
        if self._workspace is not None:
            self._check_workspace()
        return super().checkpoint(message)

    def _check_workspace(self) -> None:
        try:
            found = _identity_of(self._directory)
        except OSError:
            found = None
        if found != self._identity:
            raise BackendUnavailableError(
                f"{self}: {self._directory} was removed or replaced; start() again for a new workspace"
            )

    def _open(self, argv: Sequence[str]) -> ByteStream:
        self._check_workspace()
        cgroup = self._make_cgroup()
        self.limits_applied = describe(self.limits, cgroup)
        try:
            stream = SandboxStream(
                self._sandbox(),
                argv,
                self._variables(),
                program=self._program,
                owner=self.host_user,
                cgroup=cgroup,
            )
        except (OSError, NotImplementedError) as error:
            raise BackendStartError(
                f"{self}: no sandbox could be made: {error}; `omniagents doctor` says what this machine forbids"
            ) from error
        self._streams.add(stream)
        self._watch_disk()
        return stream

    def _destroy(self) -> None:
        if self._watch is not None:
            self._watch.stop()
            self._watch = None
        super()._destroy()
        self._remove(self._base())

    def _disconnect(self, reason: str) -> None:
        if self._watch is not None:
            self._watch.stop()
            self._watch = None
        super()._disconnect(reason)

    def _sandbox(self) -> Sandbox:
        shown = dict.fromkeys([*self._visible, *self._needed])
        return Sandbox(
            workspace=str(self._directory),
            home=str(self._home),
            visible={**{path: path for path in shown}, **view.find_uv()},
            shares_network=self.network == "host",
            limits=self.limits,
            masked=view.masked(),
        )

    def _variables(self) -> dict[str, str]:
        path = view.search_path([*self._visible, *self._needed])
        return {"PATH": path, "HOME": view.HOME, "USER": "user", "LOGNAME": "user", "LANG": "C.UTF-8"}

    def _make_cgroup(self) -> Cgroup | None:
        limits = self.limits
        values = {"memory": limits.memory_bytes, "pids": limits.processes, "cpu": limits.cpus}
        cgroup = make_cgroup(frozenset(name for name, value in values.items() if value is not None))
        if limits.cpus is not None and (cgroup is None or "cpu" not in cgroup.controllers):
            if cgroup is not None:
                cgroup.remove()
            raise BackendStartError(
                f"{self}: cpus={limits.cpus} needs a cgroup, and this user may not make one here; run under "
                "`systemd-run --user --scope -p Delegate=yes`, or leave cpus out"
            )
        if cgroup is not None:
            cgroup.limit(limits.memory_bytes, limits.processes, limits.cpus)
        return cgroup

    def _watch_disk(self) -> None:
        limits = self.limits
        if self._watch is None and (limits.workspace_bytes or limits.workspace_files or limits.host_free_bytes):
            this = weakref.ref(self)  # the thread must not keep a forgotten backend

            def end(reason: str) -> None:
                backend = this()
                if backend is not None:
                    backend._end_for(reason)

            def processes() -> set[int]:
                backend = this()
                streams = list(backend._streams) if backend is not None else []
                return {pid for stream in streams for pid in stream.processes()}

            self._watch = DiskWatch([str(self._directory), str(self._home)], limits, end, processes)

    def _end_for(self, reason: str) -> None:
        _log.warning("%s: %s; everything that ran in it was ended", self, reason)
        for stream in list(self._streams):
            stream.end(reason)


def _identity_of(directory: Path) -> tuple[int, int]:
    found = directory.stat()
    return found.st_dev, found.st_ino
