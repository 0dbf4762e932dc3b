"""The link between a running backend and its guest: opened, and opened again when only the guest died."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from omniagents.calls import PendingCall
from omniagents.connection import ByteStream, Connection, connect, new_nonce
from omniagents.errors import (
    BackendNotStartedError,
    BackendStartError,
    BackendUnavailableError,
    GuestDiedError,
    OmniagentsError,
)
from omniagents.guest import loader

__all__ = ["GuestLink"]

_log = logging.getLogger("omniagents")

_ATTEMPTS = 3


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
        is_ours: Asked before every request, so it must be quick: whether the environment still belongs to us.
    """

    def __init__(
        self,
        open_stream: Callable[[Sequence[str]], ByteStream],
        settings: Mapping[str, Any],
        *,
        python: Sequence[str],
        text: bool,
        name: str,
        is_ours: Callable[[], bool] = lambda: True,
    ) -> None:
        self._open_stream = open_stream
        self._settings = dict(settings)
        self._python = list(python)
        self._text = text
        self._name = name
        self._is_ours = is_ours
        self._lock = threading.Lock()
        self._connection: Connection | None = None
        # Of a guest that is being started: closed with the link.
        self._opening: ByteStream | None = None
        self._is_connecting = False
        # Not sent yet, and sent to a guest that died before it answered.
        self._queued: list[PendingCall] = []
        self._unanswered: list[PendingCall] = []
        self._ended: OmniagentsError | None = None
        self._suspended: OmniagentsError | None = None

    @property
    def is_gone(self) -> bool:
        """The environment died."""
        return isinstance(self._ended, BackendUnavailableError)

    @property
    def is_busy(self) -> bool:
        """A request waits for its answer, or to be sent."""
        with self._lock:
            return bool(self._queued or self._unanswered or (self._connection is not None and self._connection.is_busy))

    def open(self) -> Mapping[str, Any]:
        """Connect for the first time; returns what the guest says of itself.

        Raises:
            BackendStartError: The guest did not start.
        """
        connection = self._connect()
        with self._lock:
            self._connection = connection
            if connection.lost is not None:
                raise BackendStartError(f"the guest ended as soon as it had started: {connection.lost}")
        # A later guest does not make the workspace: without it, the environment is not what it was.
        self._settings["create"] = False
        return connection.hello

    def submit(self, call: PendingCall) -> PendingCall:
        """Send a request, now or as soon as the guest is back.

        Raises:
            BackendNotStartedError: The link was closed, or is suspended.
            BackendUnavailableError: The environment died, or belongs to somebody else now.
        """
        if self._ended is None and not self._is_ours():
            self._lose_ownership()
        with self._lock:
            refused = self._ended or self._suspended
            if refused is not None:
                raise type(refused)(*refused.args)
            if self._connection is None or not self._connection.submit(call):
                self._queued.append(call)
                # A connection that is lost but still here is about to be reported by its reader.
                if self._connection is None:
                    self._reconnect_soon()
        return call

    def suspend(self, reason: str) -> None:
        """Keep the guest, but refuse requests until ``resume``; calls under way are cancelled.

        They, and later ones, fail with ``BackendNotStartedError``.
        """
        error = BackendNotStartedError(reason)
        with self._lock:
            self._suspended = error
            connection, calls = self._connection, self._take_calls()
        if connection is not None:
            connection.cancel_waiting(error)
        _fail(calls, error)

    def resume(self) -> None:
        """Take requests again."""
        with self._lock:
            self._suspended = None

    def close(self, reason: str) -> None:
        """End the guest and everything it started; waiting calls fail with ``BackendNotStartedError``."""
        self._end(BackendNotStartedError(reason))

    def _lose_ownership(self) -> None:
        gone = BackendUnavailableError(f"{self._name}: another backend has taken the project over")
        with self._lock:
            self._ended = self._ended or gone
        # Ending the guest may take a while, and no request waits.
        threading.Thread(target=self._end, args=(gone,), daemon=True, name="omniagents-close").start()

    def _end(self, error: OmniagentsError) -> None:
        with self._lock:
            self._ended = error = self._ended or error
            connection, self._connection = self._connection, None
            opening, self._opening = self._opening, None
            calls = self._take_calls()
        if opening is not None:
            opening.close()
        if connection is not None:
            connection.close()
            calls += connection.take_waiting()
        _fail(calls, error)

    def _take_calls(self) -> list[PendingCall]:
        calls = [*self._unanswered, *self._queued]
        self._unanswered, self._queued = [], []
        return calls

    def _connect(self) -> Connection:
        nonce = new_nonce()
        stream = self._open_stream(loader.command(self._python, self._text, nonce))
        with self._lock:
            has_ended = self._ended is not None
            self._opening = None if has_ended else stream
        if has_ended:
            stream.close()
            raise BackendStartError("the backend was shut down meanwhile")
        try:
            connection = connect(stream, nonce, self._settings, self._lost, text=self._text)
        finally:
            self._opening = None
        self._settings["previous"] = connection.hello["guest"]
        return connection

    def _connect_again(self) -> Connection:
        # What kills one guest, such as a lack of memory, may kill the next as well: no verdict on the environment yet.
        for _ in range(_ATTEMPTS - 1):
            try:
                return self._connect()
            except BackendStartError as error:
                if self._ended is not None:
                    raise
                _log.warning("%s: trying again: %s", self._name, error)
        return self._connect()

    def _lost(self, connection: Connection) -> None:
        """Called by a connection's reader when its stream has ended."""
        unanswered = connection.take_waiting()
        with self._lock:
            if self._ended is None and connection is self._connection:
                self._connection = None
                self._unanswered += unanswered
                if self._unanswered or self._queued:
                    self._reconnect_soon(connection.lost or "")
                else:
                    _log.warning("%s: %s; the next call starts it again", self._name, connection.lost)
                return
        _fail(unanswered, self._ended or GuestDiedError(f"{self._name}: {connection.lost}"))

    def _reconnect_soon(self, reason: str = "") -> None:
        if not self._is_connecting:
            self._is_connecting = True
            threading.Thread(target=self._reconnect, args=(reason,), daemon=True, name="omniagents-reconnect").start()

    def _reconnect(self, reason: str) -> None:
        try:
            connection = self._connect_again()
        except Exception as error:  # whatever a backend's _open raises, somebody is waiting to hear of it
            gone = BackendUnavailableError(f"{self._name}: the environment is gone: {error}")
            gone.__cause__ = error
            self._end(gone)
            return
        with self._lock:
            self._is_connecting = False
            died = self._unanswered
            self._unanswered = []
            if self._ended is None:
                self._adopt(connection, died)
        if self._ended is not None:
            connection.close()
        _fail(died, GuestDiedError(_DIED.format(name=self._name, reason=reason or connection.lost)))

    def _adopt(self, connection: Connection, died: list[PendingCall]) -> None:
        """Make a new guest ours; calls that it cannot take any more join ``died``, so that none waits for ever."""
        if connection.lost is not None:
            died += self._queued
            self._queued = []
            return
        self._connection = connection
        queued = [call for call in self._queued if not call.future.cancelled()]
        self._queued = [call for call in queued if not connection.submit(call)]


_DIED = (
    "{name}: {reason} during this call, and everything it had started was ended; whether the call took effect is "
    "unknown. The guest runs again: the next call works"
)


def _fail(calls: Sequence[PendingCall], error: OmniagentsError) -> None:
    for call in calls:
        call.fail(error)
