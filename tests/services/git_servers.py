"""Git servers of the tests' own, on the loopback interface: HTTP with basic authentication twice, and ssh.

Each is a context manager that serves the bare repositories of one folder and is gone at its end:

- ``wsgi_server``: ``git http-backend`` behind WSGI in this process, which notes requests and fails as it is told;
- ``nginx_server``: the same program behind nginx and fcgiwrap, over HTTP or TLS;
- ``ssh_server``: a private sshd with throw-away keys.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import socketserver
import subprocess
import tempfile
import threading
import time
from base64 import b64decode
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from http.client import responses
from pathlib import Path
from typing import IO, Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer

from tests.services import apt

__all__ = ["COMMANDS", "GitOverHttp", "SshServer", "make_repository", "nginx_server", "ssh_server", "wsgi_server"]

COMMANDS = ("fcgiwrap", "git", "nginx", "ssh", "ssh-keygen", "sshd")

_START_SECONDS = 20.0
_PIECE = 1 << 16


def need(*commands: str) -> None:
    """Install these commands if this user may.

    Raises:
        RuntimeError: One is missing; the message says what would install it.
    """
    missing = apt.ensure(commands)
    if missing:
        raise RuntimeError(f"not installed: {', '.join(missing)}; as root: python tests/services/apt.py")


def make_repository(folder: Path, name: str = "states.git", **config: str) -> Path:
    """A bare repository that takes pushes over HTTP; ``receive__denyDeletes="true"`` sets ``receive.denyDeletes``."""
    folder.mkdir(parents=True, exist_ok=True)
    repository = folder / name
    subprocess.run(["git", "init", "--quiet", "--bare", repository], check=True)
    for key, value in {"http__receivepack": "true", **config}.items():
        subprocess.run(["git", "-C", repository, "config", key.replace("__", "."), value], check=True)
    return repository


@dataclass
class GitOverHttp:
    """A running server.

    Attributes:
        url: Where the folder's repositories are, without a ``/`` at the end.
        accounts: Password by name; changed while it runs, by the WSGI server at once.
        requests: Method, path with query, and the name that was authenticated; by the WSGI server only.
        fault: Asked before each request of the WSGI server: a status to answer with, ``drop`` to read half of the
            request and hang up, ``lose`` to do the work and hang up, ``hang`` to do nothing until ``release``; or None.
        certificate: Of a server with TLS.
    """

    url: str
    accounts: dict[str, str]
    requests: list[tuple[str, str, str | None]] = field(default_factory=list)
    fault: Callable[[str, str], int | str | None] = lambda method, path: None
    release: threading.Event = field(default_factory=threading.Event)
    certificate: Path | None = None

    @property
    def host(self) -> str:
        """Name and port."""
        return self.url.partition("://")[2].partition("/")[0]


class _HangUp(Exception):
    """The connection ends here."""


class _Server(socketserver.ThreadingMixIn, WSGIServer):
    daemon_threads = True
    request_queue_size = 64

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that hung up, or that was hung up on, is what the tests want."""


