"""Processes of the environment: watched, fed, bounded and killed as whole trees.

Everything here runs in the server's loop, in one thread; only large outputs are delivered by a
worker. A call's first process is a subreaper, so all its descendants stay findable below it
while it lives; when it exits, those it leaves become children of the guest and live on.
"""

from __future__ import annotations

import collections
import os
import selectors
import signal
import time
from functools import partial
from typing import Any, Callable, Deque, Dict, List, Mapping, Set

from . import kernel
from .context import CallCancelled
from .failure import GuestFailure
from .launch import Launched, launch
from .protocol import CHUNK, MAX_PAYLOAD
from .root import Root
from .spool import Log, Spool

__all__ = ["Processes"]

# What can still be in a pipe when its writer has exited; anything more comes from processes left behind.
_MOST_DRAINED = 1 << 20
# A background command that fails at once is told so in its own result.
_BACKGROUND_GRACE_SECONDS = 0.3


class _Job:
    """A call's first process: its pipes, its deadline, and what it has printed."""

    def __init__(self, call: Any, launched: Launched, arguments: Mapping[str, Any], root: Root) -> None:
        self.call = call
        self.pid = launched.popen.pid
        self.popen = launched.popen
        self.stdin = launched.stdin
        self.outputs = dict(launched.outputs)  # fd -> stream
        self.waiting_input: Deque[memoryview] = collections.deque()
        self.input_ended = False
        self.is_streaming = bool(arguments.get("stream"))
        self.is_background = bool(arguments.get("background"))
        self.started = time.monotonic()
        timeout = _BACKGROUND_GRACE_SECONDS if self.is_background else arguments.get("timeout")
        self.deadline = None if timeout is None else self.started + float(timeout)
        self.timed_out = False
        self.is_answered = False
        self.status: int | None = None
        self.left_behind: List[int] = []
        self.drained = 0
        self.limit = int(arguments.get("max_output", MAX_PAYLOAD))
        self.spools = (Spool(self.limit), Spool(self.limit))
        self.log = Log(root) if self.is_background or arguments.get("log") else None

    @property
    def waits_for_credit(self) -> bool:
        return self.is_streaming and not self.is_answered and self.call.credit <= 0

    def take(self, stream: int, data: bytes) -> None:
        """Keep, or pass on, what the process printed; once the call is answered only a log still wants it."""
        if self.is_streaming and not self.is_answered:
            self.call.send_now(data, stream)
            return
        spool = self.spools[stream - 1]
        if self.log is not None and (self.is_background or spool.total + len(data) > self.limit):
            if not self.log.has_begun:
                for piece in spool.read():
                    self.log.write(piece)
            self.log.write(data)
        if not self.is_answered:
            spool.write(data)

    def value(self) -> Dict[str, Any]:
        """The reply's JSON object; the payload is what both spools kept."""
        out, err = self.spools
        return {
            "pid": self.pid,
            "exit_code": _exit_code(self.status),
            "signal": os.WTERMSIG(self.status) if self.status is not None and os.WIFSIGNALED(self.status) else None,
            "timed_out": self.timed_out,
            "background_pids": self.left_behind,
            "duration": time.monotonic() - self.started,
            "kept": [out.kept, err.kept],
            "total": [out.total, err.total],
            "head": [out.head, err.head],
            "log": self.log.path if self.log is not None else None,
        }

    def forget(self) -> None:
        for spool in self.spools:
            spool.close()


def _exit_code(status: int | None) -> int | None:
    if status is None:
        return None
    # As a shell reports it (bash manual, "Exit Status").
    return 128 + os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status)


