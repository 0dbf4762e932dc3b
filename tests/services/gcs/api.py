"""The part of Cloud Storage's JSON API that the client uses for uploads, reads, lists, deletes and copies."""

from __future__ import annotations

import json
import re
from typing import Any
from urllib.parse import urlencode

from tests.services.gcs.faults import Operation
from tests.services.gcs.http_messages import Answer, Request
from tests.services.gcs.objects import Buckets, Problem

__all__ = ["answer_to", "failure", "operation_of"]

_RANGE = re.compile(r"bytes=(\d+)-(\d*)\Z")


def operation_of(request: Request) -> tuple[Operation, str, str]:
    """What is asked for, of which bucket and object; for a copy, of its source.

    Raises:
        Problem: This server cannot do it.
    """
    parts = request.parts
    area = parts.pop(0) if parts[0] in ("upload", "download") else ""
    if parts[:3] != ["storage", "v1", "b"] or len(parts) < 5 or parts[4] != "o":
        raise Problem(501, "notImplemented", f"{request.method} {request.path} is not known here")
    bucket, name = parts[3], parts[5] if len(parts) > 5 else ""
    is_media = area == "download" or request.query.get("alt") == "media"
    match request.method, len(parts):
        case "POST", 5 if area == "upload" and request.query.get("uploadType") == "multipart":
            return "upload", bucket, _metadata(request)[0]["name"]
        case "POST", 5 if area == "upload" and request.query.get("uploadType") == "resumable":
            return "announce", bucket, json.loads(request.body)["name"]
        case "PUT", 5 if area == "upload" and "upload_id" in request.query:
            return "upload", bucket, request.query["name"]
        case "GET", 5:
            return "list", bucket, request.query.get("prefix", "")
        case "GET", 6:
            return "download" if is_media else "describe", bucket, name
        case "DELETE", 6:
            return "delete", bucket, name
        case "POST", 11 if parts[6] == "rewriteTo":
            return "copy", bucket, name
    raise Problem(501, "notImplemented", f"{request.method} {request.path} is not known here")


def answer_to(request: Request, buckets: Buckets) -> Answer:
    """Do what is asked for.

    Raises:
        Problem: It cannot be.
    """
    operation, bucket, name = operation_of(request)
    match operation:
        case "announce":
            buckets.check(bucket, name, request.query)
            upload_id = buckets.announce(json.loads(request.body), request.query)
            query = urlencode({"name": name, "upload_id": upload_id})
            return Answer(200, headers={"Location": f"http://{request.headers['host']}{request.path}?{query}"})
        case "upload" if request.method == "PUT":
            return _continued(request, buckets, bucket, name)
        case "upload":
            described, data = _metadata(request)
            return _json(buckets.write(bucket, name, data, request.query, described))
        case "list":
            return _json(buckets.page(bucket, request.query))
        case "describe":
            return _json(buckets.describe(bucket, name, buckets.read(bucket, name, request.query)))
        case "delete":
            buckets.delete(bucket, name, request.query)
            return Answer(204)
        case "copy":
            target = request.parts[-1]
            made = buckets.copy(bucket, name, target, request.query)
            sizes = {"totalBytesRewritten": made["size"], "objectSize": made["size"]}
            return _json({"kind": "storage#rewriteResponse", "done": True, **sizes, "resource": made})
    return _content(request, buckets, bucket, name)


def failure(problem: Problem, *, is_media: bool) -> Answer:
    """The answer of an error: plain text for the content of objects, JSON for all else."""
    if is_media:
        return Answer(problem.status, problem.message.encode(), {"Content-Type": "text/html; charset=UTF-8"})
    error = {"domain": "global", "reason": problem.reason, "message": problem.message}
    return _json({"error": {"code": problem.status, "message": problem.message, "errors": [error]}}, problem.status)


def _continued(request: Request, buckets: Buckets, bucket: str, name: str) -> Answer:
    """A piece of a resumable upload; preconditions count again when it ends."""
    arrived = buckets.continue_upload(request.query["upload_id"], request.body)
    if len(arrived.data) < int(request.headers["content-range"].rpartition("/")[2]):
        return Answer(308, headers={"Range": f"bytes=0-{len(arrived.data) - 1}"})
    return _json(buckets.write(bucket, name, bytes(arrived.data), arrived.conditions, arrived.described))


def _json(value: dict[str, Any], status: int = 200) -> Answer:
    return Answer(status, json.dumps(value).encode(), {"Content-Type": "application/json; charset=UTF-8"})


def _content(request: Request, buckets: Buckets, bucket: str, name: str) -> Answer:
    blob = buckets.read(bucket, name, request.query)
    headers = {
        "Content-Type": "application/octet-stream",
        "X-Goog-Generation": str(blob.generation),
        "X-Goog-Metageneration": "1",
        "X-Goog-Hash": f"crc32c={blob.crc32c},md5={blob.md5}",
        "X-Goog-Stored-Content-Length": str(len(blob.data)),
    }
    wanted = _RANGE.match(request.headers.get("range", ""))
    if wanted is None:
        return Answer(200, blob.data, headers)
    start, last = int(wanted[1]), int(wanted[2] or len(blob.data) - 1)
    if start >= len(blob.data):
        raise Problem(416, "requestedRangeNotSatisfiable", "The requested range cannot be satisfied.")
    data = blob.data[start : last + 1]
    headers["Content-Range"] = f"bytes {start}-{start + len(data) - 1}/{len(blob.data)}"
    return Answer(206, data, headers)


def _metadata(request: Request) -> tuple[dict[str, Any], bytes]:
    """The two parts of a ``multipart/related`` body: the object's description, and its content."""
    found = re.search(r'boundary="?([^";]+)', request.headers.get("content-type", ""))
    boundary = b"--" + (found[1] if found else "").encode()
    body = request.body
    first = body.find(b"\r\n\r\n") + 4
    between = body.find(b"\r\n" + boundary, first)
    second = body.find(b"\r\n\r\n", between) + 4
    end = body.rfind(b"\r\n" + boundary)
    if not found or min(first, second) < 4 or not first <= between < second <= end:
        raise Problem(400, "badRequest", "Malformed multipart body.")
    return json.loads(body[first:between]), body[second:end]
