"""An E2B of one's own on loopback: ``with E2BServer() as server`` and the genuine SDK talks to it.

python -m tests.services.e2b.server    serves until interrupted, and prints the variables to set
"""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import socket
import tempfile
import threading
from pathlib import Path
from types import TracebackType
from typing import Self

import uvicorn
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.types import Message, Receive, Scope, Send
from tests.services.e2b.control import Control
from tests.services.e2b.faults import Fault, Faults, Recorded
from tests.services.e2b.sandboxes import Sandboxes

__all__ = ["E2BServer"]


class E2BServer:
    """Serves in a thread of this process; every sandbox is a process tree of its own.

    Attributes:
        url: For ``E2B_API_URL`` and ``E2B_SANDBOX_URL``.
        faults: Latency, faults, and the record of requests.
    """

    def __init__(self, keys: set[str] | None = None) -> None:
        if shutil.which("bwrap") is None:
            raise RuntimeError("bubblewrap is missing; install it with: apt-get install bubblewrap")
        self._directory = Path(tempfile.mkdtemp(prefix="omniagents-e2b-"))
        self.sandboxes = Sandboxes(self._directory)
        self.faults = Faults()
        self._control = Control(self.sandboxes, self.faults, keys)
        self._routes = self._control.app()
        self._streams: set[Send] = set()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._socket = socket.create_server(("127.0.0.1", 0))
        # Connections inherit it. Else a body waits 40 ms for the client to acknowledge the headers.
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.url = f"http://127.0.0.1:{self._socket.getsockname()[1]}"
        config = uvicorn.Config(
            self._app, interface="asgi3", log_level="critical", lifespan="off", timeout_graceful_shutdown=0
        )
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._server.run, args=([self._socket],), daemon=True)

    @property
    def variables(self) -> dict[str, str]:
        """Environment variables that point the SDK here."""
        return {"E2B_API_URL": self.url, "E2B_SANDBOX_URL": self.url, "E2B_API_KEY": f"e2b_{'0' * 40}"}

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.should_exit = True
        self._thread.join(10)
        self.sandboxes.close()
        self._socket.close()
        shutil.rmtree(self._directory, ignore_errors=True)

    def cut_streams(self) -> None:
        """Drop the connections that carry the output of commands, as proxies and deployments do."""
        assert self._loop is not None
        for send in [*self._streams]:
            self._loop.call_soon_threadsafe(_drop, send)

    async def _app(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        recorded = Recorded(
            request.method,
            request.url.path,
            request.url.query,
            dict(request.headers),
            request.headers.get("e2b-sandbox-id"),
        )
        fault = self.faults.take(recorded) or Fault("")
        await asyncio.sleep(self.faults.latency_seconds + fault.delay_seconds)
        if fault.drops:
            _drop(send)
            return
        if fault.status is not None:
            answer = JSONResponse(
                {"code": fault.status, "message": "a fault of the test's"}, fault.status, fault.headers
            )
            await answer(scope, receive, send)
            return
        self._loop = asyncio.get_running_loop()
        response = await self._control(request)
        left = 0 if fault.loses_answer else fault.cut_after

        async def limited(message: Message) -> None:
            nonlocal left
            if left is not None:
                left -= len(message.get("body", b""))
                if left < 0 or fault.loses_answer:
                    _drop(send)
                    return
            await send(message)

        is_stream = request.url.path.startswith("/process.Process/") and request.url.path.endswith(
            ("/Start", "/Connect")
        )
        self._streams |= {send} if is_stream else set()
        try:
            await (self._routes if response is None else response)(scope, receive, limited)
        finally:
            self._streams.discard(send)


def _drop(send: Send) -> None:
    """Reset the connection. ASGI has no word for it, but the function is a method of what has uvicorn's transport."""
    send.__self__.transport.abort()  # type: ignore[attr-defined]


def main() -> None:
    """Serve until interrupted."""
    with E2BServer() as server, contextlib.suppress(KeyboardInterrupt):
        print("\n".join(f"export {name}={value}" for name, value in server.variables.items()), flush=True)
        threading.Event().wait()


if __name__ == "__main__":
    main()
