"""``docker``: one hardened container for each project, on Docker Engine or Podman."""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal, TypeVar

from omniagents.backends.base import Problem
from omniagents.connection import ByteStream
from omniagents.errors import BackendStartError, BackendUnavailableError
from omniagents.presets.base import Preset
from omniagents.state.base import Snapshot, StateManager
from omniagents_docker import doctor, holding, naming, waiting
from omniagents_docker.container import (
    Container,
    Settings,
    make_container,
    open_waiting,
    settings_for,
    start_container,
)
from omniagents_docker.ending import kill_user
from omniagents_docker.engine import Engine, EngineError
from omniagents_docker.guarding import Guard
from omniagents_docker.hardening import HardeningProfile
from omniagents_docker.images import PullProgress
from omniagents_docker.pausing import PausableBackend, freeze, thaw
from omniagents_docker.reaper import Orphan, reap
from omniagents_docker.sizes import Limits, SizeCheck, limits_of
from omniagents_docker.stream import ExecStream
from omniagents_docker.volume import find_volume, has_quota, point_to, remove_volumes
from omniagents_docker.warm_pool import WarmPool
from omniagents_docker.watching import watch

__all__ = ["DockerBackend"]

_log = logging.getLogger("omniagents")
_T = TypeVar("_T")


class DockerBackend(PausableBackend):
    """A container of the project's own, with its workspace in a volume.

    The guest runs over one attached exec stream: no port is opened, nothing of the host is mounted and
    nothing is installed in the image, which needs nothing but Python 3.8 or newer. After a crash of
    this process, or of the container, the next start goes on with the same workspace.

    Args:
        image: Name of the image; by default the preset's, or else ``astral/uv:python3.12-bookworm``. Pulled if absent.
        hardening: What code in the container may do; hardened by default.
        network: Instead of the profile's: ``"bridge"``, the internet and nothing nearer, or ``"none"``.
        oci_runtime: Instead of the profile's, such as ``"runsc"``.
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
        network: Literal["bridge", "none"] | None = None,
        oci_runtime: str | None = None,
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
        profile = hardening if hardening is not None else HardeningProfile()
        self.hardening = replace(
            profile, network=network or profile.network, oci_runtime=oci_runtime or profile.oci_runtime
        )
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
        self._keeps_volume = False
        self._sizes = SizeCheck(self.python)
        #: Why commands were killed last; None if they never were.
        self.last_limit_error: BackendUnavailableError | None = None

    @classmethod
    def problems(cls) -> list[Problem]:
        """Why the engine that the docker command would ask cannot be used; each with its cure."""
        return doctor.problems()

    @classmethod
    def reap(cls, *, dry_run: bool = True) -> list[Orphan]:
        """Remove what dead processes of this machine left at the engine that the docker command would use."""
        return reap(Engine.connect(), dry_run=dry_run)

    @property
    def last_used(self) -> float:
        """When something was last asked of the environment, on the monotonic clock; saving does not count."""
        return self._stream.last_sent if self._stream is not None else time.monotonic()

    @property
    def needs_size_checks(self) -> bool:
        """Whether the workspace has a limit that nothing in the engine enforces."""
        return self._container is not None and self._limits() != (None, None)

    def check_size(self) -> None:
        """Measure the workspace; over a limit, kill every command and keep the reason in ``last_limit_error``.

        Raises:
            BackendError: The environment is gone.
        """
        if self._is_paused or not self.needs_size_checks:
            return
        limits = self._limits()
        excess = self._uncounted(lambda: self._sizes.excess(self.workspace, limits))
        if excess is None:
            return
        reason = f"{self}: the workspace has {excess}; its commands were killed"
        self.last_limit_error = BackendUnavailableError(reason)
        _log.warning("%s", reason)
        kill_user(self._engine(), self._running_container().id, self.python, self.hardening.user)

    def _limits(self) -> Limits:
        return limits_of(self.hardening, has_quota=self._container is not None and self._container.has_quota)

    def _uncounted(self, work: Callable[[], _T]) -> _T:
        """Do something that does not make the environment a used one."""
        sent = self._stream.last_sent if self._stream is not None else None
        try:
            return work()
        finally:
            if self._stream is not None and sent is not None:
                self._stream.last_sent = sent

    def start(self) -> None:
        """As ``Backend.start``; a paused backend is resumed."""
        with self._changing:
            super().start()
            if self._guard is None:
                self._guard = Guard(self)

    def shutdown(self, *, save: bool = True) -> None:
        """As ``Backend.shutdown``; a paused backend is resumed to be saved."""
        with self._changing:
            guard, self._guard = self._guard, None
            if guard is not None:
                guard.stop()
            super().shutdown(save=save)

    def checkpoint(self, message: str = "") -> Snapshot | None:
        """As ``Backend.checkpoint``. Saving is no use of the environment: it does not keep an idle one."""
        return self._uncounted(lambda: super(DockerBackend, self).checkpoint(message))

    def release(self) -> None:
        """Give the container up without losing anything: ``shutdown()`` where that saves, else the volume stays."""
        self._keeps_volume = not self.state_manager.keeps_snapshots
        try:
            self.shutdown()
        finally:
            self._keeps_volume = False

    def _provision(self) -> None:
        # It is found again by its name; a start that fails before that must not take it for its own and remove it.
        self._container = None
        try:
            self._find_or_make(self._engine())
        except EngineError as error:
            raise BackendStartError(f"{self}: {error}") from error

    def _open(self, argv: Sequence[str]) -> ByteStream:
        stream, self._waiting = self._waiting, None
        if stream is None:
            stream = self._open_again()
        waiting.start_guest(stream, argv)
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

    def _freeze(self) -> None:
        freeze(self._engine(), self._running_container().id, self.project_id)

    def _thaw(self) -> None:
        thaw(self._engine(), self._running_container().id, self.project_id)

    def _destroy(self) -> None:
        stream, self._waiting = self._waiting, None
        if self._container is not None:
            engine = self._engine()
            if not self._is_taken_over(engine, self._container):
                engine.remove(self._container.id)
                if not self._keeps_volume:
                    remove_volumes(engine, self.project_id, self._container.volume)
            self._container = None
        if stream is not None:
            stream.close()

    def _is_taken_over(self, engine: Engine, container: Container) -> bool:
        """Whether the workspace is in another container now."""
        name = naming.container_name(self.project_id)
        found = engine.inspect(name) or engine.inspect(naming.claim_of(name))
        return found is not None and found["Id"] != container.id

    def _engine(self) -> Engine:
        pool = self._warm_pool
        if self._known_engine is None and pool is not None and pool.docker_host == self._docker_host:
            self._known_engine = pool.engine
        if self._known_engine is None:
            self._known_engine = Engine.connect(self._docker_host)
        return self._known_engine

    def _find_or_make(self, engine: Engine) -> None:
        settings = self._settings = self._wanted(engine)
        found = holding.claim(engine, self.project_id, naming.this_host(), takeover=self.takeover)
        if found is not None:
            # Under the name of a claim it may be one that was never prepared: without its network's rules, say.
            is_finished = found["Name"].lstrip("/") != naming.claim_of(naming.container_name(self.project_id))
            self._is_reattached = True
            if is_finished and _is_as_wanted(found, settings) and not holding.is_held(engine, found):
                self._reattach(engine, settings, found)
                return
            # What runs in it ends; the workspace is in the volume, which the next container gets.
            volume = _volume_of(found)
            engine.remove(found["Id"])
        else:
            kept = find_volume(engine, self.project_id)
            self._is_reattached = kept is not None
            if kept is None and self._take_warm(engine, settings):
                return
            volume = kept or naming.container_name(self.project_id)
        self._make(engine, settings, volume)

    def _wanted(self, engine: Engine) -> Settings:
        asked = (engine, self.image, self.hardening, self.python[0])
        known = self._warm_pool.settings_of(*asked, self.preset) if self._warm_pool is not None else None
        return known or settings_for(*asked, self._pull_progress, self.preset)

    def _take_warm(self, engine: Engine, settings: Settings) -> bool:
        """Make a container of the pool the project's; false if there is none for us."""
        warm = self._warm_pool.take(engine, settings) if self._warm_pool is not None else None
        if warm is None:
            return False
        try:
            self._commit(engine, warm.container, warm.stream)
            point_to(engine, self.project_id, warm.container.volume, str(self))
        except BaseException:
            with contextlib.suppress(EngineError):
                engine.remove(warm.container.id)
                engine.remove_volume(warm.container.volume)
            self._container = self._waiting = None
            raise
        return True

    def _reattach(self, engine: Engine, settings: Settings, found: Mapping[str, Any]) -> None:
        name = _volume_of(found)
        container = Container(found["Id"], name, has_quota(engine.volume(name) or {}))
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
            # What made the start fail is the error to raise; an engine that went away keeps something for the reaper.
            with contextlib.suppress(EngineError):
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
    # The labels must go on saying whose it is.
    is_ours = labels.get(naming.LABEL_HOST) == naming.this_host()
    return bool(container["State"]["Running"]) and is_ours and labels.get(naming.LABEL_SETTINGS) == settings.digest


def _volume_of(container: Mapping[str, Any]) -> str:
    return str(next(mount["Name"] for mount in container["Mounts"] if mount["Type"] == "volume"))
