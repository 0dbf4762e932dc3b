"""The same backend on Podman's Docker-compatible socket."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from tests.services import docker_engine, podman_engine

from omniagents.errors import BackendUnavailableError
from omniagents_docker.backend import DockerBackend
from omniagents_docker.engine import Engine
from omniagents_docker.naming import container_name

pytestmark = pytest.mark.service

NewBackend = Callable[..., DockerBackend]


@pytest.fixture(scope="module")
def podman(engine_address: str) -> str:
    try:
        return podman_engine.start(docker_engine.archive_of(podman_engine.IMAGE))
    except RuntimeError as error:
        pytest.skip(str(error))


def test_commands_and_files_work_and_nothing_stays(new_backend: NewBackend, podman: str, project_id: str) -> None:
    backend = new_backend(docker_host=podman)
    backend.start()
    backend.workspace.write_bytes("a.txt", b"x" * 3_000_000)
    assert backend.workspace.run("id -u; wc -c < a.txt; touch ~/x /tmp/x && echo ok").stdout == b"1000\n3000000\nok\n"
    backend.shutdown()
    engine = Engine.connect(podman)
    assert engine.inspect(container_name(project_id)) is None
    assert not engine.has_volume(container_name(project_id))


def test_the_profile_holds(new_backend: NewBackend, podman: str) -> None:
    backend = new_backend(docker_host=podman)
    backend.start()
    status = backend.workspace.run("grep -E '^(CapBnd|NoNewPrivs|Seccomp):' /proc/self/status; touch /x").stdout
    assert status == b"CapBnd:\t0000000000000000\nNoNewPrivs:\t1\nSeccomp:\t2\n"
    connect = "import socket; socket.create_connection(('169.254.169.254', 80), timeout=3)"
    assert b"PermissionError" in backend.workspace.run(["python3", "-c", connect]).stderr


def test_a_killed_container_ends_the_call_and_the_next_start_has_the_workspace(
    new_backend: NewBackend, podman: str, project_id: str
) -> None:
    backend = new_backend(docker_host=podman)
    backend.start()
    backend.workspace.write_bytes("work.txt", b"unsaved")
    Engine.connect(podman).remove(container_name(project_id))
    with pytest.raises(BackendUnavailableError):
        backend.workspace.run("true")
    backend.start()
    assert backend.workspace.read_bytes("work.txt") == b"unsaved"
