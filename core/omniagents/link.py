"""The link between a running backend and its guest: opened, and opened again when only the guest died."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from omniagents.connection import ByteStream, Connection, ConnectionLost, PendingCall, connect, new_nonce
from omniagents.errors import (
    BackendError,
    BackendNotStartedError,
    BackendUnavailableError,
    GuestDiedError,
    OmniagentsError,
)
from omniagents.guest import loader

__all__ = ["GuestLink"]

_log = logging.getLogger("omniagents")


class GuestLink:
    """Sends requests to the guest of one environment.

    When the stream ends with calls waiting, it is opened again at once, to tell a dead guest from a
    dead environment: the calls fail with ``GuestDiedError`` or ``BackendUnavailableError``. With
    nothing waiting, the next request opens it. No request blocks its caller.

    Args:
        open_stream: Starts an argv in the environment.
        settings: The guest's start frame, see ``guest.server``.
        python: The interpreter's argv in the environment.
        text: The channel carries only text.
        name: For messages.
    """

    def __init__(
        self,
        open_stream: Callable[[Sequence[str]], ByteStream],
        settings: Mapping[str, Any],
        *,
        python: Sequence[str],
        text: bool,
        name: str,
    ) -> None:
        self._open_stream = open_stream
        self._settings = dict(settings)
        self._python = list(python)
        self._text = text
        self._name = name
        self._lock = threading.Lock()
        self._connection: Connection | None = None
        self._queued: list[PendingCall] = []
        self._is_connecting = False
        self._ended: OmniagentsError | None = None

    @property
    def is_gone(self) -> bool:
        """The environment died."""
        return isinstance(self._ended, BackendUnavailableError)

    def open(self) -> Mapping[str, Any]:
        """Connect for the first time; returns what the guest says of itself.

        Raises:
            BackendStartError: The guest did not start.
        """
        self._connection = self._connect()
        # A later guest does not make the workspace: without it, the environment is not what it was.
        self._settings["create"] = False
        return self._connection.hello

    def submit(self, call: PendingCall) -> PendingCall:
        """Send a request, now or as soon as the guest is back.

        Raises:
            BackendNotStartedError: The link was closed.
            BackendUnavailableError: The environment died.
        """
        with self._lock:
            if self._ended is not None:
                raise type(self._ended)(*self._ended.args)
            if self._connection is not None:
                try:
                    self._connection.submit(call)
                    return call
                except ConnectionLost:
                    pass  # its reader is about to tell us
            self._queued.append(call)
            if self._connection is None and not self._is_connecting:
                self._is_connecting = True
                threading.Thread(target=self._reconnect, args=([], ""), daemon=True).start()
        return call

    def close(self, reason: str) -> None:
        """End the guest and everything it started; waiting calls fail with ``BackendNotStartedError``."""
        self._end(BackendNotStartedError(reason))

    def abandon(self, reason: str) -> None:
        """Like ``close``, for an environment that is not ours any more: calls fail with ``BackendUnavailableError``."""
        self._end(BackendUnavailableError(reason))

    def _end(self, error: OmniagentsError) -> None:
        with self._lock:
            self._ended = self._ended or error
            connection, self._connection = self._connection, None
            queued, self._queued = self._queued, []
        if connection is not None:
            connection.close()
            queued += connection.take_waiting()
        _fail(queued, error)

    def _connect(self) -> Connection:
        nonce = new_nonce()
        stream = self._open_stream(loader.command(self._python, self._text, nonce))
        connection = connect(stream, nonce, self._settings, self._lost, text=self._text)
        self._settings["previous"] = connection.hello["guest"]
        return connection

    def _lost(self, connection: Connection) -> None:
        """Called by a connection's reader when its stream has ended."""
        waiting = connection.take_waiting()
        with self._lock:
            if self._ended is None and connection is self._connection:
                self._connection = None
                if waiting or self._queued:
                    self._is_connecting = True
                    threading.Thread(target=self._reconnect, args=(waiting, connection.lost or ""), daemon=True).start()
                else:
                    _log.warning("%s: %s; the next call starts it again", self._name, connection.lost)
                return
        _fail(waiting, self._ended or GuestDiedError(f"{self._name}: {connection.lost}"))

    def _reconnect(self, waiting: list[PendingCall], reason: str) -> None:
        try:
            connection = self._connect()
        except (BackendError, OSError) as error:
            gone = BackendUnavailableError(f"{self._name}: the environment is gone: {error}")
            gone.__cause__ = error
            with self._lock:
                self._ended = self._ended or gone
                self._is_connecting = False
                queued, self._queued = self._queued, []
            _fail(waiting + queued, self._ended)
            return
        with self._lock:
            self._is_connecting = False
            if self._ended is None:
                self._connection = connection
                for call in self._queued:
                    if not call.future.cancelled():
                        connection.submit(call)
                self._queued = []
        if self._ended is not None:
            connection.close()
        _fail(
            waiting,
            GuestDiedError(
                f"{self._name}: {reason} during this call, and everything it had started was ended; whether the call "
                "took effect is unknown. The guest runs again: the next call works"
            ),
        )


def _fail(calls: Sequence[PendingCall], error: OmniagentsError) -> None:
    for call in calls:
        call.fail(error)