class _Handler(WSGIRequestHandler):
    def handle(self) -> None:
        try:
            super().handle()
        except (_HangUp, OSError):
            self.close_connection = True

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing on the console."""

    def address_string(self) -> str:
        return str(self.client_address[0])


@contextlib.contextmanager
def wsgi_server(folder: Path, accounts: dict[str, str]) -> Iterator[GitOverHttp]:
    """Serve the repositories of a folder from this process."""
    need("git")
    with _Server(("127.0.0.1", 0), _Handler) as server:
        running = GitOverHttp(f"http://127.0.0.1:{server.server_port}", accounts)
        server.set_app(_application(folder, running))
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        thread.start()
        try:
            yield running
        finally:
            running.release.set()
            server.shutdown()
            thread.join()


def _application(folder: Path, running: GitOverHttp) -> Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]:
    backend = Path(subprocess.check_output(["git", "--exec-path"], text=True).strip(), "git-http-backend")

    def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        user = _authenticated(environ.get("HTTP_AUTHORIZATION", ""), running.accounts)
        path = environ["PATH_INFO"] + (f"?{environ['QUERY_STRING']}" if environ.get("QUERY_STRING") else "")
        running.requests.append((environ["REQUEST_METHOD"], path, user))
        fault = running.fault(environ["REQUEST_METHOD"], path)
        if fault == "hang":
            running.release.wait()
            raise _HangUp
        if fault == "drop":
            environ["wsgi.input"].read1(1000)
            _hang_up(environ)
        if isinstance(fault, int):
            start_response(f"{fault} {responses[fault]}", [("Content-Type", "text/plain")])
            return [b"as it was told\n"]
        if user is None:
            start_response("401 Unauthorized", [("WWW-Authenticate", 'Basic realm="git"')])
            return [b""]
        with tempfile.TemporaryFile() as body:
            _read_body(environ, body)
            status, headers, answer = _run_backend(backend, folder, environ, body, user)
        if fault == "lose":
            _hang_up(environ)
        start_response(status, headers)
        return [answer]

    return application


def _hang_up(environ: dict[str, Any]) -> None:
    # wsgiref would answer an exception with status 500.
    raw = environ["wsgi.input"]
    while not isinstance(raw, socket.SocketIO):
        raw = raw.raw
    raw._sock.shutdown(socket.SHUT_RDWR)  # type: ignore[attr-defined]
    raise _HangUp


def _authenticated(header: str, accounts: dict[str, str]) -> str | None:
    kind, _, value = header.partition(" ")
    if kind != "Basic":
        return None
    user, _, password = b64decode(value).decode().partition(":")
    return user if accounts.get(user) == password else None


def _read_body(environ: dict[str, Any], into: IO[bytes]) -> None:
    source = environ["wsgi.input"]
    if environ.get("HTTP_TRANSFER_ENCODING") == "chunked":
        while size := int(source.readline().split(b";")[0], 16):
            into.write(source.read(size))
            source.readline()
        source.readline()
    else:
        into.write(source.read(int(environ.get("CONTENT_LENGTH") or 0)))
    environ["CONTENT_LENGTH"] = str(into.tell())
    into.seek(0)


def _run_backend(
    backend: Path, folder: Path, environ: dict[str, Any], body: IO[bytes], user: str
) -> tuple[str, list[tuple[str, str]], bytes]:
    names = ("REQUEST_METHOD", "QUERY_STRING", "PATH_INFO", "CONTENT_TYPE", "CONTENT_LENGTH", "REMOTE_ADDR")
    variables = {name: environ[name] for name in names if environ.get(name)}
    variables |= {name: environ[name] for name in environ if name.startswith("HTTP_") and "AUTHORIZATION" not in name}
    fixed = {"GIT_PROJECT_ROOT": str(folder), "GIT_HTTP_EXPORT_ALL": "1", "REMOTE_USER": user}
    done = subprocess.run(
        [backend], stdin=body, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=False,
        env={"PATH": os.environ["PATH"], **variables, **fixed},
    )  # fmt: skip
    head, _, answer = done.stdout.partition(b"\r\n\r\n")
    headers = [(name, value) for name, _, value in (line.partition(": ") for line in head.decode().split("\r\n"))]
    status = next((value for name, value in headers if name == "Status"), "200 OK")
    return status, [(name, value) for name, value in headers if name and name != "Status"], answer


_NGINX = """\
daemon off;
master_process on;
{user}
worker_processes 1;
pid {folder}/nginx.pid;
error_log {folder}/error.log;
events {{ worker_connections 64; }}
http {{
  access_log {folder}/access.log;
  client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
  client_max_body_size {max_body};
  server {{
    listen 127.0.0.1:{port}{tls};
    {certificate}
    auth_basic git;
    auth_basic_user_file {folder}/passwords;
    location / {{
      include /etc/nginx/fastcgi_params;
      fastcgi_pass unix:{folder}/fcgi.sock;
      fastcgi_param SCRIPT_FILENAME {backend};
      fastcgi_param GIT_PROJECT_ROOT {repositories};
      fastcgi_param GIT_HTTP_EXPORT_ALL "";
      fastcgi_param PATH_INFO $uri;
      fastcgi_param REMOTE_USER $remote_user;
    }}
  }}
}}
"""


@contextlib.contextmanager
def nginx_server(
    folder: Path, accounts: dict[str, str], *, tls: bool = False, max_body: str = "0"
) -> Iterator[GitOverHttp]:
    """Serve the repositories of a folder by nginx and fcgiwrap, whose own files go into a temporary folder.

    Args:
        max_body: The largest request, as nginx writes it (``1m``); 0 for any.
    """
    need("git", "nginx", "fcgiwrap", *(["openssl"] if tls else []))
    backend = Path(subprocess.check_output(["git", "--exec-path"], text=True).strip(), "git-http-backend")
    with tempfile.TemporaryDirectory(prefix="nginx-") as own_folder, contextlib.ExitStack() as processes:
        own, port = Path(own_folder), _free_port()
        certificate = _certificate(own) if tls else None
        passwords = "".join(f"{name}:{{PLAIN}}{password}\n" for name, password in accounts.items())
        (own / "passwords").write_text(passwords)
        configuration = _NGINX.format(
            user="user root;" if os.geteuid() == 0 else "", folder=own, port=port, tls=" ssl" if tls else "",
            certificate=f"ssl_certificate {certificate}; ssl_certificate_key {own}/key.pem;" if tls else "",
            backend=backend, repositories=folder, max_body=max_body,
        )  # fmt: skip
        (own / "nginx.conf").write_text(configuration)
        processes.enter_context(_running(["fcgiwrap", "-c", "4", "-s", f"unix:{own}/fcgi.sock"], own / "fcgi.log"))
        processes.enter_context(
            _running(["nginx", "-c", str(own / "nginx.conf"), "-e", str(own / "error.log")], own / "nginx.log")
        )
        _wait_for(port, own / "error.log")
        yield GitOverHttp(f"http{'s' if tls else ''}://127.0.0.1:{port}", accounts, certificate=certificate)


def _certificate(folder: Path) -> Path:
    made = folder / "certificate.pem"
    subprocess.run(
        [
            "openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
            "-days", "2", "-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1",
            "-keyout", str(folder / "key.pem"), "-out", str(made),
        ],
        check=True, capture_output=True,
    )  # fmt: skip
    return made


@dataclass(frozen=True)
class SshServer:
    """A running sshd.

    Attributes:
        url: Where the folder's repositories are, without a ``/`` at the end.
        command: What ``GIT_SSH_COMMAND`` must be to log in: the key and the known hosts are the tests' own.
        stranger: The same with a key that the server does not know.
        unknown_host: The same without any known host.
    """

    url: str
    command: str
    stranger: str
    unknown_host: str


_SSHD = """\
Port {port}
ListenAddress 127.0.0.1
HostKey {folder}/host
PidFile {folder}/sshd.pid
AuthorizedKeysFile {folder}/authorized
AuthenticationMethods publickey
PermitRootLogin prohibit-password
StrictModes no
UsePAM no
AcceptEnv GIT_PROTOCOL
"""


@contextlib.contextmanager
def ssh_server(folder: Path) -> Iterator[SshServer]:
    """Serve the repositories of a folder by a private sshd, to this user with a key made for it."""
    need("git", "ssh", "sshd", "ssh-keygen")
    program = shutil.which("sshd")
    assert program is not None
    if os.geteuid() == 0:
        Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)  # compiled into Debian's sshd
    with tempfile.TemporaryDirectory(prefix="sshd-") as own_folder:
        own, port = Path(own_folder), _free_port()
        for name in ("host", "user", "stranger"):
            subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", own / name], check=True)
        shutil.copy(own / "user.pub", own / "authorized")
        host_key = (own / "host.pub").read_text("ascii")
        (own / "known").write_text(f"[127.0.0.1]:{port} {host_key}")
        (own / "nobody").touch()
        (own / "sshd.conf").write_text(_SSHD.format(port=port, folder=own))
        with _running([program, "-D", "-e", "-f", str(own / "sshd.conf")], own / "sshd.log"):
            _wait_for(port, own / "sshd.log")
            user = subprocess.check_output(["id", "-un"], text=True).strip()
            base = "ssh -F none -o IdentitiesOnly=yes -o IdentityAgent=none"
            yield SshServer(
                f"ssh://{user}@127.0.0.1:{port}{folder}",
                f"{base} -i {own}/user -o UserKnownHostsFile={own}/known",
                f"{base} -i {own}/stranger -o UserKnownHostsFile={own}/known",
                f"{base} -i {own}/user -o UserKnownHostsFile={own}/nobody -o GlobalKnownHostsFile={own}/nobody",
            )


@contextlib.contextmanager
def _running(command: list[str], log: Path) -> Iterator[None]:
    with log.open("ab") as output:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True
        )
    try:
        yield
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
        process.wait(timeout=20)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _wait_for(port: int, log: Path) -> None:
    end = time.monotonic() + _START_SECONDS
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return
        except OSError:
            if time.monotonic() > end:
                said = log.read_text("utf-8", "replace")[-1500:] if log.exists() else "nothing"
                raise RuntimeError(f"nothing listens on port {port}; the log ends with: {said}") from None
            time.sleep(0.05)
