"""A side of ``bench_state`` in a process of its own: what it takes is its own."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import resource
import time
import traceback
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import requests.adapters
from _keepers import KEEPERS, Keeper

__all__ = ["Cost", "Side"]


@dataclass(frozen=True)
class Cost:
    """What one phase took.

    Attributes:
        peak: Resident bytes of the process that saves or restores, at most; of a program it runs, if that took more.
        requests: To the bucket; ``sent`` and ``received`` are bytes of their contents.
        guest: Of the environment's own process: resident bytes at most, CPU seconds, bytes read from files and host.
    """

    seconds: float
    peak: int
    requests: int
    sent: int
    received: int
    guest: dict[str, float] | None


class Side:
    """Runs one keeper.

    Raises:
        SystemExit: It failed; its own message is printed.
    """

    def __init__(self, name: str, workspace: Path, store: Path) -> None:
        self.name = name
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs, name, workspace, store), daemon=True)
        self._process.start()
        theirs.close()

    def run(self, call: str, *arguments: Path) -> Cost | None:
        """One call of the keeper; None if it has no such ability."""
        try:
            self._pipe.send((call, arguments))
            answer = self._pipe.recv()
        except (EOFError, OSError) as error:
            raise SystemExit(f"{self.name} ended by itself") from error
        if isinstance(answer, str):
            raise SystemExit(f"{self.name}: {answer}")
        assert answer is None or isinstance(answer, Cost)
        return answer

    def close(self) -> None:
        self._pipe.send(None)
        self._process.join()


class _Traffic:
    """Counts what passes through ``requests``, which every client of a bucket here uses."""

    def __init__(self) -> None:
        self.requests = self.sent = self.received = 0
        send = requests.adapters.HTTPAdapter.send

        def counting(adapter: Any, request: Any, *arguments: Any, **named: Any) -> Any:
            answer = send(adapter, request, *arguments, **named)
            self.requests += 1
            self.sent += int(request.headers.get("Content-Length") or 0)
            self.received += int(answer.headers.get("Content-Length") or 0)
            return answer

        requests.adapters.HTTPAdapter.send = counting  # type: ignore[method-assign, assignment]

    def take(self) -> tuple[int, int, int]:
        """Since it was last asked."""
        found = self.requests, self.sent, self.received
        self.requests = self.sent = self.received = 0
        return found


def _serve(pipe: Connection, name: str, workspace: Path, store: Path) -> None:
    traffic = _Traffic()
    keeper = KEEPERS[name](workspace, store)
    while (order := pipe.recv()) is not None:
        try:
            pipe.send(_measured(keeper, traffic, *order))
        except Exception:
            pipe.send(traceback.format_exc())
    keeper.close()


def _measured(keeper: Keeper, traffic: _Traffic, call: str, arguments: tuple[Path, ...]) -> Cost | None:
    before = _Guest(keeper.guest())
    _forget_peak(os.getpid())
    traffic.take()
    started = time.perf_counter()
    try:
        getattr(keeper, call)(*arguments)
    except NotImplementedError:
        return None
    seconds = time.perf_counter() - started
    programs = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024 if before.pid is None else 0
    peak = max(_memory(os.getpid()), programs)
    return Cost(seconds, peak, *traffic.take(), _Guest(keeper.guest()).since(before))


class _Guest:
    """What a guest has used so far."""

    def __init__(self, pid: int | None) -> None:
        self.pid = pid
        if pid is not None:
            # utime and stime (proc(5), fields 14 and 15 of /proc/pid/stat)
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            self.cpu = (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
            self.read = int(Path(f"/proc/{pid}/io").read_text().splitlines()[0].split()[1])

    def since(self, before: _Guest) -> dict[str, float] | None:
        """The difference; a restore starts an environment of its own, whose guest has used nothing before."""
        if self.pid is None:
            return None
        cpu, read = (before.cpu, before.read) if self.pid == before.pid else (0.0, 0)
        return {"peak": _memory(self.pid), "cpu_seconds": round(self.cpu - cpu, 3), "bytes_read": self.read - read}


def _forget_peak(pid: int) -> None:
    # 5: "reset the peak resident set size" (proc(5), /proc/pid/clear_refs); not in every sandbox
    with contextlib.suppress(OSError):
        Path(f"/proc/{pid}/clear_refs").write_text("5")


def _memory(pid: int) -> int:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    raise LookupError(f"no VmHWM in the status of process {pid}")
