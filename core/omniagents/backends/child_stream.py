"""A process of this machine as the other end of a backend's byte stream."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from omniagents.connection import ByteStream
from omniagents.guest import kernel

__all__ = ["ChildStream"]

_END_SECONDS = 5.0
_KEPT_ERROR_BYTES = 4096


class ChildStream(ByteStream):
    """A child process on one end of a socket pair: unlike pipes, a socket can be shut down under a blocked thread.

    Args:
        argv: The first word is the program.
        environment: All of the child's variables.
        start: What starts it; gets the arguments of ``subprocess.Popen``.
        options: More of those.

    Raises:
        OSError: The program cannot be started.
    """

    def __init__(
        self,
        argv: Sequence[str],
        environment: Mapping[str, str],
        *,
        start: Callable[..., subprocess.Popen[bytes]] = subprocess.Popen,
        **options: Any,
    ) -> None:
        self._socket, theirs = socket.socketpair()
        self._closing = threading.Lock()
        try:
            self._child = start(
                argv,
                stdin=theirs.fileno(),
                stdout=theirs.fileno(),
                stderr=subprocess.PIPE,
                env=environment,
                cwd="/",
                start_new_session=True,
                **options,
            )
        except BaseException:
            self._socket.close()
            raise
        finally:
            theirs.close()
        self._errors = b""
        self._error_reader = threading.Thread(target=self._keep_errors, daemon=True, name="omniagents-errors")
        self._error_reader.start()

    def read(self) -> bytes:
        try:
            return self._socket.recv(1 << 18)
        except ConnectionResetError:
            return b""  # the guest was killed with unread input

    def write(self, data: bytes) -> None:
        self._socket.sendall(data)

    def close(self) -> None:
        with contextlib.suppress(OSError):  # not connected any more
            self._socket.shutdown(socket.SHUT_RDWR)
        with self._closing:
            try:
                # The end of the stream tells the guest to end what it started, then itself.
                self._child.wait(_END_SECONDS)
            except subprocess.TimeoutExpired:
                # It hangs or is stopped, and what it started with it.
                kernel.kill_tree(self._child.pid)
                self._child.wait()
            self._socket.close()

    def diagnostics(self) -> str:
        self._error_reader.join(1.0)
        return self._errors.decode("utf-8", "replace")

    def _keep_errors(self) -> None:
        pipe = self._child.stderr
        assert pipe is not None
        with pipe:
            while data := os.read(pipe.fileno(), _KEPT_ERROR_BYTES):
                self._errors = (self._errors + data)[-_KEPT_ERROR_BYTES:]
