"""An image that the engine does not have: pulled with progress, from a registry on loopback."""

from __future__ import annotations

import http.client
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from tests.services import apt

from omniagents.errors import BackendStartError
from omniagents_docker.backend import DockerBackend
from omniagents_docker.engine import Engine

pytestmark = pytest.mark.service

NewBackend = Callable[..., DockerBackend]

_CONFIGURATION = """
version: 0.1
storage: {{filesystem: {{rootdirectory: {place}}}}}
http: {{addr: "127.0.0.1:{port}"}}
"""


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of an empty registry; on 127.0.0.0/8 engines ask for no TLS."""
    if apt.ensure(["docker-registry"]):
        pytest.skip("not installed: docker-registry; as root: python tests/services/apt.py")
    place: Path = tmp_path_factory.mktemp("registry")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    (place / "config.yml").write_text(_CONFIGURATION.format(place=place / "data", port=port))
    program = shutil.which("docker-registry")
    assert program is not None
    with (place / "log").open("wb") as log:
        server = subprocess.Popen([program, "serve", place / "config.yml"], stdout=log, stderr=log)
        try:
            _wait_for(port)
            yield f"127.0.0.1:{port}"
        finally:
            server.terminate()
            server.wait()


def _wait_for(port: int) -> None:
    end = time.monotonic() + 30
    while True:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
        try:
            connection.request("GET", "/v2/")
            assert connection.getresponse().status == 200
            return
        except ConnectionError:
            assert time.monotonic() < end
        finally:
            connection.close()


@pytest.fixture
def only_in_registry(registry: str, engine_address: str, engine: Engine) -> Iterator[str]:
    """The name of an image, without Python, whose layer the engine has not."""
    name = f"{registry}/omniagents-test/pulled:1"
    docker = ["docker", "--host", engine_address]
    content = subprocess.run(
        [sys.executable, "-c", "import tarfile,sys; tarfile.open(fileobj=sys.stdout.buffer, mode='w|').close()"],
        capture_output=True,
        check=True,
    ).stdout
    subprocess.run([*docker, "import", "-", name], input=content, check=True, capture_output=True)
    subprocess.run([*docker, "push", name], check=True, capture_output=True)
    subprocess.run([*docker, "rmi", name], check=True, capture_output=True)
    assert engine.image(name) is None
    yield name
    subprocess.run([*docker, "rmi", name], check=True, capture_output=True)


def test_an_absent_image_is_pulled_and_its_progress_told(
    only_in_registry: str, new_backend: NewBackend, engine: Engine
) -> None:
    messages: list[Mapping[str, Any]] = []
    backend = new_backend(image=only_in_registry, pull_progress=messages.append)
    with pytest.raises(BackendStartError, match="has no python3"):
        backend.start()
    told = [str(message.get("status")) for message in messages]
    assert "Pulling from omniagents-test/pulled" in told
    assert told[-1].startswith("Status: Downloaded newer image for 127.0.0.1")
    assert engine.image(only_in_registry) is not None


def test_an_image_that_the_registry_has_not_is_named_with_the_cure(registry: str, new_backend: NewBackend) -> None:
    name = f"{registry}/omniagents-test/nothing:1"
    with pytest.raises(BackendStartError) as caught:
        new_backend(image=name).start()
    assert str(caught.value).startswith(f"the engine has no image {name!r} and cannot get it: image {name!r} cannot be")
    assert f"pull it (docker pull {name}), load it (docker load), or name another with image=" in str(caught.value)
