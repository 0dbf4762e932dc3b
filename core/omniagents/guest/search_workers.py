"""Forked processes that share a search, because a regular expression that runs away can only be killed.

Every worker is connected by a socket pair: chunks of paths go in, results come out, both as a
length and that many bytes. Results are handed on in the order of the chunks, so that what is found
does not depend on the number of workers.
"""

from __future__ import annotations

import contextlib
import gc
import itertools
import json
import os
import select
import signal
import socket
import struct
import time
import traceback
import warnings
from collections import deque
from typing import Any, Callable, Deque, Dict, Iterator, List, NamedTuple

from .search_files import ChunkResult, Searcher

__all__ = ["CannotFork", "Chunk", "in_workers", "lost", "worker_count"]

_MAX_WORKERS = 8
_QUEUED_CHUNKS = 2
_WINDOW_CHUNKS = 64
_GRACE_SECONDS = 1.0
_POLL_SECONDS = 0.1
_LENGTH = struct.Struct("!I")


class Chunk(NamedTuple):
    """Files to search, and what the walk had passed over until then."""

    paths: List[str]
    skipped: Dict[str, Dict[str, Any]]


class CannotFork(Exception):
    """Not even one worker could be started."""


def worker_count() -> int:
    """How many processes may work at once here."""
    return max(1, min(len(os.sched_getaffinity(0)), _MAX_WORKERS))


def in_workers(
    searcher: Searcher, chunks: Iterator[Chunk], count: int, file_seconds: float, check: Callable[[], None]
) -> Iterator[ChunkResult]:
    """Yield each chunk's result, in order; the chunks of a worker that dies or overruns come back as ``lost``.

    Args:
        count: Workers at most.
        file_seconds: Processor time for one file.
        check: Called several times a second; may raise to stop.

    Raises:
        CannotFork: No worker could be started.
    """
    pool = _Pool(searcher, file_seconds)
    try:
        yield from pool.run(chunks, count, check)
    finally:
        pool.close()


def lost(chunk: Chunk) -> ChunkResult:
    """The result of a chunk that nobody could finish."""
    return {"files": [], "searched": 0, "skipped": {}, "unfinished": chunk.paths, "is_full": False}


class _Worker:
    """One process, and the numbers of the chunks it has been given."""

    def __init__(self, pid: int, channel: socket.socket) -> None:
        self.pid = pid
        self.channel = channel
        self.queue: Deque[int] = deque()
        self._received = bytearray()

    def give(self, number: int, chunk: Chunk) -> None:
        self.queue.append(number)
        body = b"\0".join(os.fsencode(path) for path in chunk.paths)
        self.channel.sendall(_LENGTH.pack(len(body)) + body)

    def results(self) -> List[ChunkResult] | None:
        """The results that have arrived; None once the worker is gone."""
        data = self.channel.recv(1 << 16)
        if not data:
            return None
        self._received += data
        whole = []
        while len(self._received) >= _LENGTH.size:
            end = _LENGTH.size + _LENGTH.unpack_from(self._received)[0]
            if len(self._received) < end:
                break
            whole.append(json.loads(bytes(self._received[_LENGTH.size : end])))
            del self._received[:end]
        return whole

    def end(self) -> None:
        self.channel.close()
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)
        with contextlib.suppress(ChildProcessError):  # whoever waits for any child may have been first
            os.waitpid(self.pid, 0)


