"""The stream to a guest: the output and input of one background command in a sandbox."""

from __future__ import annotations

import logging
import queue
import secrets
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Final

from e2b import NotFoundException, RateLimitException, Sandbox
from e2b.exceptions import AuthenticationException, InvalidArgumentException, NotEnoughSpaceException

from omniagents.connection import ByteStream
from omniagents.guest.carrier import Carrier
from omniagents_e2b.listening import CommandEnded, Heard, Subscription
from omniagents_e2b.service import is_gone
from omniagents_e2b.starting import end_command, start_command

__all__ = ["Power", "SandboxStream"]

_log = logging.getLogger("omniagents")

# More than this at once goes up as a file: raw, where the command's input is base64 in base64 in JSON.
_MOST_INPUT: Final = 1 << 20
# What may wait to be sent; whoever writes more waits.
_MOST_WAITING: Final = 8 << 20
_DIAGNOSTICS: Final = 4096
# Before each further attempt, of whatever failed and may yet succeed.
_DELAYS: Final = (0.1, 0.5, 1.0, 2.0, 4.0)
# A connection that held for so long was a good one.
_GOOD_SECONDS: Final = 30.0
_FINAL: Final = (AuthenticationException, InvalidArgumentException, NotEnoughSpaceException, NotFoundException)


class Power:
    """What a stream has to know of the life of its sandbox; its backend says so."""

    def wake(self) -> None:
        """Called before anything is sent: make sure that the sandbox is not paused."""

    def is_asleep(self) -> bool:
        """The sandbox does not run: whether that is because it was paused, so that it can go on."""
        return False


