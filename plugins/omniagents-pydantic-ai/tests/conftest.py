"""A running backend, and directories of the tests' own."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from omniagents.backends.base import Backend
from omniagents.backends.local_backend import LocalBackend


@pytest.fixture
def backend(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Iterator[Backend]:
    for name in ("XDG_DATA_HOME", "XDG_CACHE_HOME"):
        monkeypatch.setenv(name, str(tmp_path_factory.mktemp(name.lower())))
    for name in ("OPENAI_API_KEY", "ANTHROPIC_API_KEY", "HF_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    with LocalBackend(project_id="test") as backend:
        yield backend
