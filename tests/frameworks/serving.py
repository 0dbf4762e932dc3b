"""Fixtures of everything that talks to a scripted model."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest
from tests.services.model_server import ModelServer, Script

from omniagents.backends.base import Backend
from omniagents.backends.local_backend import LocalBackend

__all__ = ["Serve", "homes", "local_backend", "serve"]

#: Starts a server that follows a script; it ends with the test.
Serve = Callable[[Script], ModelServer]

_KEYS = ("OPENAI_API_KEY", "ANTHROPIC_API_KEY", "HF_TOKEN", "LANGSMITH_TRACING", "LANGCHAIN_TRACING_V2")


@pytest.fixture(scope="session", autouse=True)
def homes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Whatever belongs to a user goes to a directory of the tests', and nobody's account is used."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("XDG_DATA_HOME", "XDG_CACHE_HOME", "XDG_STATE_HOME"):
            patch.setenv(name, str(tmp_path_factory.mktemp(name.lower())))
        for name in _KEYS:
            patch.delenv(name, raising=False)
        yield


@pytest.fixture
def serve() -> Iterator[Serve]:
    with ExitStack() as servers:
        yield lambda script: servers.enter_context(ModelServer(script))


@pytest.fixture
def local_backend(request: pytest.FixtureRequest) -> Iterator[Backend]:
    """A running backend of this test's own."""
    with LocalBackend(project_id=request.node.nodeid[-150:]) as backend:
        yield backend
