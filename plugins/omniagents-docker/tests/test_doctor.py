"""What the backend says of a machine that it cannot work on: each problem with its cure, and soon."""

from __future__ import annotations

import http.server
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

import omniagents
from omniagents.backends.base import Problem
from omniagents_docker import doctor
from omniagents_docker.backend import DockerBackend


@pytest.fixture(autouse=True)
def _no_configuration(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("DOCKER_HOST", "DOCKER_CONTEXT", "DOCKER_TLS_VERIFY", "DOCKER_CERT_PATH"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path / "docker"))


@pytest.fixture
def programs(monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """What can be found on PATH."""
    found: set[str] = set()
    monkeypatch.setattr(shutil, "which", lambda name: f"/usr/bin/{name}" if name in found else None)
    return found


@pytest.fixture
def default_socket(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Where the engine would be that nobody has named; the name of a socket has at most 107 bytes."""
    with tempfile.TemporaryDirectory(dir="/tmp") as directory:
        monkeypatch.setattr("omniagents_docker.engine.DEFAULT_UNIX_SOCKET", f"http+unix://{directory}/docker.sock")
        yield Path(directory) / "docker.sock"


def only_problem() -> Problem:
    [problem] = DockerBackend.problems()
    return problem


@pytest.mark.service
def test_an_engine_that_answers_has_no_problems(engine_address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_HOST", engine_address)
    assert DockerBackend.problems() == []


@pytest.mark.service
def test_auto_takes_docker_where_bubblewrap_does_not_work(engine_address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_HOST", engine_address)
    monkeypatch.setenv("PATH", "/nowhere")
    assert type(omniagents.create_backend("auto", project_id="p")) is DockerBackend


def test_a_client_without_an_engine_is_told_what_to_install(default_socket: Path, programs: set[str]) -> None:
    programs |= {"docker", "apt-get"}
    assert only_problem() == Problem(
        "no Docker Engine runs",
        "only the docker command is installed: no Docker Engine at its default address: the engine does not answer: "
        "[Errno 2] No such file or directory",
        "sudo apt-get install docker.io, or set DOCKER_HOST",
    )


def test_an_engine_that_is_installed_is_to_be_started(default_socket: Path, programs: set[str]) -> None:
    programs |= {"docker", "dockerd", "apt-get"}
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(default_socket))
    assert only_problem().cure == "sudo systemctl start docker"
    assert "Connection refused" in only_problem().why


_ASKS_AS_ANOTHER = """
import os, sys
from omniagents_docker.backend import DockerBackend
DockerBackend.problems()  # imports everything while it can be read
os.setgroups([]); os.setgid(65534); os.setuid(65534)
os.environ["DOCKER_HOST"] = sys.argv[1]
print(*DockerBackend.problems()[0], sep="\\n")
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
@pytest.mark.platform
def test_no_permission_is_told_with_the_group_that_gives_it(default_socket: Path) -> None:
    path = default_socket
    path.parent.chmod(0o755)
    with socket.socket(socket.AF_UNIX) as engine:
        engine.bind(str(path))
        path.chmod(0o600)
        engine.listen()
        argv = [sys.executable, "-c", _ASKS_AS_ANOTHER, f"unix://{path}"]
        what, why, cure = subprocess.run(argv, capture_output=True, text=True, check=True).stdout.splitlines()
    assert what == "no permission for the Docker Engine"
    assert "Permission denied" in why
    assert cure.startswith('sudo usermod -aG docker "$USER"')


@pytest.fixture
def silent_engine() -> Iterator[str]:
    """Something that takes connections and never says a word."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"tcp://127.0.0.1:{server.getsockname()[1]}"


def test_an_engine_that_says_nothing_is_given_up(silent_engine: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "_ASK_SECONDS", 0.3)
    monkeypatch.setenv("DOCKER_HOST", silent_engine)
    assert only_problem().what == "no Docker Engine answers"
    assert only_problem().cure == (
        f"correct DOCKER_HOST={silent_engine}, or unset it, or start the engine that it names"
    )


@pytest.mark.parametrize("text", ["{", '{"Name": "x"}', ""])
def test_a_broken_context_is_a_problem_and_no_exception(
    text: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from docker.context.config import get_meta_file

    monkeypatch.setenv("DOCKER_CONTEXT", "mine")
    (tmp_path / "docker").mkdir()
    (tmp_path / "docker" / "config.json").write_text("{}")
    file = Path(get_meta_file("mine"))
    file.parent.mkdir(parents=True)
    file.write_text(text)
    assert only_problem().what == "no Docker Engine answers"
    assert "'mine'" in only_problem().why


@pytest.mark.parametrize("value", ["ssh://somewhere", "nonsense", "tcp://", "unix://", "tcp://127.0.0.1:1"])
def test_an_address_that_cannot_be_used_is_a_problem_and_no_exception(
    value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DOCKER_HOST", value)
    assert len(DockerBackend.problems()) == 1


@pytest.fixture
def answers(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Iterator[None]:
    """An engine that says the test's ``version`` of itself, to whatever it is asked."""
    body = request.getfixturevalue("version").encode()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *values: object) -> None:
            return

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        monkeypatch.setenv("DOCKER_HOST", f"tcp://127.0.0.1:{server.server_port}")
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield
        server.shutdown()
        thread.join()


@pytest.mark.parametrize(
    ("version", "what"),
    [
        ('{"ApiVersion": "1.40", "Version": "19.03.15", "Os": "linux"}', "the Docker Engine is too old"),
        ('{"ApiVersion": "1.43", "Version": "24.0", "Os": "windows"}', "no Linux containers"),
    ],
)
def test_an_engine_that_cannot_do_it_is_told(answers: None, version: str, what: str) -> None:
    assert only_problem().what == what
