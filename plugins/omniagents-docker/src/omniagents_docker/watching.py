"""One thread for each engine hears what befalls its containers, so that nobody waits for one that was paused."""

from __future__ import annotations

import contextlib
import logging
import threading
import weakref
from collections.abc import Callable
from typing import ClassVar

from omniagents_docker import naming
from omniagents_docker.engine import Engine, EngineError

__all__ = ["watch"]

_log = logging.getLogger("omniagents")

# What keeps a container's processes silent without ending them. Their end is seen by itself: the stream ends.
_SILENCING = frozenset({"pause"})

#: Called from the watching thread when a container falls silent.
Listener = Callable[[], None]


def watch(engine: Engine, container: str, listener: Listener) -> None:
    """Call ``listener``, a bound method, when the container is paused; it is not kept alive for that."""
    _Watcher.of(engine).add(container, listener)


class _Watcher(threading.Thread):
    _running: ClassVar[dict[str, _Watcher]] = {}
    _starting: ClassVar[threading.Lock] = threading.Lock()

    def __init__(self, engine: Engine) -> None:
        super().__init__(daemon=True, name="omniagents-docker-events")
        self._engine = engine
        self._listeners: dict[str, weakref.WeakMethod[Listener]] = {}

    @classmethod
    def of(cls, engine: Engine) -> _Watcher:
        """The engine's watcher; one whose engine went away has ended, and another takes its place."""
        with cls._starting:
            watcher = cls._running.get(engine.address)
            if watcher is None or not watcher.is_alive():
                watcher = cls._running[engine.address] = cls(engine)
                watcher.start()
            return watcher

    def add(self, container: str, listener: Listener) -> None:
        self._listeners = {key: kept for key, kept in self._listeners.items() if kept() is not None}
        self._listeners[container] = weakref.WeakMethod(listener)

    def run(self) -> None:
        try:
            # A connection of its own: this one never ends.
            with contextlib.closing(self._engine.sibling()) as engine:
                for event in engine.events(naming.LABEL):
                    if event.get("Action") in _SILENCING:
                        self._tell(str(event.get("id") or event.get("Actor", {}).get("ID")))
        except EngineError as error:
            _log.info("no more events from the engine at %s: %s", self._engine.address, error)

    def _tell(self, container: str) -> None:
        kept = self._listeners.get(container)
        listener = kept() if kept is not None else None
        if listener is not None:
            listener()
