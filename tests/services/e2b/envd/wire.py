"""HTTP/1.1 on a Unix socket, and the Connect protocol with the JSON codec on top (connectrpc.com/docs/protocol)."""

from __future__ import annotations

import base64
import json
import socketserver
import struct
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler
from io import BufferedIOBase
from typing import Any
from urllib.parse import parse_qs, urlsplit

Message = dict[str, Any]

STATUS_OF_CODE = {
    "invalid_argument": 400,
    "failed_precondition": 400,
    "unauthenticated": 401,
    "not_found": 404,
    "already_exists": 409,
    "internal": 500,
    "unimplemented": 501,
}


class Refusal(Exception):
    """What a call is answered instead of a result.

    Args:
        code: Connect's name for it.
        message: Said to the user.
    """

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


class Call:
    """What a method may want to know besides its message."""

    def __init__(self, handler: Handler) -> None:
        self._handler = handler
        milliseconds = handler.headers.get("Connect-Timeout-Ms")
        #: On the monotonic clock; None for a stream without an end.
        self.deadline = time.monotonic() + int(milliseconds) / 1000 if milliseconds else None
        self.ping_seconds = float(handler.headers.get("Keepalive-Ping-Interval", "90"))

    def check_user(self) -> None:
        """Refuse a user that the sandbox does not have."""
        scheme, _, value = self._handler.headers.get("Authorization", "").partition(" ")
        name = base64.b64decode(value).decode().partition(":")[0] if scheme == "Basic" else "user"
        if name not in ("user", "root"):
            raise Refusal("unauthenticated", f"invalid username: '{name}'")


class Service:
    """Methods of one Connect service, and plain HTTP routes, by name."""

    name: str

    def __init__(self) -> None:
        self.unary: dict[str, Callable[[Message, Call], Message]] = {}
        #: One message in, many out.
        self.streams: dict[str, Callable[[Message, Call], Iterator[Message]]] = {}
        #: Many messages in, one out.
        self.uploads: dict[str, Callable[[Iterator[Message], Call], Message]] = {}
        #: ``METHOD /path`` to a function that answers with status, headers and body.
        self.routes: dict[str, Callable[[Handler, dict[str, str]], tuple[int, dict[str, str], bytes]]] = {}


def serve(path: str, services: list[Service]) -> None:
    """Answer requests, each connection in a thread, until the process is killed."""
    kind = type("ServicesHandler", (Handler,), {"services": services})
    with _Server(path, kind) as server:
        print("ready", flush=True)
        server.serve_forever(poll_interval=3600)


class _Server(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    daemon_threads = True
    request_queue_size = 128

    def handle_error(self, request: object, client_address: object) -> None:
        if not isinstance(sys.exc_info()[1], ConnectionError | EOFError):  # clients may go at any time
            traceback.print_exc()


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    services: list[Service]

    def log_message(self, format: str, *arguments: object) -> None:
        pass

    def do_GET(self) -> None:
        self._route()

    def do_POST(self) -> None:
        content_type = self.headers.get("Content-Type", "").partition(";")[0]
        _, service_name, method = ("//" + self.path).rsplit("/", 2)
        service = next((each for each in self.services if each.name == service_name), None)
        if service is None:
            self._route()
        elif content_type == "application/json":
            self._unary(service, method)
        else:
            self._stream(service, method)

    def _route(self) -> None:
        split = urlsplit(self.path)
        query = {name: values[0] for name, values in parse_qs(split.query).items()}
        if split.path == "/health":
            self.answer(204, {}, b"")
            return
        for service in self.services:
            route = service.routes.get(f"{self.command} {split.path}")
            if route is not None:
                self.answer(*route(self, query))
                return
        self.answer(404, {"Content-Type": "application/json"}, b'{"code":404,"message":"no such route"}')

    def _unary(self, service: Service, method: str) -> None:
        message = json.loads(b"".join(self.body()) or b"{}")
        try:
            if method not in service.unary:
                raise Refusal("unimplemented", f"{service.name}/{method}")
            status, answer = 200, service.unary[method](message, Call(self))
        except Refusal as refusal:
            status, answer = STATUS_OF_CODE[refusal.code], {"code": refusal.code, "message": str(refusal)}
        except OSError as error:
            status, answer = 500, {"code": "internal", "message": str(error)}
        self.answer(status, {"Content-Type": "application/json"}, json.dumps(answer).encode())

    def _stream(self, service: Service, method: str) -> None:
        messages = _envelopes(self.body())
        self.send_response(200)
        self.send_header("Content-Type", "application/connect+json")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        end: Message = {}
        try:
            if method in service.streams:
                for message in service.streams[method](next(messages), Call(self)):
                    self._chunk(_envelope(0, message))
            elif method in service.uploads:
                self._chunk(_envelope(0, service.uploads[method](messages, Call(self))))
            else:
                raise Refusal("unimplemented", f"{service.name}/{method}")
        except Refusal as refusal:
            end = {"error": {"code": refusal.code, "message": str(refusal)}}
        self._chunk(_envelope(2, end))
        self._chunk(b"")

    def answer(self, status: int, headers: dict[str, str], body: bytes) -> None:
        """A whole response."""
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        if status != 204:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _chunk(self, data: bytes) -> None:
        self.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))
        self.wfile.flush()

    def body(self) -> Iterator[bytes]:
        """The request's body in pieces, as they arrive."""
        if self.headers.get("Transfer-Encoding", "").lower() == "chunked":
            while size := int(self.rfile.readline().partition(b";")[0], 16):
                yield _exactly(self.rfile, size)
                self.rfile.readline()
            self.rfile.readline()
            return
        left = int(self.headers.get("Content-Length", "0"))
        while left:
            piece = _exactly(self.rfile, min(left, 1 << 16))
            left -= len(piece)
            yield piece


def _exactly(file: BufferedIOBase, size: int) -> bytes:
    data = file.read(size)
    if len(data) < size:
        raise EOFError("the request was cut off")
    return data


def _envelope(flags: int, message: Message) -> bytes:
    data = json.dumps(message).encode()
    return struct.pack(">BI", flags, len(data)) + data


def _envelopes(pieces: Iterator[bytes]) -> Iterator[Message]:
    data = b""
    for piece in pieces:
        data += piece
        while len(data) >= 5 and len(data) >= 5 + (size := struct.unpack(">I", data[1:5])[0]):
            message, data = data[5 : 5 + size], data[5 + size :]
            yield json.loads(message)
