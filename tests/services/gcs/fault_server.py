"""A server that speaks the JSON API of Cloud Storage, keeps generations and preconditions, and fails as it is told.

With ``FaultServer()`` in this process, for tests that switch faults; or as a program of its own, for benchmarks
and load: python -m tests.services.gcs.fault_server --latency-ms 40 --bucket bench

It prints its address, which is what STORAGE_EMULATOR_HOST has to be, and runs until its standard input ends.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import NamedTuple

from tests.services.gcs.api import answer_to, failure, operation_of
from tests.services.gcs.faults import Fault, Faults, Operation
from tests.services.gcs.http_messages import Answer, Request, read_request
from tests.services.gcs.objects import Buckets, Problem

__all__ = ["FaultServer", "Seen", "fault_server_process"]

_DRIP_SECONDS = 0.05


class Seen(NamedTuple):
    """One request that arrived."""

    operation: Operation
    name: str
    body_bytes: int
    headers: dict[str, str]


class FaultServer:
    """Runs in a thread of its own while it is entered.

    Attributes:
        url: Where it listens.
        buckets: What it stores; change it only while nobody asks.
        faults: What goes wrong.
        latency_seconds: Added to each request.
        seen: Every request, faulty ones included.
    """

    def __init__(self, *buckets: str, latency_seconds: float = 0.0) -> None:
        self.url = ""
        self.buckets = Buckets()
        self.buckets.objects = {name: {} for name in buckets}
        self.faults = Faults()
        self.latency_seconds = latency_seconds
        self.seen: list[Seen] = []
        self._loop = asyncio.new_event_loop()
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._serving: asyncio.Task[None] | None = None
        self._writers: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._never = asyncio.Event()

    def __enter__(self) -> FaultServer:
        self._thread.start()
        self._ready.wait()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._loop.call_soon_threadsafe(self._stop)
        self._thread.join()
        self._loop.close()

    def count(self, *operations: Operation) -> int:
        """How many requests there were of these kinds."""
        return sum(seen.operation in operations for seen in self.seen)

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._serving = self._loop.create_task(self._serve())
        with contextlib.suppress(asyncio.CancelledError):
            self._loop.run_until_complete(self._serving)
        for task in self._tasks:
            task.cancel()
        self._loop.run_until_complete(_turn())
        for writer in self._writers:
            writer.transport.abort()
        self._loop.run_until_complete(_turn())

    def _stop(self) -> None:
        assert self._serving is not None
        self._serving.cancel()

    async def _serve(self) -> None:
        server = await asyncio.start_server(self._accept, "127.0.0.1", 0, limit=1 << 20)
        host, port = server.sockets[0].getsockname()
        self.url = f"http://{host}:{port}"
        self._ready.set()
        try:
            await self._never.wait()
        finally:
            # A connection that is accepted while its server closes would never be closed itself.
            for listening in server.sockets:
                self._loop.remove_reader(listening.fileno())
            await _turn()
            server.close()

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        task = self._loop.create_task(self._connection(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while request := await read_request(reader):
                if not await self._request(request, writer):
                    return
        except (ConnectionError, asyncio.CancelledError):
            return  # the client has left, or the test ends
        finally:
            writer.close()

    async def _request(self, request: Request, writer: asyncio.StreamWriter) -> bool:
        """Answer; whether the connection can be used again."""
        try:
            operation, _, name = operation_of(request)
        except Problem as problem:
            return await _send(writer, failure(problem, is_media=False))
        self.seen.append(Seen(operation, name, len(request.body), request.headers))
        if self.latency_seconds:
            await asyncio.sleep(self.latency_seconds)
        fault = self.faults.meet(operation, name)
        kind = fault.kind if fault else None
        if kind == "dropped":
            writer.transport.abort()
            return False
        answer = self._answer(request, operation, fault)
        if kind == "lost":
            writer.transport.abort()
            return False
        if kind == "hang":
            await self._never.wait()
        if kind == "cut":
            writer.write(answer.head() + answer.body[: len(answer.body) // 2])
            await writer.drain()
            return False
        if kind == "drip":
            return await _drip(writer, answer)
        return await _send(writer, answer)

    def _answer(self, request: Request, operation: Operation, fault: Fault | None) -> Answer:
        kind = fault.kind if fault else None
        is_media = operation == "download"
        try:
            if fault and kind == "status":
                answer = failure(Problem(fault.status, fault.reason, fault.message), is_media=is_media)
                if fault.retry_after is not None:
                    answer.headers["Retry-After"] = fault.retry_after
                return answer
            if kind == "corrupt_upload":
                # The content's last byte: of the second part, or all there is.
                end = request.body.rfind(b"\r\n--") if request.method == "POST" else len(request.body)
                request.body = _with_other_byte(request.body, end - 1)
            answer = answer_to(request, self.buckets)
        except Problem as problem:
            return failure(problem, is_media=is_media)
        if kind == "corrupt" and answer.body:
            answer.body = _with_other_byte(answer.body, len(answer.body) // 2)
        if kind == "garbage":
            answer.body = b"<html>not what you asked for</html>"
        return answer


async def _turn() -> None:
    """What the loop has begun goes on for a few steps."""
    for _ in range(5):
        await asyncio.sleep(0)


def _with_other_byte(data: bytes, position: int) -> bytes:
    return data[:position] + bytes([data[position] ^ 1]) + data[position + 1 :]


async def _send(writer: asyncio.StreamWriter, answer: Answer) -> bool:
    writer.write(answer.head())
    writer.write(answer.body)
    await writer.drain()
    return True


async def _drip(writer: asyncio.StreamWriter, answer: Answer) -> bool:
    for byte in answer.head() + answer.body:
        writer.write(bytes([byte]))
        await writer.drain()
        await asyncio.sleep(_DRIP_SECONDS)
    return True


@contextlib.contextmanager
def fault_server_process(*buckets: str, latency_ms: float = 0.0) -> Iterator[str]:
    """A server in a process of its own; its address."""
    command = [sys.executable, "-m", __name__ if __name__ != "__main__" else "tests.services.gcs.fault_server"]
    command += [f"--latency-ms={latency_ms}", *(f"--bucket={bucket}" for bucket in buckets)]
    checkout = Path(__file__).resolve().parents[3]
    with subprocess.Popen(command, cwd=checkout, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            yield process.stdout.readline().strip()
        finally:
            process.stdin.close()
            process.wait()


def main() -> None:
    """Serve until standard input ends."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--latency-ms", type=float, default=0.0, help="added to each request")
    parser.add_argument("--bucket", action="append", default=[], help="a bucket that exists; may be repeated")
    options = parser.parse_args()
    with FaultServer(*options.bucket, latency_seconds=options.latency_ms / 1000) as server:
        print(server.url, flush=True)
        sys.stdin.read()


if __name__ == "__main__":
    main()
