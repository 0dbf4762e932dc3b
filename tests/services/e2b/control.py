"""E2B's control plane, and the proxy in front of every sandbox's data plane, on one port."""

from __future__ import annotations

import asyncio
import json
from collections import defaultdict
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qsl, unquote

import httpx
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route
from starlette.types import ASGIApp
from tests.services.e2b.faults import Faults
from tests.services.e2b.sandboxes import ENVD_VERSION, Sandbox, Sandboxes

_HOP_BY_HOP = {"connection", "keep-alive", "transfer-encoding", "upgrade", "host", "date", "server"}


class Control:
    """The routes. ``keys`` are the API keys that are accepted; None accepts every one that is not empty."""

    def __init__(self, sandboxes: Sandboxes, faults: Faults, keys: set[str] | None = None) -> None:
        self.sandboxes = sandboxes
        self.faults = faults
        self.keys = keys
        self._clients: dict[str, httpx.AsyncClient] = {}
        # Set when the sandbox is paused, by id.
        self._paused: defaultdict[str, asyncio.Event] = defaultdict(asyncio.Event)

    def app(self) -> ASGIApp:
        """The application to serve."""
        routes = [
            Route("/v2/sandboxes", self._create, methods=["POST"]),
            Route("/v2/sandboxes", self._list, methods=["GET"]),
            Route("/v2/sandboxes/{id}/connect", self._connect, methods=["POST"]),
            Route("/sandboxes/{id}", self._get, methods=["GET"]),
            Route("/sandboxes/{id}", self._kill, methods=["DELETE"]),
            Route("/sandboxes/{id}/timeout", self._set_timeout, methods=["POST"]),
            Route("/sandboxes/{id}/pause", self._pause, methods=["POST"]),
            Route("/sandboxes/{id}/snapshots", self._snapshot, methods=["POST"]),
            Route("/sandboxes/{id}/network", self._network, methods=["PUT"]),
            Route("/templates/{id:path}", self._delete_template, methods=["DELETE"]),
            Route("/{path:path}", self._nowhere, methods=["GET", "POST", "PUT", "DELETE"]),
        ]
        return Starlette(routes=routes)

    async def __call__(self, request: Request) -> Response | None:
        """The data plane's answer to a request for a sandbox; None for the control plane's business."""
        sandbox_id = request.headers.get("e2b-sandbox-id")
        if sandbox_id is None:
            key = request.headers.get("x-api-key", "")
            if not key or (self.keys is not None and key not in self.keys):
                return _error(401, "unauthorized: invalid API key")
            return None
        sandbox = await asyncio.to_thread(self.sandboxes.find, sandbox_id)
        if sandbox is None or sandbox.state != "running":
            return JSONResponse(
                {"sandboxId": sandbox_id, "message": "The sandbox was not found", "code": 502}, status_code=502
            )
        if request.headers.get("x-access-token") != sandbox.token:
            return _error(401, "unauthorized: invalid access token")
        return await self._forward(request, sandbox)

    async def _forward(self, request: Request, sandbox: Sandbox) -> Response:
        client = self._clients.get(sandbox.id)
        if client is None:
            transport = httpx.AsyncHTTPTransport(uds=sandbox.socket, limits=httpx.Limits(max_keepalive_connections=0))
            client = self._clients[sandbox.id] = httpx.AsyncClient(transport=transport, timeout=None)
        headers = {name: value for name, value in request.headers.items() if name not in _HOP_BY_HOP}
        url = httpx.URL("http://envd", path=request.url.path, query=request.url.query.encode() or None)
        body = request.stream() if request.method == "POST" else None
        forwarded = client.build_request(request.method, url, headers=headers, content=body)
        try:
            answer = await client.send(forwarded, stream=True)
        except httpx.TransportError:
            message = f"The sandbox is running but port is not open on {sandbox.id}"
            return JSONResponse({"sandboxId": sandbox.id, "message": message, "code": 502}, status_code=502)
        kept = {name: value for name, value in answer.headers.items() if name not in _HOP_BY_HOP}
        return StreamingResponse(_pieces(answer, self._paused[sandbox.id]), answer.status_code, kept)

    async def _create(self, request: Request) -> Response:
        body = await request.json()
        try:
            key = request.headers.get("idempotency-key")
            sandbox = await asyncio.to_thread(self.sandboxes.create, body, key)
        except KeyError:
            return _error(404, f"template '{body['templateID']}' not found")
        return JSONResponse(_described(sandbox), status_code=201)

    async def _connect(self, request: Request) -> Response:
        sandbox = await self._found(request)
        if sandbox is None:
            return _missing(request)
        body = await request.json()
        was_paused = sandbox.state == "paused"
        if was_paused:
            await asyncio.to_thread(sandbox.resume)
            self._clients.pop(sandbox.id, None)
        # Connecting never shortens a life.
        left = (sandbox.end_at - datetime.now(UTC)).total_seconds()
        sandbox.extend(max(body.get("timeout", 300), 0 if was_paused else left))
        return JSONResponse(_described(sandbox), status_code=201 if was_paused else 200)

    async def _get(self, request: Request) -> Response:
        sandbox = await self._found(request)
        return _missing(request) if sandbox is None else JSONResponse(_detailed(sandbox))

    async def _kill(self, request: Request) -> Response:
        sandbox = await self._found(request)
        if sandbox is None:
            return _missing(request)
        await asyncio.to_thread(sandbox.kill)
        return Response(status_code=204)

    async def _set_timeout(self, request: Request) -> Response:
        sandbox = await self._found(request)
        if sandbox is None or sandbox.state != "running":
            return _missing(request)
        sandbox.extend((await request.json())["timeout"])
        return Response(status_code=204)

    async def _pause(self, request: Request) -> Response:
        sandbox = await self._found(request)
        if sandbox is None:
            return _missing(request)
        if sandbox.state == "paused":
            return _error(409, f"sandbox {sandbox.id} is already paused")
        body = json.loads(await request.body() or b"{}")
        await asyncio.to_thread(sandbox.pause, body.get("memory", True))
        self._paused.pop(sandbox.id, asyncio.Event()).set()
        return Response(status_code=204)

    async def _snapshot(self, request: Request) -> Response:
        sandbox = await self._found(request)
        if sandbox is None:
            return _missing(request)
        name = await asyncio.to_thread(self.sandboxes.snapshot, sandbox)
        return JSONResponse({"snapshotID": name, "names": []}, status_code=201)

    async def _network(self, request: Request) -> Response:
        sandbox = await self._found(request)
        return _missing(request) if sandbox is None else Response(status_code=204)

    async def _delete_template(self, request: Request) -> Response:
        name = unquote(request.path_params["id"])
        if await asyncio.to_thread(self.sandboxes.delete_snapshot, name):
            return Response(status_code=204)
        return _error(404, f"template '{name}' not found")

    async def _list(self, request: Request) -> Response:
        query = request.query_params
        # Names and values are quoted once more inside.
        wanted = {unquote(name): unquote(value) for name, value in parse_qsl(query.get("metadata", ""))}
        states = query.get("state", "running,paused").split(",")
        found = [
            sandbox
            for sandbox in await asyncio.to_thread(self.sandboxes.living)
            if sandbox.state in states and wanted.items() <= (sandbox.request.get("metadata") or {}).items()
        ]
        start, limit = int(query.get("nextToken", "0")), int(query.get("limit", "100"))
        headers = {"x-next-token": str(start + limit)} if len(found) > start + limit else {}
        return JSONResponse([_detailed(sandbox) for sandbox in found[start : start + limit]], headers=headers)

    async def _nowhere(self, request: Request) -> Response:
        return _error(404, f"no route {request.method} {request.url.path}")

    async def _found(self, request: Request) -> Sandbox | None:
        return await asyncio.to_thread(self.sandboxes.find, request.path_params["id"])