class Processes:
    """Every process this guest started or adopted.

    Args:
        root: The workspace.
        selector: The loop's; what is registered carries a function to call when it is ready.
        environment: What every process inherits.
        in_worker: Runs a function on a worker thread.
    """

    def __init__(
        self,
        root: Root,
        selector: selectors.BaseSelector,
        environment: Mapping[str, str],
        in_worker: Callable[[Callable[[], None]], None],
    ) -> None:
        self._root = root
        self._selector = selector
        self._environment = environment
        self._in_worker = in_worker
        self._by_pid: Dict[int, _Job] = {}
        self._by_call: Dict[int, _Job] = {}
        self._adopted: Set[int] = set()

    def start(self, call: Any, arguments: Mapping[str, Any], first_input: bytes, more: bool) -> None:
        """Start what a ``run`` request asks for.

        Raises:
            GuestFailure: It cannot be started; nothing was.
        """
        launched = launch(self._root, arguments, self._environment, bool(first_input) or more)
        job = _Job(call, launched, arguments, self._root)
        self._by_pid[job.pid] = self._by_call[call.id] = job
        for fd in job.outputs:
            os.set_blocking(fd, False)
            self._selector.register(fd, selectors.EVENT_READ, partial(self._pump, job, fd))
        if job.stdin is not None:
            os.set_blocking(job.stdin, False)
            self.feed(call.id, first_input, more)
        if job.is_streaming:
            call.send_event({"type": "started", "pid": job.pid})

    def feed(self, call_id: int, data: bytes, more: bool) -> None:
        """Bytes for the standard input of a call's process; ``more`` false closes it behind them."""
        job = self._by_call.get(call_id)
        if job is None or job.stdin is None:
            return
        if data:
            job.waiting_input.append(memoryview(data))
        job.input_ended = job.input_ended or not more
        self._push(job)

    def resume(self, call_id: int) -> None:
        """The host wants more output of a streaming call."""
        job = self._by_call.get(call_id)
        if job is not None and not job.waits_for_credit:
            for fd in list(job.outputs):
                self._watch(fd, selectors.EVENT_READ, partial(self._pump, job, fd))
            if job.status is not None:
                self._settle(job)

    def signal(self, call_id: int, number: int) -> None:
        """Send a signal to the process group of a call.

        Raises:
            GuestFailure: The call has no living process.
        """
        job = self._by_call.get(call_id)
        if job is None or job.status is not None:
            raise GuestFailure("INVALID_ARGUMENTS", "the process has ended")
        if number == signal.SIGKILL:
            kernel.kill_tree(job.pid)
        else:
            os.killpg(job.pid, number)

    def cancel(self, call_id: int) -> None:
        """Kill a call's whole tree."""
        job = self._by_call.get(call_id)
        if job is not None and job.status is None:
            kernel.kill_tree(job.pid)

    def seconds_to_next_deadline(self) -> float | None:
        deadlines = [job.deadline for job in self._by_call.values() if job.deadline is not None]
        return max(0.0, min(deadlines) - time.monotonic()) if deadlines else None

    def expire(self) -> None:
        """Act on the deadlines that have passed."""
        now = time.monotonic()
        for job in [job for job in self._by_call.values() if job.deadline is not None and job.deadline <= now]:
            job.deadline = None
            if job.is_background:
                self._answer(job)
            elif job.status is None:
                job.timed_out = True
                kernel.kill_tree(job.pid)

    def collect(self) -> None:
        """Take note of the children that have ended."""
        ended = kernel.reap()
        for pid, status in ended:
            self._adopted.discard(pid)
            job = self._by_pid.pop(pid, None)
            if job is None:
                continue
            job.status = job.popen.returncode = status
            # They became ours the moment the job's first process ended, and nobody else's since.
            fresh = kernel.children() - self._adopted - self._by_pid.keys()
            self._adopted |= fresh
            job.left_behind = sorted(fresh)
            self._settle(job)

    def stop(self) -> None:
        """Kill everything, adopted processes included."""
        while True:
            living = kernel.children()
            if not living:
                return
            kernel.kill_tree(*living)
            kernel.reap()

    def _pump(self, job: _Job, fd: int) -> bool:
        """Move what one pipe holds; whether it may hold more."""
        if job.waits_for_credit:
            self._selector.unregister(fd)
            return False
        most = min(CHUNK, job.call.credit) if job.is_streaming and not job.is_answered else CHUNK
        try:
            data = os.read(fd, most)
        except BlockingIOError:
            return False
        if not data:
            self._unwatch(fd)
            os.close(fd)
            stream = job.outputs.pop(fd)
            if job.is_answered and not job.outputs and job.log is not None:
                job.log.close()
            del stream
            return False
        job.drained += len(data) if job.status is not None else 0
        job.take(job.outputs[fd], data)
        return True

    def _push(self, job: _Job) -> None:
        """Write what waits for a process's standard input, as far as its pipe takes it."""
        fd = job.stdin
        if fd is None:
            return
        taken = 0
        try:
            while job.waiting_input:
                written = os.write(fd, job.waiting_input[0])
                taken += written
                job.waiting_input[0] = job.waiting_input[0][written:]
                if not job.waiting_input[0]:
                    job.waiting_input.popleft()
        except BlockingIOError:
            self._watch(fd, selectors.EVENT_WRITE, partial(self._push, job))
        except OSError:
            # It does not read any more. The rest is taken and dropped, as a shell's pipe would.
            taken += sum(len(piece) for piece in job.waiting_input)
            job.waiting_input.clear()
        job.call.grant(taken)
        if not job.waiting_input:
            self._unwatch(fd)
            if job.input_ended:
                os.close(fd)
                job.stdin = None

    def _settle(self, job: _Job) -> None:
        """After the first process has ended: take what its pipes still hold, then answer."""
        for fd in list(job.outputs):
            while job.drained < _MOST_DRAINED and self._pump(job, fd):
                pass
        if not job.waits_for_credit or not job.outputs:
            self._answer(job)

    def _answer(self, job: _Job) -> None:
        if job.is_answered:
            if not job.outputs and job.log is not None:
                job.log.close()
            return
        job.is_answered = True
        self._by_call.pop(job.call.id, None)
        if job.stdin is not None:
            self._unwatch(job.stdin)
            os.close(job.stdin)
            job.stdin = None
        for fd in job.outputs:  # a paused pipe is read on, so that what still writes to it is not blocked
            self._watch(fd, selectors.EVENT_READ, partial(self._pump, job, fd))
        value = job.value()
        if job.spools[0].kept + job.spools[1].kept <= MAX_PAYLOAD:
            job.call.reply(value, b"".join([*job.spools[0].read(), *job.spools[1].read()]))
            job.forget()
        else:
            self._in_worker(partial(_deliver, job, value))

    def _watch(self, fd: int, events: int, ready: Callable[[], Any]) -> None:
        if fd in self._selector.get_map():
            self._selector.modify(fd, events, ready)
        else:
            self._selector.register(fd, events, ready)

    def _unwatch(self, fd: int) -> None:
        if fd in self._selector.get_map():
            self._selector.unregister(fd)


def _deliver(job: _Job, value: Dict[str, Any]) -> None:
    try:
        for spool in job.spools:
            for piece in spool.read():
                job.call.send(piece)
        job.call.reply(value, b"")
    except CallCancelled:
        job.call.refuse(GuestFailure("CANCELLED", "the call was given up"))
    finally:
        job.forget()
