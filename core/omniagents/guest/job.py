"""One call's process: its pipes, its deadline, and what it has printed."""

from __future__ import annotations

import collections
import os
import time
from typing import Any, Deque, Dict, List, Mapping, Set

from . import kernel
from .launch import Launched
from .protocol import MAX_PAYLOAD
from .root import Root
from .spool import Log, Spool

__all__ = ["Job"]

# A background command that fails at once is told so in its own result.
_BACKGROUND_GRACE_SECONDS = 0.3
# Likewise for what a command leaves behind with a trailing ``&``.
_LINGER_SECONDS = 0.2


class Job:
    """What ``Processes`` knows of a call's first process and of those below it.

    Attributes:
        outputs: Our ends of its output pipes, each with the number of its stream (1 stdout, 2 stderr).
        deadline: When ``Processes.expire`` has to look at it; None for never.
        status: The wait status of the first process once it has ended.
        condemned: Killed, and perhaps not dead yet; the call is answered when they are.
        give_up_at: When the call is answered even if they are not; None while nothing was killed.
        left_behind: Processes it started that outlived it.
    """

    def __init__(self, call: Any, launched: Launched, arguments: Mapping[str, Any], root: Root) -> None:
        self.call = call
        self.pid = launched.pid
        self.stdin = launched.stdin
        self.outputs: Dict[int, int] = dict(launched.outputs)
        self.waiting_input: Deque[memoryview] = collections.deque()
        self.input_ended = False
        self.is_streaming = bool(arguments.get("stream"))
        self.is_background = bool(arguments.get("background"))
        self.timed_out = False
        self.is_answered = False
        self.status: int | None = None
        self.condemned: Set[int] = set()
        self.give_up_at: float | None = None
        self.left_behind: List[int] = []
        self._started = self._ended = time.monotonic()
        timeout = _BACKGROUND_GRACE_SECONDS if self.is_background else arguments.get("timeout")
        self.deadline = None if timeout is None else self._started + float(timeout)
        limit = int(arguments.get("max_output", MAX_PAYLOAD))
        self.spools = (Spool(limit), Spool(limit))
        log_above = arguments.get("log_above")
        self._log = Log(root) if self.is_background or log_above is not None else None
        self._log_above = min(int(log_above or 0), limit)
        if self.is_background:
            self._begin_log()

    @property
    def waits_for_credit(self) -> bool:
        return self.is_streaming and not self.is_answered and self.call.credit <= 0

    def end(self, status: int) -> None:
        """Its first process has ended, and was waited for."""
        self.status = status
        self._ended = time.monotonic()

    @property
    def alive_behind(self) -> List[int]:
        return sorted(pid for pid in self.left_behind if kernel.is_alive(pid))

    def lingers(self) -> bool:
        """Whether to wait a little for what was left behind; if so, ``deadline`` says until when.

        It may fail at once, and then what it prints belongs to the answer; or redirect its output, which needs no log.
        """
        if self._log is None or self.give_up_at is not None or not (self.outputs or self.alive_behind):
            return False
        self.deadline = self._ended + _LINGER_SECONDS
        return self.deadline > time.monotonic()

    def take(self, stream: int, data: bytes) -> None:
        """Keep, or pass on, what was printed; once the call is answered only a log still wants it."""
        if self.is_streaming and not self.is_answered:
            self.call.send_now(data, stream)
            return
        if self._log is not None:
            if not self._log.has_begun and sum(spool.total for spool in self.spools) + len(data) > self._log_above:
                self._begin_log()
            if self._log.has_begun:
                self._log.write(data)
        if not self.is_answered:
            self.spools[stream - 1].write(data)

    def answer(self) -> Dict[str, Any]:
        """Settle what the call is told: the reply's JSON object. The payload is what both spools kept.

        What still holds the pipes writes into the log from now on, if there may be one.
        """
        self.is_answered = True
        if self._log is not None and not self._log.has_begun:
            if self.outputs:
                self._begin_log()
            else:
                self._log = None
        out, err = self.spools
        return {
            "pid": self.pid,
            "exit_code": _exit_code(self.status),
            "signal": os.WTERMSIG(self.status) if self.status is not None and os.WIFSIGNALED(self.status) else None,
            "timed_out": self.timed_out,
            "background_pids": self.alive_behind,
            "duration": time.monotonic() - self._started,
            "kept": [out.kept, err.kept],
            "total": [out.total, err.total],
            "head": [out.head, err.head],
            "newlines": [out.newlines, err.newlines],
            "log": self._log.path if self._log is not None else None,
            "log_bytes": self._log.taken if self._log is not None else 0,
        }

    def close_log(self) -> None:
        if self._log is not None:
            self._log.close()

    def forget_output(self) -> None:
        for spool in self.spools:
            spool.close()

    def _begin_log(self) -> None:
        assert self._log is not None
        self._log.begin()
        for spool in self.spools:
            for piece in spool.read():
                self._log.write(piece)


def _exit_code(status: int | None) -> int | None:
    if status is None:
        return None
    # As a shell reports it (bash manual, "Exit Status").
    return 128 + os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status)
