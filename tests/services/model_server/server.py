"""The server itself: uvicorn in a thread, on a port of the loopback interface that was free."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
from collections.abc import AsyncIterator, Iterator, Mapping
from types import ModuleType, TracebackType
from typing import Any, Final, Literal, Self

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request as HTTPRequest
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route
from tests.services.model_server import anthropic_messages, openai_chat, openai_responses
from tests.services.model_server.received import Request

from omniagents.testing.scripts import Failure, Script, Step, Turn

__all__ = ["ModelServer"]

_API = Literal["openai", "responses", "anthropic"]
_PATHS: Final[dict[str, tuple[_API, ModuleType]]] = {
    "/v1/chat/completions": ("openai", openai_chat),
    "/v1/responses": ("responses", openai_responses),
    "/v1/messages": ("anthropic", anthropic_messages),
}

_POLL_SECONDS = 0.01
_WAIT_SECONDS = 60.0


class ModelServer:
    """A model's API that answers from a script.

    Args:
        script: The steps in order; or one function that answers every request; or a mapping of such, one for each
            name of a model.

    Attributes:
        openai_url: What OpenAI's clients take as ``base_url``.
        anthropic_url: What Anthropic's clients take as ``base_url``.
        requests: Every request so far, in the order they came.
    """

    def __init__(self, script: Script | Mapping[str, Script]) -> None:
        scripts = script if isinstance(script, Mapping) else {"": script}
        self._next = {name: _steps(steps) for name, steps in scripts.items()}
        self.requests: list[Request] = []
        self._arrival = threading.Condition()
        self._failures: list[Exception] = []
        self._socket = socket.socket()
        routes = [Route(path, self._answer, methods=["POST"]) for path in _PATHS]
        # Its own logging would end in the output of the tests, a traceback for each answer that is cut off.
        config = uvicorn.Config(
            Starlette(routes=routes), http="h11", ws="none", loop="asyncio", lifespan="off", log_config=None,
            log_level="critical", access_log=False, timeout_graceful_shutdown=1,
        )  # fmt: skip
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._server.run, kwargs={"sockets": [self._socket]}, daemon=True)

    def __enter__(self) -> Self:
        self._socket.bind(("127.0.0.1", 0))
        # A client that is quicker than the thread waits in the queue of the socket.
        self._socket.listen(128)
        address = f"http://127.0.0.1:{self._socket.getsockname()[1]}"
        self.openai_url, self.anthropic_url = f"{address}/v1", address
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.should_exit = True
        self._thread.join(_WAIT_SECONDS)
        self._socket.close()
        if self._failures and error is None:
            raise self._failures[0]

    def wait_for_requests(self, count: int) -> None:
        """Wait until ``count`` requests have come.

        Raises:
            TimeoutError: They have not within a minute.
        """
        with self._arrival:
            if not self._arrival.wait_for(lambda: len(self.requests) >= count, _WAIT_SECONDS):
                raise TimeoutError(f"{len(self.requests)} of {count} requests came")

    async def _answer(self, http: HTTPRequest) -> Response:
        api, wire = _PATHS[http.url.path]
        request = Request(api, dict(http.headers), json.loads(await http.body()))
        with self._arrival:
            self.requests.append(request)
            self._arrival.notify_all()
        number = len(self.requests)
        turn = self._turn(request)
        if isinstance(turn, Failure):
            headers = {} if turn.retry_after is None else {"retry-after": f"{turn.retry_after:g}"}
            return JSONResponse(wire.error(turn), turn.status, headers)
        await self._opened(turn.gate)
        return _response(wire, turn, request.body, number)

    def _turn(self, request: Request) -> Turn | Failure:
        steps = self._next.get(request.model, self._next.get(""))
        step = None if steps is None else next(steps, None)
        if step is None:
            return Failure(400, message=f"the script for {request.model!r} has no more turns")
        if not callable(step):
            return step
        try:
            return step(request)
        except Exception as failure:
            self._failures.append(failure)
            return Failure(400, message=f"the script failed: {failure!r}")

    async def _opened(self, gate: threading.Event | None) -> None:
        while gate is not None and not gate.is_set() and not self._server.should_exit:
            await asyncio.sleep(_POLL_SECONDS)


def _steps(script: Script) -> Iterator[Step]:
    if callable(script):
        while True:
            yield script
    yield from script


def _response(wire: ModuleType, turn: Turn, body: Mapping[str, Any], number: int) -> Response:
    if body.get("stream"):
        events = list(wire.stream(turn, body, number))
        if turn.cut_off:
            return StreamingResponse(_broken("".join(events[: len(events) // 2])), media_type="text/event-stream")
        return StreamingResponse(iter(events), media_type="text/event-stream")
    if turn.cut_off:
        text = json.dumps(wire.whole(turn, body, number))
        return StreamingResponse(_broken(text[: len(text) // 2]), media_type="application/json")
    return JSONResponse(wire.whole(turn, body, number))


async def _broken(text: str) -> AsyncIterator[str]:
    yield text
    # Uvicorn closes the connection without the last chunk when an application fails: what a client sees of a line
    # that was cut.
    raise ConnectionAbortedError("cut off by the script")