async def _pieces(answer: httpx.Response, paused: asyncio.Event) -> AsyncIterator[bytes]:
    """What the sandbox answers, until it ends or is paused: then the connection breaks."""
    pieces = answer.aiter_raw()
    pausing = asyncio.ensure_future(paused.wait())
    try:
        while True:
            coming = asyncio.ensure_future(anext(pieces))
            # Looked at, whoever is still there to see how it ended.
            coming.add_done_callback(lambda piece: piece.cancelled() or piece.exception())
            await asyncio.wait({coming, pausing}, return_when=asyncio.FIRST_COMPLETED)
            if not coming.done():
                coming.cancel()
                raise ConnectionAbortedError("the sandbox was paused")
            yield await coming
    except StopAsyncIteration:
        return
    finally:
        pausing.cancel()
        await answer.aclose()


def _described(sandbox: Sandbox) -> dict[str, Any]:
    return {
        "templateID": sandbox.template,
        "sandboxID": sandbox.id,
        "clientID": "local",
        "envdVersion": ENVD_VERSION,
        "envdAccessToken": sandbox.token,
        "domain": None,
    }


def _detailed(sandbox: Sandbox) -> dict[str, Any]:
    return {
        **_described(sandbox),
        "startedAt": sandbox.started_at.isoformat(),
        "endAt": sandbox.end_at.isoformat(),
        "cpuCount": 2,
        "memoryMB": 512,
        "diskSizeMB": 1024,
        "state": sandbox.state,
        "metadata": sandbox.request.get("metadata") or {},
    }


def _missing(request: Request) -> Response:
    return _error(404, f"sandbox {request.path_params['id']} not found")


def _error(status: int, message: str, **headers: str) -> Response:
    return JSONResponse({"code": status, "message": message}, status_code=status, headers=headers)
