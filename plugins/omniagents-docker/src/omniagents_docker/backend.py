"""``docker``: one hardened container for each project, on Docker Engine or Podman."""

from __future__ import annotations

import hashlib
import os
import socket
from collections.abc import Mapping, Sequence
from typing import Any, Final

import platformdirs

from omniagents import __version__
from omniagents._ids import utc_now
from omniagents.backends.base import Backend
from omniagents.connection import ByteStream
from omniagents.errors import BackendStartError, BackendUnavailableError
from omniagents.presets.base import Preset
from omniagents.state.base import StateManager
from omniagents_docker import holding, naming, waiting
from omniagents_docker.container import Container, Settings, make_container, open_waiting, start_container
from omniagents_docker.engine import Engine, EngineError
from omniagents_docker.hardening import HardeningProfile
from omniagents_docker.images import DEFAULT_IMAGE, PullProgress, ensure_image
from omniagents_docker.stream import ExecStream

__all__ = ["DockerBackend"]

_HOME: Final = "/home/agent"


class DockerBackend(Backend):
    """A container of the project's own, with its workspace in a volume.

    The guest runs over one attached exec stream: no port is opened, nothing of the host is mounted and
    nothing is installed in the image, which needs nothing but Python 3.8 or newer. After a crash of
    this process, or of the container, the next start goes on with the same workspace.

    Args:
        image: Name of the image; by default the preset's, or else ``astral/uv:python3.12-bookworm``. Pulled if absent.
        hardening: What code in the container may do; hardened by default.
        docker_host: The engine's address; by default as the docker command finds it (DOCKER_HOST and its TLS
            variables, DOCKER_CONTEXT, the current context).
        python: The interpreter in the image.
        pull_progress: Called with each of the engine's messages while it pulls the image.

    The other arguments are ``Backend``'s.
    """

    def __init__(
        self,
        project_id: str,
        state_manager: StateManager | None = None,
        *,
        image: str | None = None,
        hardening: HardeningProfile | None = None,
        docker_host: str | None = None,
        python: str = "python3",
        pull_progress: PullProgress | None = None,
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
        self.image = image or (preset.image if preset is not None else None) or DEFAULT_IMAGE
        self.hardening = hardening if hardening is not None else HardeningProfile()
        self.python = (python,)
        self._docker_host = docker_host
        self._pull_progress = pull_progress
        self._known_engine: Engine | None = None
        self._container: Container | None = None
        # An interpreter that waits for the guest; only between ``_provision`` and the first ``_open``.
        self._waiting: ExecStream | None = None

    def _provision(self) -> None:
        try:
            self._find_or_make(self._engine())
        except EngineError as error:
            raise BackendStartError(f"{self}: {error}") from error

    def _open(self, argv: Sequence[str]) -> ByteStream:
        stream, self._waiting = self._waiting, None
        if stream is not None:
            waiting.give_program(stream, argv)
            return stream
        engine, container = self._engine(), self._container
        if container is None:
            raise BackendUnavailableError(f"{self}: its container was removed")
        try:
            stream = open_waiting(engine, self._settings(engine), container)
        except EngineError as error:
            raise BackendUnavailableError(f"{self}: {self._what_happened(engine, container, error)}") from error
        waiting.give_program(stream, argv)
        return stream

    def _destroy(self) -> None:
        stream, self._waiting = self._waiting, None
        if stream is not None:
            stream.close()
        if self._container is not None:
            engine = self._engine()
            engine.remove(self._container.id)
            engine.remove_volume(self._container.volume)
            self._container = None

    def _engine(self) -> Engine:
        if self._known_engine is None:
            self._known_engine = Engine.connect(self._docker_host)
        return self._known_engine

    def _settings(self, engine: Engine) -> Settings:
        return Settings(
            image=ensure_image(engine, self.image, self._pull_progress),
            hardening=self.hardening,
            workspace=self.workspace_path,
            home=_HOME,
            python=tuple(self.python),
        )

    def _find_or_make(self, engine: Engine) -> None:
        settings = self._settings(engine)
        found = holding.find(engine, self.project_id, _host(), takeover=self.takeover)
        if found is not None:
            holding.claim(engine, self.project_id, found)
            self._is_reattached = True
            if _is_as_wanted(found, settings) and not holding.is_held(engine, found):
                self._reattach(engine, settings, found)
                return
            # What runs in it ends; the workspace is in the volume, which the next container gets.
            volume = _volume_of(found)
            engine.remove(found["Id"])
        else:
            volume = naming.container_name(self.project_id)
            self._is_reattached = engine.has_volume(volume)
        self._make(engine, settings, volume)

    def _reattach(self, engine: Engine, settings: Settings, found: Mapping[str, Any]) -> None:
        container = Container(found["Id"], _volume_of(found))
        if found["State"].get("Paused"):
            engine.unpause(container.id)
        self._commit(engine, container, open_waiting(engine, settings, container))

    def _make(self, engine: Engine, settings: Settings, volume: str) -> None:
        name = naming.claim_of(naming.container_name(self.project_id))
        try:
            container = make_container(engine, settings, name, volume, self._labels())
        except EngineError as error:
            if error.is_conflict:
                raise holding.lost_race(engine, self.project_id) from error
            raise
        try:
            self._commit(engine, container, start_container(engine, settings, container))
        except BaseException:
            engine.remove(container.id)
            if not self._is_reattached:
                engine.remove_volume(volume)
            raise

    def _commit(self, engine: Engine, container: Container, stream: ExecStream) -> None:
        """Make the claimed container the project's: from here on its holder is who has a process in it."""
        try:
            engine.rename(container.id, naming.container_name(self.project_id))
        except EngineError as error:
            stream.close()
            if error.status is not None:
                raise holding.lost_race(engine, self.project_id) from error
            raise
        self._container, self._waiting = container, stream

    def _labels(self) -> dict[str, str]:
        return {
            naming.LABEL: __version__,
            naming.LABEL_PROJECT: self.project_id,
            naming.LABEL_OWNER: f"{self} in process {os.getpid()} on {socket.gethostname()}",
            naming.LABEL_SINCE: utc_now().isoformat(timespec="seconds"),
            naming.LABEL_HOST: _host(),
        }

    def _what_happened(self, engine: Engine, container: Container, error: EngineError) -> str:
        """Why nothing can be started in the container, in words."""
        try:
            found = engine.inspect(container.id)
        except EngineError:
            return str(error)
        if found is None:
            return "its container was removed"
        state = found["State"]
        if state.get("Paused"):
            return "its container is paused; start() resumes it"
        if not state.get("Running"):
            memory = ", killed for lack of memory" if state.get("OOMKilled") else ""
            return f"its container ended with exit code {state.get('ExitCode')}{memory}; start() goes on with its workspace"
        return str(error)


def _host() -> str:
    """This machine and where its leases are: two processes with the same are kept apart by the lease already."""
    place = f"{socket.gethostname()}\0{platformdirs.user_data_path('omniagents')}"
    return hashlib.sha256(place.encode("utf-8", "surrogateescape")).hexdigest()[:32]


def _is_as_wanted(container: Mapping[str, Any], settings: Settings) -> bool:
    labels = container["Config"].get("Labels") or {}
    return bool(container["State"]["Running"]) and labels.get(naming.LABEL_SETTINGS) == settings.digest


def _volume_of(container: Mapping[str, Any]) -> str:
    return next(mount["Name"] for mount in container["Mounts"] if mount["Type"] == "volume")
