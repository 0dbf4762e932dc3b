"""Processes of the environment: watched, fed, bounded and killed as whole trees.

Everything here runs in the server's loop, in one thread; only large outputs are delivered by a
worker. A call's first process is a subreaper, so all its descendants stay findable below it
while it lives; when it exits, those it leaves become children of the guest and live on.
"""

from __future__ import annotations

import os
import selectors
import signal
import time
from functools import partial
from typing import Any, Callable, Dict, List, Mapping, Set

from . import kernel
from .context import CallCancelled
from .failure import GuestFailure
from .job import Job
from .launch import launch
from .protocol import CHUNK, MAX_PAYLOAD
from .root import Root

__all__ = ["Processes"]

# What can still be in a pipe when its writer has exited; anything more comes from processes left behind.
_MOST_DRAINED = 1 << 20
# How long a call waits for what it had killed to die: there may be memory to free, or a disk to wait for.
_MOST_DYING_SECONDS = 2.0
_DYING_CHECK_SECONDS = 0.02


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
        self._by_pid: Dict[int, Job] = {}
        self._by_call: Dict[int, Job] = {}
        self._adopted: Dict[int, int] = {}  # pid -> session

    def start(self, call: Any, arguments: Mapping[str, Any], first_input: bytes, more: bool) -> None:
        """Start what a ``run`` request asks for.

        Args:
            arguments: Those of ``launch``; ``timeout`` in seconds (null for none); ``max_output``, bytes kept of each
                stream; ``log_above``: all output goes to a log as well once it is more than so many bytes, or once
                processes left behind go on printing; ``stream`` it instead of collecting it; ``background``: answer
                soon, while it runs on and prints into a log, without a time limit.

        Raises:
            GuestFailure: It cannot be started; nothing was.
        """
        launched = launch(self._root, arguments, self._environment, bool(first_input) or more)
        job = Job(call, launched, arguments, self._root)
        self._by_pid[job.pid] = self._by_call[call.id] = job
        for fd in job.outputs:
            os.set_blocking(fd, False)
        self._watch_outputs(job)
        if job.stdin is not None:
            os.set_blocking(job.stdin, False)
            self.feed(call.id, first_input, more)
        if job.is_streaming:
            call.send_event({"type": "started", "pid": job.pid})

    def feed(self, call_id: int, data: bytes, more: bool) -> bool:
        """Bytes for the standard input of a call's process; ``more`` false closes it behind them.

        Returns:
            Whether the call has a process at all. One that does not read any more gets nothing.
        """
        job = self._by_call.get(call_id)
        if job is not None and job.stdin is not None:
            if data:
                job.waiting_input.append(memoryview(data))
            job.input_ended = job.input_ended or not more
            self._push(job)
        return job is not None

    def resume(self, call_id: int) -> None:
        """The host wants more output of a streaming call."""
        job = self._by_call.get(call_id)
        if job is not None and not job.waits_for_credit:
            self._watch_outputs(job)
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
            self._kill(job)
        else:
            os.killpg(job.pid, number)

    def cancel(self, call_id: int) -> None:
        """Kill a call's whole tree."""
        job = self._by_call.get(call_id)
        if job is not None:
            # Nobody takes its output any more, and nothing may wait for that.
            job.is_streaming = False
            self._watch_outputs(job)
            self._kill(job)
            self._settle(job)

    def seconds_to_next_deadline(self) -> float | None:
        deadlines = [job.deadline for job in self._by_call.values() if job.deadline is not None]
        return max(0.0, min(deadlines) - time.monotonic()) if deadlines else None

    def expire(self) -> None:
        """Act on the deadlines that have passed."""
        now = time.monotonic()
        due = [job for job in self._by_call.values() if job.deadline is not None and job.deadline <= now]
        if due:
            self.collect()  # what has ended by itself meanwhile did not time out
        for job in due:
            if job.is_answered or job.give_up_at is not None:
                continue
            job.deadline = None
            if job.is_background:
                self._answer(job)
            elif job.status is None:
                job.timed_out = True
                self._kill(job)
            else:
                self._settle(job)

    def collect(self) -> None:
        """Take note of the children that have ended."""
        sessions = set(self._adopted.values())
        ended: List[Job] = []
        for pid, status in kernel.reap():
            self._adopted.pop(pid, None)
            job = self._by_pid.pop(pid, None)
            if job is not None:
                job.end(status)
                ended.append(job)
        self._adopt(ended, sessions)
        for job in [*self._by_call.values()]:
            self._settle(job)

    def stop(self) -> None:
        """Kill everything, adopted processes included."""
        end = time.monotonic() + _MOST_DYING_SECONDS
        while True:
            living = kernel.children()
            if not living or time.monotonic() > end:
                return
            kernel.kill_tree(*living)
            time.sleep(_DYING_CHECK_SECONDS)
            kernel.reap()

    def _adopt(self, ended: List[Job], sessions: Set[int]) -> None:
        """Find whose the processes are that became ours when their parents ended.

        A process in the session of a call is that call's, which may have ended since we looked for those that had. One
        that made a session of its own is taken for the call's that has just ended, unless an earlier adopted process
        shares that session.
        """
        by_session = {**self._by_pid, **{job.pid: job for job in ended}}
        for pid in kernel.children() - self._adopted.keys() - self._by_pid.keys():
            session = self._adopted[pid] = kernel.session(pid)
            owner = by_session.get(session)
            if owner is None and ended and session not in sessions:
                owner = ended[0]
            if owner is not None:
                owner.left_behind.append(pid)

    def _kill(self, job: Job) -> None:
        """Kill what a call has started; it is answered once all of that is dead, or cannot be killed."""
        # A process that was waited for has no pid any more: somebody else may have it.
        roots = [job.pid] if job.status is None else job.left_behind
        job.condemned |= kernel.kill_tree(*roots)
        now = time.monotonic()
        job.give_up_at, job.deadline = now + _MOST_DYING_SECONDS, now + _DYING_CHECK_SECONDS

    def _is_over(self, job: Job) -> bool:
        """Whether nothing more is to be waited for but output."""
        if job.give_up_at is None:
            return job.status is not None
        now = time.monotonic()
        job.left_behind = [pid for pid in job.condemned if kernel.is_alive(pid)]
        if (job.left_behind or job.status is None) and now < job.give_up_at:
            job.deadline = now + _DYING_CHECK_SECONDS
            return False
        job.deadline = None
        if job.status is None:
            job.status = signal.SIGKILL
        return True

    def _settle(self, job: Job) -> None:
        """Answer a call whose process has ended, behind what its pipes still hold."""
        if job.is_answered or not self._is_over(job):
            return
        self._drain(job)
        if job.outputs and job.waits_for_credit:
            return
        if job.lingers():
            return
        self._answer(job)

    def _drain(self, job: Job) -> None:
        for fd in list(job.outputs):
            drained = 0
            while drained < _MOST_DRAINED:
                moved = self._pump(job, fd)
                if not moved:
                    break
                drained += moved

    def _answer(self, job: Job) -> None:
        self._by_call.pop(job.call.id, None)
        if job.stdin is not None:
            self._close_input(job)
        value = job.answer()
        self._watch_outputs(job)  # a paused pipe is read on, so that what still writes to it is not blocked
        if not job.outputs:
            job.close_log()
        if job.spools[0].kept + job.spools[1].kept <= MAX_PAYLOAD:
            job.call.reply(value, b"".join([*job.spools[0].read(), *job.spools[1].read()]))
            job.forget_output()
        else:
            self._in_worker(partial(_deliver, job, value))

    def _pump(self, job: Job, fd: int) -> int:
        """Move what one pipe holds, 256 KiB at most; how many bytes that was."""
        if job.waits_for_credit:
            self._unwatch(fd)
            return 0
        most = min(CHUNK, job.call.credit) if job.is_streaming and not job.is_answered else CHUNK
        try:
            data = os.read(fd, most)
        except BlockingIOError:
            return 0
        if data:
            job.take(job.outputs[fd], data)
            return len(data)
        self._unwatch(fd)
        os.close(fd)
        del job.outputs[fd]
        if job.is_answered and not job.outputs:
            job.close_log()
        return 0

    def _ready(self, job: Job, fd: int) -> None:
        """A pipe can be read, or has ended: that may be what the answer waited for."""
        self._pump(job, fd)
        if fd not in job.outputs:
            self._settle(job)

    def _push(self, job: Job) -> None:
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
                self._close_input(job)

    def _close_input(self, job: Job) -> None:
        assert job.stdin is not None
        self._unwatch(job.stdin)
        os.close(job.stdin)
        job.stdin = None
        job.waiting_input.clear()

    def _watch_outputs(self, job: Job) -> None:
        for fd in job.outputs:
            self._watch(fd, selectors.EVENT_READ, partial(self._ready, job, fd))

    def _watch(self, fd: int, events: int, ready: Callable[[], Any]) -> None:
        if fd in self._selector.get_map():
            self._selector.modify(fd, events, ready)
        else:
            self._selector.register(fd, events, ready)

    def _unwatch(self, fd: int) -> None:
        if fd in self._selector.get_map():
            self._selector.unregister(fd)


def _deliver(job: Job, value: Dict[str, Any]) -> None:
    try:
        for spool in job.spools:
            for piece in spool.read():
                job.call.send(piece)
        job.call.reply(value, b"")
    except CallCancelled:
        job.call.refuse(GuestFailure("CANCELLED", "the call was given up"))
    finally:
        job.forget_output()
