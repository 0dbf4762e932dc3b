"""``docker``: one hardened container for each project, on Docker Engine or Podman."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

from omniagents.backends.base import Backend
from omniagents.connection import ByteStream
from omniagents.errors import BackendNotStartedError, BackendStartError, BackendUnavailableError
from omniagents.presets.base import Preset
from omniagents.state.base import Snapshot, StateManager
from omniagents.workspace import Workspace
from omniagents_docker import holding, naming, waiting
from omniagents_docker.container import Container, Settings, make_container, open_waiting, settings_for, start_container
from omniagents_docker.engine import Engine, EngineError
from omniagents_docker.guarding import Guard
from omniagents_docker.hardening import HardeningProfile
from omniagents_docker.images import PullProgress
from omniagents_docker.stream import ExecStream
from omniagents_docker.warm_pool import WarmPool
from omniagents_docker.watching import watch

__all__ = ["DockerBackend"]


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
        warm_pool: Where to get a container from that runs already.
        idle_timeout_seconds: After so long without a call the container goes: as in ``shutdown`` where the state
            manager keeps snapshots; otherwise the workspace's volume stays. ``start()`` goes on with it.
        max_age_seconds: The same, so long after the start, whatever is running.

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
        warm_pool: WarmPool | None = None,
        idle_timeout_seconds: float | None = None,
        max_age_seconds: float | None = None,
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
        self.image = image
        self.hardening = hardening if hardening is not None else HardeningProfile()
        self.python = (python,)
        self.idle_timeout_seconds = idle_timeout_seconds
        self.max_age_seconds = max_age_seconds
        self._docker_host = docker_host
        self._pull_progress = pull_progress
        self._warm_pool = warm_pool
        self._known_engine: Engine | None = None
        self._settings: Settings | None = None
        self._container: Container | None = None
        # An interpreter that waits for the guest; only between ``_provision`` and the first ``_open``.
        self._waiting: ExecStream | None = None
        self._stream: ExecStream | None = None
        self._guard: Guard | None = None
        self._is_paused = False
        self._keeps_volume = False

    @property
    def workspace(self) -> Workspace:
        """Files and commands.

        Raises:
            BackendNotStartedError: Not running, or paused.
        """
        if self._is_paused:
            raise BackendNotStartedError(f"{self}: paused; call resume()")
        return super().workspace

    @property
    def last_used(self) -> float:
        """When something was last asked of the environment, on the monotonic clock; saving does not count."""
        return self._stream.last_sent if self._stream is not None else time.monotonic()

    def start(self) -> None:
        """As ``Backend.start``; a paused backend is resumed."""
        with self._changing:
            if self._is_paused:
                self.resume()
            super().start()
            if self._guard is None:
                self._guard = Guard(self)

    def shutdown(self, *, save: bool = True) -> None:
        """As ``Backend.shutdown``; a paused backend is resumed to be saved."""
        with self._changing:
            guard, self._guard = self._guard, None
            if guard is not None:
                guard.stop()
            if self._is_paused and save:
                self.resume()
            self._is_paused = False
            super().shutdown(save=save)

    def checkpoint(self, message: str = "") -> Snapshot | None:
        """As ``Backend.checkpoint``. Pausing saved everything, so that a paused backend has nothing new to save."""
        if self._is_paused:
            return self.snapshot
        sent = self._stream.last_sent if self._stream is not None else None
        try:
            return super().checkpoint(message)
        finally:
            # Saving is no use of the environment: it does not keep an idle one.
            if self._stream is not None and sent is not None:
                self._stream.last_sent = sent

    def pause(self) -> None:
        """Save, then freeze every process: no processor time, memory kept. Calls under way do not end well."""
        with self._changing:
            if self._is_paused:
                return
            self.checkpoint("before a pause")
            self._is_paused = True
            try:
                self._engine().pause(self._running_container().id)
            except BaseException:
                self._is_paused = False
                raise

    def resume(self) -> None:
        """Let everything go on after ``pause``.

        Raises:
            EngineError: The container is gone; ``start()`` makes another with the same workspace.
        """
        with self._changing:
            if self._is_paused:
                self._is_paused = False
                self._engine().unpause(self._running_container().id)

    def release(self) -> None:
        """Give the container up without losing anything: ``shutdown()`` where that saves, else the volume stays."""
        self._keeps_volume = not self.state_manager.keeps_snapshots
        try:
            self.shutdown()
        finally:
            self._keeps_volume = False

    def _provision(self) -> None:
        try:
            self._find_or_make(self._engine())
        except EngineError as error:
            raise BackendStartError(f"{self}: {error}") from error

    def _open(self, argv: Sequence[str]) -> ByteStream:
        stream, self._waiting = self._waiting, None
        if stream is None:
            stream = self._open_again()
        waiting.give_program(stream, argv)
        self._stream = stream
        watch(self._engine(), self._running_container().id, self._silenced)
        return stream

    def _open_again(self) -> ExecStream:
        engine, container = self._engine(), self._running_container()
        assert self._settings is not None
        try:
            return open_waiting(engine, self._settings, container)
        except EngineError as error:
            raise BackendUnavailableError(f"{self}: {_what_happened(engine, container, error)}") from error

    def _silenced(self) -> None:
        """The engine says that the container was paused: unless by us, whoever waits for an answer is told."""
        if not self._is_paused and self._stream is not None:
            self._stream.fail()

    def _running_container(self) -> Container:
        if self._container is None:
            raise BackendUnavailableError(f"{self}: its container was removed")
        return self._container

    def _destroy(self) -> None:
        stream, self._waiting = self._waiting, None
        if self._container is not None:
            engine = self._engine()
            engine.remove(self._container.id)
            if not self._keeps_volume:
                engine.remove_volume(self._container.volume)
            self._container = None
        if stream is not None:
            stream.close()

    def _engine(self) -> Engine:
        if self._known_engine is None:
            self._known_engine = Engine.connect(self._docker_host)
        return self._known_engine

    def _find_or_make(self, engine: Engine) -> None:
        settings = self._settings = settings_for(
            engine, self.image, self.hardening, self.python[0], self._pull_progress, self.preset
        )
        found = holding.find(engine, self.project_id, naming.this_host(), takeover=self.takeover)
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
            if not self._is_reattached and self._take_warm(engine, settings):
                return
        self._make(engine, settings, volume)

    def _take_warm(self, engine: Engine, settings: Settings) -> bool:
        """Make a container of the pool the project's; false if there is none for us."""
        warm = self._warm_pool.take(engine, settings) if self._warm_pool is not None else None
        if warm is None:
            return False
        try:
            engine.rename(warm.container.id, naming.claim_of(naming.container_name(self.project_id)))
        except EngineError as error:
            engine.remove(warm.container.id)
            engine.remove_volume(warm.container.volume)
            warm.stream.close()
            if error.is_conflict:
                raise holding.lost_race(engine, self.project_id) from error
            raise
        self._commit(engine, warm.container, warm.stream)
        return True

    def _reattach(self, engine: Engine, settings: Settings, found: Mapping[str, Any]) -> None:
        container = Container(found["Id"], _volume_of(found))
        if found["State"].get("Paused"):
            engine.unpause(container.id)
        self._commit(engine, container, open_waiting(engine, settings, container))

    def _make(self, engine: Engine, settings: Settings, volume: str) -> None:
        name = naming.claim_of(naming.container_name(self.project_id))
        labels = {**naming.labels_of(str(self)), naming.LABEL_PROJECT: self.project_id}
        try:
            container = make_container(engine, settings, name, volume, labels)
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


def _what_happened(engine: Engine, container: Container, error: EngineError) -> str:
    """Why nothing can be started in a container, in words."""
    try:
        found = engine.inspect(container.id)
    except EngineError:
        return str(error)
    if found is None:
        return "its container was removed; start() goes on with its workspace"
    state = found["State"]
    if state.get("Paused"):
        return "its container was paused; start() resumes it"
    if state.get("Running"):
        return str(error)
    memory = ", killed for lack of memory" if state.get("OOMKilled") else ""
    return f"its container ended with exit code {state.get('ExitCode')}{memory}; start() goes on with its workspace"


def _is_as_wanted(container: Mapping[str, Any], settings: Settings) -> bool:
    labels = container["Config"].get("Labels") or {}
    return bool(container["State"]["Running"]) and labels.get(naming.LABEL_SETTINGS) == settings.digest


def _volume_of(container: Mapping[str, Any]) -> str:
    return str(next(mount["Name"] for mount in container["Mounts"] if mount["Type"] == "volume"))
