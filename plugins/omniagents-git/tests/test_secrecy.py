"""A token is nowhere but in the one channel to git: searched for while git runs, and afterwards."""

from __future__ import annotations

import base64
import http.server as plain
import logging
import os
import threading
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.services.git_servers import GitOverHttp

from omniagents.backends.local_backend import LocalBackend
from omniagents.errors import StateError
from omniagents_git.state_manager import GitStateManager

pytestmark = pytest.mark.service

TOKEN = f"tok-{uuid.uuid4().hex}"  # nobody else's: other tests leave theirs in the home, on purpose
FORMS = (TOKEN.encode(), base64.b64encode(f"alice:{TOKEN}".encode()))
Ways = Callable[..., GitStateManager]


def holds(data: bytes) -> bool:
    return any(form in data for form in FORMS)


def others() -> Iterator[tuple[Path, bytes]]:
    """Command line and environment of every process that this one may look at, and of its threads' children."""
    for process in Path("/proc").iterdir():
        if process.name.isdigit() and int(process.name) != os.getpid():
            for name in ("cmdline", "environ"):
                try:
                    yield process / name, (process / name).read_bytes()
                except OSError:
                    continue  # it ended, or belongs to somebody else


@pytest.fixture(params=["token=", "OMNIAGENTS_GIT_TOKEN", "GH_TOKEN", "address"])
def manager(
    request: pytest.FixtureRequest, http: GitOverHttp, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> GitStateManager:
    """A manager that was given the token in one of the ways."""
    http.accounts.update({"alice": TOKEN, "x-access-token": TOKEN})
    url, options = f"{http.url}/states.git", {}
    if request.param == "token=":
        options = {"token": TOKEN, "username": "alice"}
    elif request.param == "address":
        url = url.replace("//", f"//alice:{TOKEN}@")
    else:
        monkeypatch.setenv(request.param, TOKEN)
        monkeypatch.setenv("GH_HOST", http.host)
    # What a user may have set for another purpose: it holds the token, too.
    monkeypatch.setenv("SOME_URL", f"https://alice:{TOKEN}@elsewhere.example")
    monkeypatch.setenv("GIT_TRACE_CURL", str(tmp_path / "trace"))
    monkeypatch.setenv("GIT_TRACE", str(tmp_path / "trace"))
    return GitStateManager(url, cache_directory=tmp_path / "cache", **options)  # type: ignore[arg-type]


def test_the_token_is_nowhere(
    manager: GitStateManager,
    http: GitOverHttp,
    tmp_path: Path,
    home: Path,
    bare: Path,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> None:
    caplog.set_level(logging.DEBUG)
    found: list[str] = []
    looked: list[str] = []
    looking = threading.Lock()

    def look(method: str, path: str) -> None:
        # The client, its helpers and the server are running now.
        with looking:
            for where, data in others():
                looked.append(data.split(b"\0")[0].rpartition(b"/")[2].decode("utf-8", "replace"))
                if holds(data):
                    found.append(f"{where}: {data!r}")

    http.fault = look
    errors = []
    with LocalBackend("secrecy", manager, checkpoint_interval_seconds=None) as backend:
        backend.workspace.write_bytes("a.txt", b"x")
        saved = backend.checkpoint("one")
        assert saved is not None
        inside = backend.workspace.run("env; cat /proc/self/environ; ls -la /proc/self/fd").stdout
        backend.workspace.write_bytes("a.txt", b"y")
        backend.checkpoint("two")
        backend.restore(saved.id)
        http.accounts.clear()
        http.accounts["alice"] = "another"
        backend.workspace.write_bytes("a.txt", b"z")
        for attempt in (lambda: backend.checkpoint("three"), lambda: manager.history("secrecy"), manager.projects):
            with pytest.raises(StateError) as raised:
                attempt()
            error: BaseException | None = raised.value
            while error is not None:
                errors.append(f"{error} {error!r} {vars(error)}")
                error = error.__cause__ or error.__context__
        backend.shutdown(save=False)
    assert found == []
    assert {"git", "git-remote-http"} <= set(looked)
    assert not holds(inside)
    assert errors
    assert not holds("".join(errors).encode())
    assert not holds(repr(manager).encode())
    assert not holds(caplog.text.encode())
    assert not holds("".join(capfd.readouterr()).encode())
    written = [path for folder in (tmp_path, home, bare) for path in folder.rglob("*") if path.is_file()]
    assert len(written) > 20
    assert [path for path in written if holds(path.read_bytes())] == []


def test_another_host_is_never_told_the_token_by_a_redirection(http: GitOverHttp, tmp_path: Path, bare: Path) -> None:
    told: list[str | None] = []

    class Elsewhere(plain.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            told.append(self.headers.get("Authorization"))
            self.send_response(401)
            self.send_header("WWW-Authenticate", 'Basic realm="elsewhere"')
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            """Nothing on the console."""

    class Redirecting(Elsewhere):
        def do_GET(self) -> None:
            self.send_response(302)
            self.send_header("Location", f"http://127.0.0.1:{elsewhere.server_port}{self.path}")
            self.send_header("Content-Length", "0")
            self.end_headers()

    with (
        plain.ThreadingHTTPServer(("127.0.0.1", 0), Elsewhere) as elsewhere,
        plain.ThreadingHTTPServer(("127.0.0.1", 0), Redirecting) as redirecting,
    ):
        servers = [threading.Thread(target=server.serve_forever) for server in (elsewhere, redirecting)]
        for server in servers:
            server.start()
        try:
            url = f"http://127.0.0.1:{redirecting.server_port}/states.git"
            with pytest.raises(StateError):
                GitStateManager(url, token=TOKEN, cache_directory=tmp_path / "cache").history("alice")
        finally:
            elsewhere.shutdown()
            redirecting.shutdown()
            for server in servers:
                server.join()
    assert told
    assert set(told) == {None}
