"""Containers that are started before anybody asks for one, each handed out once."""

from __future__ import annotations

import collections
import contextlib
import logging
import secrets
import threading
from types import TracebackType
from typing import Final, Self

from omniagents.errors import OmniagentsError
from omniagents.presets.base import Preset
from omniagents_docker import naming
from omniagents_docker.container import Container, Settings, make_container, settings_for, start_container
from omniagents_docker.engine import Engine
from omniagents_docker.hardening import HardeningProfile
from omniagents_docker.images import PullProgress, image_name
from omniagents_docker.stream import ExecStream

__all__ = ["WarmContainer", "WarmPool"]

_log = logging.getLogger("omniagents")

# After a container could not be made; the engine may be out of something for a while.
_RETRY_SECONDS: Final = 5.0
_POLITE_SECONDS: Final = 0.2


class WarmContainer:
    """A running container nobody has used, with the guest imported and waiting."""

    def __init__(self, container: Container, stream: ExecStream) -> None:
        self.container = container
        self.stream = stream


class WarmPool:
    """Keeps ``size`` containers ready. Give it to backends with the same image and hardening: ``warm_pool=pool``.

    A container is handed out to one project, once, and never comes back. The image is pulled when the pool
    starts, and is that one while the pool lives, whatever its name comes to mean. A pool that ends, or whose
    process dies, leaves nothing that ``omniagents reap`` would not remove.

    Args:
        size: How many to keep ready.

    The other arguments are those of ``DockerBackend``; a backend with others makes its own container.
    """

    def __init__(
        self,
        size: int,
        *,
        image: str | None = None,
        hardening: HardeningProfile | None = None,
        docker_host: str | None = None,
        python: str = "python3",
        pull_progress: PullProgress | None = None,
        preset: Preset | None = None,
    ) -> None:
        if size < 1:
            raise ValueError(f"size is at least 1, not {size}")
        self.size = size
        self.docker_host = docker_host
        self._engine = Engine.connect(docker_host)
        self._settings = settings_for(self._engine, image, hardening, python, pull_progress, preset)
        self._id = secrets.token_hex(4)
        self._ready: collections.deque[WarmContainer] = collections.deque()
        self._changed = threading.Condition()
        self._is_closed = self._has_been_full = False
        self._filler = threading.Thread(target=self._fill, daemon=True, name="omniagents-warm-pool")
        self._filler.start()

    @property
    def engine(self) -> Engine:
        """Where the containers are."""
        return self._engine

    @property
    def ready(self) -> int:
        """How many containers wait."""
        return len(self._ready)

    def wait_until_full(self, timeout_seconds: float | None = None) -> bool:
        """Wait until ``size`` containers are ready; false if they are not in time."""
        with self._changed:
            return self._changed.wait_for(lambda: len(self._ready) >= self.size, timeout_seconds)

    def settings_of(
        self, engine: Engine, image: str | None, hardening: HardeningProfile, python: str, preset: Preset | None
    ) -> Settings | None:
        """The pool's own settings, if these arguments ask for nothing else; None if they do."""
        own = self._settings
        asked = (image_name(image, preset), hardening, (python,))
        is_ours = engine.address == self._engine.address and asked == (own.image.name, own.hardening, own.python)
        return own if is_ours else None

    def take(self, engine: Engine, settings: Settings) -> WarmContainer | None:
        """Hand out a container; None if none is ready, or if these are not its engine and settings."""
        if engine.address != self._engine.address or settings.digest != self._settings.digest:
            return None
        while True:
            with self._changed:
                if not self._ready:
                    return None
                warm = self._ready.popleft()
                self._changed.notify_all()
            if not warm.stream.has_ended:
                return warm
            self._discard(warm)

    def close(self) -> None:
        """Remove the containers that were not handed out; idempotent."""
        with self._changed:
            self._is_closed = True
            self._changed.notify_all()
        self._filler.join()
        while self._ready:
            self._discard(self._ready.popleft())

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _fill(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._is_closed or len(self._ready) < self.size)
                # Whoever has just taken one is still starting, and goes first.
                self._changed.wait_for(lambda: self._is_closed, _POLITE_SECONDS if self._has_been_full else 0)
                if self._is_closed:
                    return
            try:
                warm = self._make()
            except (OmniagentsError, OSError) as error:
                _log.warning("warm pool: a container could not be made: %s", error)
                with self._changed:
                    self._changed.wait_for(lambda: self._is_closed, _RETRY_SECONDS)
                continue
            with self._changed:
                self._ready.append(warm)
                self._has_been_full = self._has_been_full or len(self._ready) >= self.size
                self._changed.notify_all()

    def _make(self) -> WarmContainer:
        name = f"{naming.WARM_PREFIX}{self._id}-{secrets.token_hex(6)}"
        labels = {**naming.labels_of(f"warm pool {self._id}"), naming.LABEL_POOL: self._id}
        container = make_container(self._engine, self._settings, name, name, labels)
        try:
            stream = start_container(self._engine, self._settings, container)
        except BaseException:
            self._remove(container)
            raise
        return WarmContainer(container, stream)

    def _discard(self, warm: WarmContainer) -> None:
        self._remove(warm.container)
        warm.stream.close()

    def _remove(self, container: Container) -> None:
        # What an engine that went away kept is found by the reaper.
        with contextlib.suppress(OmniagentsError):
            self._engine.remove(container.id)
            self._engine.remove_volume(container.volume)