class SandboxStream(ByteStream):
    """Carries numbered lines of text: one request for whatever was written since the last.

    Connections may break at any time, and whether a request arrived may stay unknown: what was not acknowledged is sent
    again, by either side, and taken once. Only the end of the command, or of the sandbox, ends the stream; or that E2B
    could not be reached for some eight seconds.

    Args:
        argv: The command.
        variables: Added to its environment; envd's list of processes shows them.
        path: Its ``PATH``, where the login shell's is not the one to use.
    """

    numbers_lines = True

    def __init__(
        self, sandbox: Sandbox, argv: Sequence[str], variables: Mapping[str, str], path: str | None, power: Power
    ) -> None:
        #: When something was last sent or received, on the monotonic clock.
        self.last_used = time.monotonic()
        self._sandbox = sandbox
        self._power = power
        self._said = ""
        self._reason = ""
        self._carrier = Carrier()
        self._sources = b""
        self._waiting = bytearray()
        self._must_ask = False
        self._is_closed = False
        self._is_held = False
        self._changed = threading.Condition()
        self._heard: queue.SimpleQueue[Heard | None] = queue.SimpleQueue()
        handle = start_command(sandbox, argv, variables, path)
        self.pid: int = handle.pid
        self._breaks = 0
        self._connected_at = time.monotonic()
        self._subscription = Subscription(sandbox, self.pid, handle, self._heard)
        threading.Thread(target=self._send_all, daemon=True, name="omniagents-e2b-send").start()

    def read(self) -> bytes:
        while (heard := self._heard.get()) is not None:
            if heard.by is not self._subscription:
                continue
            if heard.end is not None:
                if not self._listen_again(heard.by, heard.end):
                    break
                continue
            self._said = (self._said + heard.stderr)[-_DIAGNOSTICS:]
            if heard.is_again:
                self._carrier.cut()
                self._ask()
            if frames := self._carrier.received(heard.stdout.encode()):
                self.last_used = time.monotonic()
                return frames
            if self._carrier.misses_lines:
                self._ask()
        self.close()
        self._heard.put(None)  # the end stays the end
        return b""

    def write(self, data: bytes) -> None:
        with self._changed:
            self._changed.wait_for(lambda: len(self._waiting) <= _MOST_WAITING or self._is_closed)
            if self._is_closed:
                raise BrokenPipeError(f"the sandbox's command has ended {self._reason}".rstrip())
            if self.has_guest:
                self._waiting += data
            else:
                self._sources, self.has_guest = data, True
            self._changed.notify_all()

    def close(self) -> None:
        with self._changed:
            if self._is_closed:
                return
            self._is_closed = True
            self._changed.notify_all()
        self._heard.put(None)
        # Its own thread: ending is a request, and closing must not wait for one.
        threading.Thread(target=self._end, daemon=True, name="omniagents-e2b-close").start()

    def diagnostics(self) -> str:
        return f"{self._said}\n{self._reason}".strip()[-_DIAGNOSTICS:]

    def hold(self) -> None:
        """The sandbox is about to be paused, or is: the end of its output is not the end of the stream."""
        with self._changed:
            self._is_held = True

    def go_on(self, sandbox: Sandbox) -> None:
        """The sandbox runs again: ask for what was said meanwhile."""
        with self._changed:
            self._sandbox = sandbox
            self._is_held = False
            self._listen()

    def _listen(self) -> None:
        self._connected_at = time.monotonic()
        self._subscription = Subscription(self._sandbox, self.pid, None, self._heard)

    def _listen_again(self, ended: Subscription, error: Exception) -> bool:
        """Whether there is more to come, now or after a pause."""
        _log.debug("the output of sandbox %s broke off: %s", self._sandbox.sandbox_id, error)
        if not self._is_held and not self._may_pass(error) and self._subscription is ended:
            self._reason = str(error)
            return False
        if time.monotonic() - self._connected_at >= _GOOD_SECONDS:
            self._breaks = 0
        if self._breaks == len(_DELAYS):
            self._reason = str(error)
            return False
        delay = _DELAYS[self._breaks]
        with self._changed:
            self._changed.wait_for(lambda: self._is_closed, 0 if self._is_held else delay)
            if not self._is_held and self._subscription is ended and not self._is_closed:
                self._breaks += 1
                self._listen()
        return True

    def _ask(self) -> None:
        with self._changed:
            self._must_ask = True
            self._changed.notify_all()

    def _send_all(self) -> None:
        try:
            while self._wait_for_work():
                self._send_what_waits()
        except Exception as error:  # it was tried for long enough, or cannot succeed
            self._reason = self._reason or str(error)
            _log.debug("the stream to sandbox %s ended: %s", self._sandbox.sandbox_id, error)
            self.close()

    def _wait_for_work(self) -> bool:
        with self._changed:
            self._changed.wait_for(lambda: self._sources or self._waiting or self._must_ask or self._is_closed)
            return not self._is_closed

    def _send_what_waits(self) -> None:
        with self._changed:
            sources, self._sources = self._sources, b""
            data, self._waiting = bytes(self._waiting), bytearray()
            asks, self._must_ask = self._must_ask, False
            self._changed.notify_all()
        if data or sources:
            self._power.wake()
            self.last_used = time.monotonic()
        line = self._line(data) if data else b""

        def send(is_unsure: bool) -> None:
            # Sources that arrive twice are noise between lines.
            texts = self._again(asks) if asks or is_unsure else [line]
            for text in [sources + texts[0], *texts[1:]]:
                self._sandbox.commands.send_stdin(self.pid, text)

        self._insist(send)

    def _line(self, data: bytes) -> bytes:
        if len(data) <= _MOST_INPUT:
            return self._carrier.line(data)
        path = f"/tmp/omniagents-{secrets.token_hex(16)}"
        try:
            self._insist(lambda is_unsure: self._sandbox.files.write(path, data, use_octet_stream=True))
        except NotEnoughSpaceException:
            return self._carrier.line(data)  # the call may well need none
        return self._carrier.line_of_file(path)

    def _again(self, asks: bool) -> list[bytes]:
        """All that was not acknowledged, in a few requests."""
        lines = [self._carrier.question()] * asks + self._carrier.again()
        return [*_joined(lines, 2 * _MOST_INPUT)] or [b"\n"]

    def _insist(self, act: Callable[[bool], object]) -> None:
        """Try until E2B has done it; ``act`` is told whether it may have been done before."""
        is_unsure = False
        for delay in (*_DELAYS, None):
            try:
                act(is_unsure)
                return
            except Exception as error:  # of four libraries: what is final is known
                if delay is None or not self._may_pass(error):
                    raise
                _log.debug("sandbox %s: trying again: %s", self._sandbox.sandbox_id, error)
                is_unsure = is_unsure or not isinstance(error, RateLimitException)
            self._power.wake()
            with self._changed:
                if self._changed.wait_for(lambda: self._is_closed, delay):
                    raise BrokenPipeError("the stream was closed")

    def _may_pass(self, error: Exception) -> bool:
        """Whether a further attempt may succeed: not if the command, the key or the sandbox is no more."""
        if is_gone(error):
            return self._power.is_asleep()
        return not isinstance(error, (CommandEnded, BrokenPipeError, *_FINAL))

    def _end(self) -> None:
        try:
            end_command(self._sandbox, self.pid)
        except Exception as error:  # most often the sandbox is gone, and the command with it
            _log.debug("sandbox %s: ending a guest: %s", self._sandbox.sandbox_id, error)


def _joined(lines: Sequence[bytes], size: int) -> Iterator[bytes]:
    text = b""
    for line in lines:
        if text and len(text) + len(line) > size:
            yield text
            text = b""
        text += line
    if text:
        yield text
