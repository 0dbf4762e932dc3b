"""envd's service ``filesystem.Filesystem`` and its route ``/files``."""

from __future__ import annotations

import grp
import gzip
import json
import os
import pwd
import re
import shutil
import stat
import zlib
from collections.abc import Iterator
from datetime import UTC, datetime

from tests.services.e2b.envd.wire import Call, Handler, Message, Refusal, Service

Response = tuple[int, dict[str, str], bytes]


class Files(Service):
    """Files of the sandbox; relative names start at its user's home."""

    name = "filesystem.Filesystem"

    def __init__(self, home: str) -> None:
        super().__init__()
        self._home = home
        self.unary = {
            "Stat": self._stat,
            "MakeDir": self._make_dir,
            "Move": self._move,
            "ListDir": self._list_dir,
            "Remove": self._remove,
        }
        self.routes = {"GET /files": self._download, "POST /files": self._upload}

    def _path(self, name: str) -> str:
        return os.path.normpath(os.path.join(self._home, os.path.expanduser(name)))

    def _stat(self, message: Message, call: Call) -> Message:
        call.check_user()
        path = self._path(message["path"])
        if not os.path.lexists(path):
            raise Refusal("not_found", f"file not found: lstat {path}: no such file or directory")
        return {"entry": _entry(path)}

    def _make_dir(self, message: Message, call: Call) -> Message:
        call.check_user()
        path = self._path(message["path"])
        if os.path.isdir(path):
            raise Refusal("already_exists", f"directory already exists: {path}")
        if os.path.lexists(path):
            raise Refusal("invalid_argument", f"path already exists but it is not a directory: {path}")
        os.makedirs(path)
        return {"entry": _entry(path)}

    def _move(self, message: Message, call: Call) -> Message:
        call.check_user()
        source, target = self._path(message["source"]), self._path(message["destination"])
        if not os.path.lexists(source):
            missing = f"source file not found: rename {source} {target}: no such file or directory"
            raise Refusal("not_found", missing)
        os.makedirs(os.path.dirname(target), exist_ok=True)
        os.rename(source, target)
        return {"entry": _entry(target)}

    def _list_dir(self, message: Message, call: Call) -> Message:
        call.check_user()
        path = self._path(message["path"])
        if not os.path.lexists(path):
            raise Refusal("not_found", f"path not found: lstat {path}: no such file or directory")
        if not os.path.isdir(path):
            raise Refusal("invalid_argument", f"path is not a directory: {path}")
        return {"entries": [*_entries(path, message.get("depth") or 1)]}

    def _remove(self, message: Message, call: Call) -> Message:
        call.check_user()
        path = self._path(message["path"])
        if os.path.isdir(path) and not os.path.islink(path):
            shutil.rmtree(path)
        elif os.path.lexists(path):
            os.unlink(path)
        return {}

    def _download(self, handler: Handler, query: dict[str, str]) -> Response:
        path = self._path(query["path"])
        if not os.path.exists(path):
            return _refused(404, f"path '{path}' does not exist")
        if os.path.isdir(path):
            return _refused(400, f"path '{path}' is a directory")
        with open(path, "rb") as file:
            data = file.read()
        headers = {"Content-Type": "application/octet-stream"}
        if handler.headers.get("Accept-Encoding") == "gzip":
            return 200, {**headers, "Content-Encoding": "gzip"}, gzip.compress(data, 1)
        return 200, headers, data

    def _upload(self, handler: Handler, query: dict[str, str]) -> Response:
        body = handler.body()
        if handler.headers.get("Content-Encoding") == "gzip":
            body = _unzipped(body)
        content_type = handler.headers.get("Content-Type", "")
        if content_type.startswith("multipart/"):
            parts = _parts(b"".join(body), content_type)
            wanted = [(query.get("path", name), iter([data])) for name, data in parts]
        else:
            wanted = [(query["path"], body)]
        written = []
        for name, pieces in wanted:
            path = self._path(name)
            if os.path.isdir(path):
                for _ in pieces:  # the connection serves further requests
                    pass
                return _refused(400, f"path is a directory: {path}")
            _store(path, pieces)
            written.append({"name": os.path.basename(path), "type": "file", "path": path})
        return 200, {"Content-Type": "application/json"}, json.dumps(written).encode()


def _store(path: str, pieces: Iterator[bytes]) -> None:
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "wb") as file:
        for piece in pieces:
            file.write(piece)


def _unzipped(pieces: Iterator[bytes]) -> Iterator[bytes]:
    unpacker = zlib.decompressobj(16 + zlib.MAX_WBITS)
    for piece in pieces:
        yield unpacker.decompress(piece)
    yield unpacker.flush()


def _parts(body: bytes, content_type: str) -> Iterator[tuple[str, bytes]]:
    """Names and contents of a multipart form. By hand, because common parsers cut a leading ``/`` off the name."""
    boundary = b"\r\n--" + content_type.partition("boundary=")[2].strip('"').encode()
    for part in (b"\r\n" + body).split(boundary)[1:-1]:
        head, _, data = part[2:].partition(b"\r\n\r\n")
        found = re.search(rb'filename="([^"]*)"', head)
        if found is not None:
            name = found[1].decode().replace("%22", '"').replace("%0D", "\r").replace("%0A", "\n")
            yield name, data


def _entries(path: str, depth: int) -> Iterator[Message]:
    for name in sorted(os.listdir(path)):
        inner = os.path.join(path, name)
        if not os.path.exists(inner):
            continue  # the real one leaves dangling links out
        yield _entry(inner)
        if depth > 1 and os.path.isdir(inner) and not os.path.islink(inner):
            yield from _entries(inner, depth - 1)


def _entry(path: str) -> Message:
    own = os.lstat(path)
    is_link = stat.S_ISLNK(own.st_mode)
    # Kind and mode are the target's, size and the letters the link's.
    meant = os.stat(path) if is_link and os.path.exists(path) else own
    kinds = ((stat.S_ISDIR, "FILE_TYPE_DIRECTORY"), (stat.S_ISREG, "FILE_TYPE_FILE"))
    kind = next((name for test, name in kinds if test(meant.st_mode)), "FILE_TYPE_UNSPECIFIED")
    letters = stat.filemode(own.st_mode)
    return {
        "name": os.path.basename(path),
        "type": kind,
        "path": path,
        "size": str(own.st_size),
        "mode": stat.S_IMODE(meant.st_mode),
        "permissions": "L" + letters[1:] if is_link else letters,
        "owner": _name(pwd.getpwuid, own.st_uid),
        "group": _name(grp.getgrgid, own.st_gid),
        "modifiedTime": datetime.fromtimestamp(own.st_mtime, UTC).isoformat().replace("+00:00", "Z"),
        **({"symlinkTarget": os.path.realpath(path)} if is_link else {}),
    }


def _name(look_up: object, number: int) -> str:
    try:
        return str(look_up(number)[0])  # type: ignore[operator]
    except KeyError:
        return str(number)


def _refused(status: int, message: str) -> Response:
    return status, {"Content-Type": "application/json"}, json.dumps({"code": status, "message": message}).encode()