class _Pool:
    """The workers of one search."""

    def __init__(self, searcher: Searcher, file_seconds: float) -> None:
        self._searcher = searcher
        self._file_seconds = file_seconds
        self._workers: Dict[int, _Worker] = {}
        self._poll = select.poll()
        self._issued: Dict[int, Chunk] = {}
        self._results: Dict[int, ChunkResult] = {}
        self._next_out = self._next_in = 0

    def run(self, chunks: Iterator[Chunk], count: int, check: Callable[[], None]) -> Iterator[ChunkResult]:
        self._start(1)
        waiting: Deque[Chunk] = deque(itertools.islice(chunks, 2))
        if len(waiting) == 2:
            self._start(count - 1)

        def take() -> Chunk | None:
            return waiting.popleft() if waiting else next(chunks, None)

        self._feed(take)
        while self._issued:
            check()
            self._receive()
            if time.monotonic() > self._searcher.deadline + _GRACE_SECONDS:
                self._give_up(list(self._workers))
            yield from self._ready()
            if time.monotonic() < self._searcher.deadline:
                self._feed(take)

    def close(self) -> None:
        for worker in self._workers.values():
            worker.end()
        self._workers.clear()

    def _start(self, count: int) -> None:
        for _ in range(count):
            try:
                worker = _forked(self._searcher, self._file_seconds)
            except OSError as error:
                if self._workers:
                    return
                raise CannotFork from error
            descriptor = worker.channel.fileno()
            self._workers[descriptor] = worker
            self._poll.register(descriptor, select.POLLIN)

    def _feed(self, take: Callable[[], Chunk | None]) -> None:
        for depth in range(_QUEUED_CHUNKS):
            for descriptor, worker in list(self._workers.items()):
                if len(worker.queue) > depth or self._next_in - self._next_out >= _WINDOW_CHUNKS:
                    continue
                chunk = take()
                if chunk is None:
                    return
                self._issued[self._next_in] = chunk
                number, self._next_in = self._next_in, self._next_in + 1
                try:
                    worker.give(number, chunk)
                except OSError:
                    self._give_up([descriptor])

    def _receive(self) -> None:
        for descriptor, _ in self._poll.poll(_POLL_SECONDS * 1000):
            worker = self._workers.get(descriptor)
            if worker is None:
                continue
            try:
                results = worker.results()
            except OSError:
                results = None
            if results is None:
                self._give_up([descriptor])
                continue
            for result in results:
                if "failure" in result:
                    raise RuntimeError("a search worker failed:\n" + result["failure"])
                self._results[worker.queue.popleft()] = result

    def _give_up(self, descriptors: List[int]) -> None:
        for descriptor in descriptors:
            worker = self._workers.pop(descriptor)
            self._poll.unregister(descriptor)
            worker.end()
            for number in worker.queue:
                self._results[number] = lost(self._issued[number])

    def _ready(self) -> Iterator[ChunkResult]:
        while self._next_out in self._results:
            result = self._results.pop(self._next_out)
            result["passed_over"] = self._issued.pop(self._next_out).skipped
            self._next_out += 1
            yield result


def _forked(searcher: Searcher, file_seconds: float) -> _Worker:
    ours, theirs = socket.socketpair()
    try:
        with warnings.catch_warnings():
            # The child of a process with threads may not take locks; this one only reads, matches and writes.
            warnings.simplefilter("ignore", DeprecationWarning)
            pid = os.fork()
    except OSError:
        ours.close()
        theirs.close()
        raise
    if pid == 0:
        try:
            _be_worker(theirs.detach(), searcher, file_seconds)
        finally:
            os._exit(0)
    theirs.close()
    ours.settimeout(max(0.1, searcher.deadline + _GRACE_SECONDS - time.monotonic()))
    return _Worker(pid, ours)


def _be_worker(channel: int, searcher: Searcher, file_seconds: float) -> None:
    gc.disable()
    _leave_the_parent(channel)
    left = max(0.1, searcher.deadline + 2 * _GRACE_SECONDS - time.monotonic())
    # If the guest is gone there is nobody left to kill a worker that hangs, so the kernel does.
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.setitimer(signal.ITIMER_REAL, left)
    timed = _Timer(file_seconds)
    while True:
        header = _read_exactly(channel, _LENGTH.size)
        if not header:
            return
        body = _read_exactly(channel, _LENGTH.unpack(header)[0])
        result = _searched(searcher, [os.fsdecode(path) for path in body.split(b"\0")] if body else [], timed)
        answer = json.dumps(result, separators=(",", ":")).encode()
        _write_all(channel, _LENGTH.pack(len(answer)) + answer)


def _searched(searcher: Searcher, paths: List[str], timed: _Timer) -> ChunkResult:
    try:
        return searcher.chunk(paths, timed)
    except Exception:
        return {"failure": traceback.format_exc()}


def _leave_the_parent(channel: int) -> None:
    """Let go of the guest's descriptors (its host must see it end) and of its signal handlers."""
    signal.set_wakeup_fd(-1)
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGCHLD, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)
    for name in os.listdir("/proc/self/fd") if os.path.isdir("/proc/self/fd") else map(str, range(1024)):
        if int(name) != channel:
            with contextlib.suppress(OSError):
                os.close(int(name))


class _Timer:
    """Runs a function for a limited processor time; sre looks for signals while it matches."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._armed = False
        signal.signal(signal.SIGPROF, self._expired)

    def __call__(self, function: Callable[[], Any]) -> Any:
        self._armed = True
        signal.setitimer(signal.ITIMER_PROF, self._seconds)
        try:
            return function()
        finally:
            self._armed = False
            signal.setitimer(signal.ITIMER_PROF, 0)

    def _expired(self, _number: int, _frame: Any) -> None:
        if self._armed:
            raise TimeoutError


def _read_exactly(descriptor: int, size: int) -> bytes:
    pieces = []
    while size:
        piece = os.read(descriptor, size)
        if not piece:
            return b""
        pieces.append(piece)
        size -= len(piece)
    return b"".join(pieces)


def _write_all(descriptor: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]
