"""What the connections here do that those of ``requests`` do not: they obey a limit of time, and read large pieces.

Timeouts of ``requests`` count from one received piece to the next: a server that sends a byte now and then
holds a caller for hours. Here the connection itself is shut down when the time is over, whatever the server does.
"""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator
from contextvars import ContextVar
from typing import Any

from requests import PreparedRequest, Response
from requests.adapters import HTTPAdapter
from urllib3 import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.connection import HTTPConnection, HTTPSConnection

__all__ = ["WatchedAdapter", "limited"]

# Google's client asks for 8 KiB at a time, which takes longer than what arrives.
_PIECE = 1 << 18

_current: ContextVar[_Try | None] = ContextVar("omniagents_gcs_try", default=None)


class _Try:
    """The connections that one try uses, until it is done or its time is over."""

    def __init__(self) -> None:
        self.is_over = False
        self._is_done = False
        self._sockets: list[socket.socket] = []
        self._lock = threading.Lock()

    def watch(self, used: object) -> None:
        # TLS inside a proxy's TLS is no socket; there the timeout between two pieces has to do.
        if isinstance(used, socket.socket):
            with self._lock:
                self._sockets.append(used)
            if self.is_over:
                self.end()

    def end(self) -> None:
        with self._lock:
            if self._is_done:
                return  # the connection may be somebody else's by now
            self.is_over = True
            for used in self._sockets:
                # Not SSLSocket's own shutdown, which forgets the TLS state that another thread is reading with.
                with contextlib.suppress(OSError):  # already closed
                    socket.socket.shutdown(used, socket.SHUT_RDWR)

    def done(self) -> None:
        with self._lock:
            self._is_done = True


@contextlib.contextmanager
def limited(seconds: float) -> Iterator[None]:
    """End what this thread requests inside through a ``WatchedAdapter`` when it takes longer than this.

    Raises:
        TimeoutError: It did. Failures on the way there are its cause.
    """
    attempt = _Try()
    timer = threading.Timer(seconds, attempt.end)
    timer.daemon = True
    token = _current.set(attempt)
    timer.start()
    try:
        yield
    except Exception as error:
        if attempt.is_over:
            raise _too_slow(seconds) from error
        raise
    finally:
        timer.cancel()
        attempt.done()
        _current.reset(token)
    if attempt.is_over:
        raise _too_slow(seconds)  # an answer without a length ends where its connection does


def _too_slow(seconds: float) -> TimeoutError:
    return TimeoutError(f"the answer was not complete after {seconds:.1f} s")


class _Watched:
    """Mixed into a connection: tells the current try of its socket before anything is sent on it."""

    sock: Any

    def connect(self) -> None:
        super().connect()  # type: ignore[misc]
        self._watch()

    def request(self, *arguments: Any, **options: Any) -> None:
        self._watch()
        super().request(*arguments, **options)  # type: ignore[misc]

    def _watch(self) -> None:
        attempt = _current.get()
        if attempt is not None:
            attempt.watch(self.sock)


class _WatchedHTTPConnection(_Watched, HTTPConnection):
    pass


class _WatchedHTTPSConnection(_Watched, HTTPSConnection):
    pass


class _WatchedHTTPPool(HTTPConnectionPool):
    ConnectionCls = _WatchedHTTPConnection


class _WatchedHTTPSPool(HTTPSConnectionPool):
    ConnectionCls = _WatchedHTTPSConnection


_POOLS = {"http": _WatchedHTTPPool, "https": _WatchedHTTPSPool}


class WatchedAdapter(HTTPAdapter):
    """An adapter for a session of ``requests`` whose connections obey ``limited``."""

    def init_poolmanager(self, *arguments: Any, **options: Any) -> None:
        super().init_poolmanager(*arguments, **options)
        self.poolmanager.pool_classes_by_scheme = _POOLS

    def build_response(self, req: PreparedRequest, resp: Any) -> Response:
        stream = resp.stream
        resp.stream = lambda amt=0, decode_content=None: stream(max(amt, _PIECE), decode_content=decode_content)
        return super().build_response(req, resp)

    def proxy_manager_for(self, *arguments: Any, **options: Any) -> Any:
        manager = super().proxy_manager_for(*arguments, **options)
        manager.pool_classes_by_scheme = _POOLS
        return manager
