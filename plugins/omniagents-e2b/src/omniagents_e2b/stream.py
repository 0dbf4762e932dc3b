"""The stream to a guest: the output and input of one background command in a sandbox."""

from __future__ import annotations

import contextlib
import logging
import secrets
import shlex
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from e2b import (
    CommandExitException,
    CommandHandle,
    NotFoundException,
    RateLimitException,
    Sandbox,
    SandboxException,
)

from omniagents.connection import ByteStream
from omniagents.guest import protocol

__all__ = ["SandboxStream", "end_command"]

_log = logging.getLogger("omniagents")

# More than this at once goes up as a file: raw, where the command's input is base64 in JSON.
_MOST_INPUT: Final = 1 << 20
# What may wait to be sent; whoever writes more waits.
_MOST_WAITING: Final = 8 << 20
_DIAGNOSTICS: Final = 4096
# A pause breaks the connection that carries the output, and that is noticed soon.
_NOTICED_SECONDS: Final = 5.0
# How long a guest may take to end what it started.
_ENDING_SECONDS: Final = 5.0
_ENDING_LOOKS: Final = 10
# E2B asks for patience: nothing was done, so that asking again is safe.
_RATE_LIMIT_DELAYS: Final = (0.5, 1.0, 2.0, 4.0, 8.0)


class SandboxStream(ByteStream):
    """Carries text, one request for whatever was written since the last.

    Args:
        argv: The command.
        variables: Added to its environment; envd's list of processes shows them.
        wake: Called before anything is sent: makes sure that the sandbox is not paused.
    """

    def __init__(
        self, sandbox: Sandbox, argv: Sequence[str], variables: Mapping[str, str], wake: Callable[[], None]
    ) -> None:
        #: When something was last sent or received, on the monotonic clock.
        self.last_used = time.monotonic()
        self._sandbox = sandbox
        self._wake = wake
        self._said = ""
        self._waiting = bytearray()
        self._changed = threading.Condition()
        self._is_sending = False
        self._is_closed = False
        self._is_held = False
        self._has_reader_stopped = False
        self._reason = ""
        # No limit on the stream: the default would end it after a minute.
        self._handle: CommandHandle[None] = sandbox.commands.run(
            f"exec {shlex.join(argv)}",
            background=True,
            stdin=True,
            timeout=0,
            envs=dict(variables),
            retain_output=False,
        )
        self.pid: int = self._handle.pid
        self._output = iter(self._handle)
        threading.Thread(target=self._send_all, daemon=True, name="omniagents-e2b-send").start()

    def read(self) -> bytes:
        while True:
            try:
                for stdout, stderr, _ in self._output:
                    self.last_used = time.monotonic()
                    if stderr:
                        self._said = (self._said + stderr)[-_DIAGNOSTICS:]
                    if stdout:
                        return str(stdout).encode()
            except CommandExitException as error:
                self._said = (self._said + error.stderr)[-_DIAGNOSTICS:]
            except (
                Exception
            ) as error:  # whatever the SDK raises, the stream has ended; what that means, others find out
                self._reason = str(error)
            if not self._wait_while_held():
                self.close()
                return b""

    def write(self, data: bytes) -> None:
        with self._changed:
            while len(self._waiting) > _MOST_WAITING and not self._is_closed:
                self._changed.wait()
            if self._is_closed:
                raise BrokenPipeError(f"the sandbox's command has ended {self._reason}".rstrip())
            self._waiting += data
            self._changed.notify_all()

    def close(self) -> None:
        with self._changed:
            if self._is_closed:
                return
            self._is_closed = True
            self._changed.notify_all()
        # Its own thread: ending is a request, and closing must not wait for one.
        threading.Thread(target=self._end, daemon=True, name="omniagents-e2b-close").start()

    def diagnostics(self) -> str:
        return f"{self._said}\n{self._reason}".strip()[-_DIAGNOSTICS:]

    def hold(self) -> None:
        """The sandbox is about to be paused: the end of its output is not the end of the stream."""
        with self._changed:
            self._is_held = True

    def go_on(self, sandbox: Sandbox) -> None:
        """The sandbox was resumed: subscribe to the command's output again, if the pause ended the subscription.

        The guest sends nothing that was not asked for, so that nothing was missed if no call was under way.
        """
        with self._changed:
            self._sandbox = sandbox
            if self._changed.wait_for(lambda: self._has_reader_stopped or self._is_closed, _NOTICED_SECONDS):
                self._handle = sandbox.commands.connect(self.pid, timeout=0, retain_output=False)
                self._output = iter(self._handle)
            self._is_held = False
            self._changed.notify_all()

    def _wait_while_held(self) -> bool:
        """Whether there is more to read."""
        with self._changed:
            if not self._is_held:
                return False
            self._has_reader_stopped = True
            self._changed.notify_all()
            self._changed.wait_for(lambda: not self._is_held or self._is_closed)
            self._has_reader_stopped = False
            return not self._is_closed

    def _send_all(self) -> None:
        while True:
            with self._changed:
                while not self._waiting and not self._is_closed:
                    self._changed.wait()
                if self._is_closed:
                    return
                data, self._waiting = bytes(self._waiting), bytearray()
                self._changed.notify_all()
            try:
                self._wake()
                self.last_used = time.monotonic()
                self._send(data)
            except Exception as error:  # whatever went wrong, what was sent may have arrived: the stream is at its end
                self._reason = str(error)
                _log.debug("the stream to sandbox %s ended: %s", self._sandbox.sandbox_id, error)
                self.close()
                return

    def _send(self, data: bytes) -> None:
        if len(data) > _MOST_INPUT:
            path = f"/tmp/omniagents-{secrets.token_hex(16)}"
            self._sandbox.files.write(path, protocol.from_text(data), use_octet_stream=True)
            data = protocol.FILE_LINE + path.encode() + b"\n"
        for delay in (*_RATE_LIMIT_DELAYS, None):
            try:
                self._sandbox.commands.send_stdin(self.pid, data)
                return
            except RateLimitException:
                if delay is None:
                    raise
                with self._changed:
                    self._changed.wait_for(lambda: self._is_closed, delay)

    def _end(self) -> None:
        # The sandbox may be gone already, and the command with it.
        with contextlib.suppress(SandboxException):
            end_command(self._sandbox, self.pid)


def end_command(sandbox: Sandbox, pid: int) -> None:
    """End a guest with everything it started: at the end of its input it does that itself; one that hangs is killed.

    Raises:
        SandboxException: E2B does not answer, or the sandbox is gone.
    """
    with contextlib.suppress(NotFoundException):
        sandbox.commands.close_stdin(pid)
    for _ in range(_ENDING_LOOKS):
        if all(each.pid != pid for each in sandbox.commands.list()):
            return
        time.sleep(_ENDING_SECONDS / _ENDING_LOOKS)
    sandbox.commands.kill(pid)
