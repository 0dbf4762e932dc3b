"""A server for restic's REST backend with the bucket's own machinery: the same latency, memory and checksums.

Debian's restic 0.14 asks Google itself whatever ``STORAGE_EMULATOR_HOST`` says, and its protocol for servers of its
own is much like a bucket's: an object for a request, ranges when reading. Run as a program, it prints its address
and serves until its standard input ends.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from tests.services.gcs.fault_server import FaultServer
from tests.services.gcs.http_messages import Answer, Request
from tests.services.gcs.objects import Problem

__all__ = ["restic_server_process"]

_BUCKET = "restic"
_RANGE = re.compile(r"bytes=(\d+)-(\d*)\Z")
_LIST = "application/vnd.x.restic.rest.v2"


class ResticServer(FaultServer):
    """Speaks restic's protocol (restic, "REST Backend") instead of the bucket's."""

    async def _request(self, request: Request, writer: asyncio.StreamWriter) -> bool:
        await asyncio.sleep(self.latency_seconds)
        try:
            answer = self._done(request)
        except Problem as problem:
            answer = Answer(problem.status, problem.message.encode())
        writer.write(answer.head())
        if request.method != "HEAD":
            writer.write(answer.body)
        await writer.drain()
        return True

    def _done(self, request: Request) -> Answer:
        name = request.path.strip("/")
        match request.method:
            case "POST" if request.query.get("create") == "true":
                return Answer(200)
            case "POST":
                self.buckets.write(_BUCKET, name, request.body, {"ifGenerationMatch": "0"}, {})
                return Answer(200)
            case "DELETE":
                self.buckets.delete(_BUCKET, name, {})
                return Answer(200)
            case "GET" if request.path.endswith("/"):
                return self._listed(name)
        data = self.buckets.read(_BUCKET, name, {}).data
        wanted = _RANGE.match(request.headers.get("range", ""))
        if wanted is None:
            return Answer(200, data)
        start, last = int(wanted[1]), int(wanted[2] or len(data) - 1)
        part = data[start : last + 1]
        return Answer(206, part, {"Content-Range": f"bytes {start}-{start + len(part) - 1}/{len(data)}"})

    def _listed(self, kind: str) -> Answer:
        blobs = self.buckets.objects[_BUCKET].items()
        found = [(name.partition("/")[2], len(blob.data)) for name, blob in blobs if name.startswith(f"{kind}/")]
        listing = [{"name": name, "size": size} for name, size in found]
        return Answer(200, json.dumps(listing).encode(), {"Content-Type": _LIST})


@contextlib.contextmanager
def restic_server_process(latency_ms: float) -> Iterator[str]:
    """A server in a process of its own; what restic calls its repository."""
    command = [sys.executable, __file__, f"--latency-ms={latency_ms}"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            yield f"rest:{process.stdout.readline().strip()}/"
        finally:
            process.stdin.close()
            process.wait()


def main() -> None:
    """Serve until standard input ends."""
    parser = argparse.ArgumentParser(description="restic's REST backend, in memory")
    parser.add_argument("--latency-ms", type=float, default=0.0, help="added to each request")
    with ResticServer(_BUCKET, latency_seconds=parser.parse_args().latency_ms / 1000) as server:
        print(server.url, flush=True)
        sys.stdin.read()


if __name__ == "__main__":
    main()
