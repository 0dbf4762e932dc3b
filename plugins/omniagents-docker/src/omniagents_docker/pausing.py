"""Pausing: calls are refused, nothing runs, and everything is kept."""

from __future__ import annotations

import contextlib
import logging
from abc import abstractmethod
from typing import Final

from omniagents.backends.base import Backend
from omniagents.errors import BackendNotStartedError, BackendUnavailableError
from omniagents.state.base import Snapshot
from omniagents.workspace import Workspace
from omniagents_docker import naming
from omniagents_docker.engine import Engine, EngineError

__all__ = ["PausableBackend", "freeze", "thaw"]

_log = logging.getLogger("omniagents")

_PAUSED: Final = "paused; call resume()"
_NOT_FOUND: Final = 404


class PausableBackend(Backend):
    """A backend whose environment can be frozen and go on."""

    _is_paused = False

    @abstractmethod
    def _freeze(self) -> None:
        """Let nothing run in the environment, or change nothing and raise."""

    @abstractmethod
    def _thaw(self) -> None:
        """Let everything run again."""

    @property
    def workspace(self) -> Workspace:
        """Files and commands.

        Raises:
            BackendNotStartedError: Not running, or paused.
        """
        if self._is_paused:
            raise BackendNotStartedError(f"{self}: {_PAUSED}")
        return super().workspace

    def start(self) -> None:
        """As ``Backend.start``; a paused backend is resumed."""
        with self._changing:
            if self._is_paused:
                self._resume_for_start()
            super().start()

    def shutdown(self, *, save: bool = True) -> None:
        """As ``Backend.shutdown``; a paused backend is resumed to be saved."""
        with self._changing:
            if self._is_paused:
                self._resume_for_end(save)
            super().shutdown(save=save)

    def checkpoint(self, message: str = "") -> Snapshot | None:
        """As ``Backend.checkpoint``. Pausing saved everything, so that a paused backend has nothing new to save."""
        return self.snapshot if self._is_paused else super().checkpoint(message)

    def pause(self) -> None:
        """Save, cancel the calls under way, then freeze every process: no processor time, memory kept.

        Calls under way, and those made until ``resume``, raise ``BackendNotStartedError`` at once. What runs in the
        background goes on after ``resume``.
        """
        with self._changing:
            if self._is_paused:
                return
            self.checkpoint("before a pause")
            self._is_paused = True
            if self._link is not None:
                self._link.suspend(f"{self}: {_PAUSED}")
            try:
                self._freeze()
            except BaseException:
                self._go_on()
                raise

    def resume(self) -> None:
        """Let everything go on after ``pause``.

        Raises:
            EngineError: The container is gone; ``start()`` makes another with the same workspace.
        """
        with self._changing:
            if self._is_paused:
                try:
                    self._thaw()
                finally:
                    self._go_on()

    def _resume_for_start(self) -> None:
        try:
            self.resume()
        except EngineError as error:
            _log.info("%s: %s", self, error)
            # A first call finds out whether anything is left of the environment; if not, the start makes another.
            with contextlib.suppress(BackendUnavailableError):
                self.workspace.exists(".")

    def _resume_for_end(self, save: bool) -> None:
        try:
            self.resume()
        except EngineError as error:
            if save and error.status != _NOT_FOUND:
                raise

    def _go_on(self) -> None:
        self._is_paused = False
        if self._link is not None:
            self._link.resume()


def freeze(engine: Engine, container: str, project_id: str) -> None:
    """Freeze a project's container under another name, by which every machine knows that it has its holder."""
    name = naming.container_name(project_id)
    engine.rename(container, naming.paused_of(name))
    try:
        engine.pause(container)
    except BaseException:
        engine.rename(container, name)
        raise


def thaw(engine: Engine, container: str, project_id: str) -> None:
    """Let it go on, under its own name."""
    engine.unpause(container)
    engine.rename(container, naming.container_name(project_id))
