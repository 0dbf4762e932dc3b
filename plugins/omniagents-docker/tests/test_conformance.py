"""The whole contract of backends and of the ten tools, in containers of a real engine."""

from __future__ import annotations

from functools import partial

import pytest

from omniagents.testing import BackendContract, BackendFactory, ToolContract
from omniagents_docker.backend import DockerBackend
from omniagents_docker.hardening import HardeningProfile

pytestmark = pytest.mark.service

_IMAGE = "omniagents-test:python"


class TestDockerBackend(BackendContract):
    isolated = True


class TestToolsOnDockerBackend(ToolContract):
    pass


class TestToolsAsRootWithoutANetwork(ToolContract):
    @pytest.fixture(scope="class")
    @classmethod
    def backend_factory(cls, engine_address: str) -> BackendFactory:
        hardening = HardeningProfile(uid=0, gid=0, network="none")
        return partial(DockerBackend, docker_host=engine_address, image=_IMAGE, hardening=hardening)


class TestToolsOnPython39(ToolContract):
    @pytest.fixture(scope="class")
    @classmethod
    def backend_factory(cls, engine_address: str) -> BackendFactory:
        return partial(DockerBackend, docker_host=engine_address, image="omniagents-test:python3.9")
