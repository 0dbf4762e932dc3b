"""The socket of an attached exec, plain or with TLS, for one thread that reads and one that writes."""

from __future__ import annotations

import contextlib
import io
import select
import socket
import ssl
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import TypeVar

__all__ = ["Channel", "PlainChannel", "TlsChannel", "channel_over"]

_T = TypeVar("_T")


def channel_over(connection: socket.socket, buffered: io.BufferedReader) -> Channel:
    """Take a socket over that the engine upgraded.

    Args:
        buffered: What reads from it, which may hold bytes that came right behind the engine's answer.
    """
    if isinstance(connection, ssl.SSLSocket):
        return TlsChannel(connection, buffered)
    return PlainChannel(connection, buffered)


class Channel(ABC):
    """Bytes to and from the engine."""

    def __init__(self, connection: socket.socket, buffered: io.BufferedReader) -> None:
        self._socket = connection
        self._buffered = buffered

    @abstractmethod
    def read(self, most: int) -> bytes:
        """Wait for the next bytes; none at the end. Raises ``OSError`` where the connection broke."""

    @abstractmethod
    def write(self, data: bytes) -> None:
        """Write everything. Raises ``OSError`` where the connection broke."""

    @property
    @abstractmethod
    def has_ended(self) -> bool:
        """Whether the other side has ended it, while nothing was read from it yet; waits for nothing."""

    def shut(self) -> None:
        """Wake the reader and the writer: they find its end."""
        with contextlib.suppress(OSError):  # not connected any more
            self._socket.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Free it; after ``shut``."""
        with contextlib.suppress(OSError):
            self._buffered.close()
        self._socket.close()


class PlainChannel(Channel):
    """Over a unix or TCP socket, which takes both threads at once."""

    def __init__(self, connection: socket.socket, buffered: io.BufferedReader) -> None:
        super().__init__(connection, buffered)
        connection.settimeout(None)  # the request's is none of the stream's

    def read(self, most: int) -> bytes:
        return self._buffered.read1(most)

    def write(self, data: bytes) -> None:
        self._socket.sendall(data)

    @property
    def has_ended(self) -> bool:
        try:
            return not self._socket.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT)
        except BlockingIOError:
            return False
        except (OSError, ValueError):
            return True


class TlsChannel(Channel):
    """Over TLS. Two threads must not be in one TLS session at once: each waits for the socket outside of a lock."""

    def __init__(self, connection: ssl.SSLSocket, buffered: io.BufferedReader) -> None:
        super().__init__(connection, buffered)
        connection.settimeout(0)
        self._lock = threading.Lock()

    def read(self, most: int) -> bytes:
        return self._as_soon_as_possible(lambda: self._buffered.read1(most))

    def write(self, data: bytes) -> None:
        view = memoryview(data)
        while view:
            view = view[self._as_soon_as_possible(lambda: self._socket.send(view)) :]  # noqa: B023

    @property
    def has_ended(self) -> bool:
        try:
            with self._lock:
                return not self._buffered.peek(1)
        except ssl.SSLWantReadError:
            return False
        except (OSError, ValueError):
            return True

    def shut(self) -> None:
        with self._lock:
            super().shut()

    def _as_soon_as_possible(self, act: Callable[[], _T]) -> _T:
        while True:
            try:
                with self._lock:
                    return act()
            except ssl.SSLWantReadError:
                wanted = select.POLLIN
            except ssl.SSLWantWriteError:
                wanted = select.POLLOUT
            waiting = select.poll()
            waiting.register(self._socket, wanted)
            waiting.poll()
