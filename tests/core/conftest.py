"""The guest's operations and the tools together, without a process between them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import Future
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import importlib_metadata
import pytest
from tests.core.cli_support import Program
from tests.core.site_packages import SitePackages, forget_caches

from omniagents.errors import GuestCallError
from omniagents.guest.context import Call, Context, PathLocks
from omniagents.guest.failure import GuestFailure
from omniagents.guest.operations import find
from omniagents.guest.root import Root
from omniagents.plugins import manager
from omniagents.records import Reply


class DirectWorkspace:
    """Answers ``request`` by calling the guest's operation in this process; arguments and replies go through JSON."""

    def __init__(self, root: Path) -> None:
        self.root = Root(str(root))
        self._locks = PathLocks()

    def request(self, operation: str, arguments: dict[str, Any], payload: bytes = b"") -> Future[Reply]:
        """A completed future: the reply, or ``GuestCallError`` where the operation refused."""
        context = Context(self.root, Call(payload), self._locks)
        future: Future[Reply] = Future()
        try:
            value, data = find(operation)(context, json.loads(json.dumps(arguments)))
            future.set_result(Reply(json.loads(json.dumps(value)), data))
        except GuestFailure as failure:
            header: dict[str, Any] = json.loads(json.dumps(failure.as_header()))
            future.set_exception(GuestCallError(header["message"], code=header["code"], details=header.get("details")))
        return future


@pytest.fixture
def workspace_root(tmp_path: Path) -> Path:
    """An empty directory that is the workspace."""
    root = tmp_path / "workspace"
    root.mkdir()
    return root


@pytest.fixture
def backend(workspace_root: Path) -> Any:
    """What a tool needs of a backend: its ``workspace``, here on ``workspace_root``."""
    return SimpleNamespace(workspace=DirectWorkspace(workspace_root))


@pytest.fixture
def site_packages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[SitePackages]:
    """An empty site-packages, whose plugins are the only installed ones that are found."""
    path = tmp_path / "site-packages"
    path.mkdir()
    everywhere = importlib_metadata.distributions
    monkeypatch.setattr(importlib_metadata, "distributions", lambda: everywhere(path=[str(path)]))
    monkeypatch.delenv(manager.DISABLE_VARIABLE, raising=False)
    monkeypatch.syspath_prepend(path)
    forget_caches()
    site = SitePackages(path)
    yield site
    site.forget_modules()
    manager.reload()


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Program:
    """The program ``omniagents``, whose data is in a directory of this test."""
    made = Program(tmp_path / "home", capsys)
    for name, value in made.environment.items():
        monkeypatch.setenv(name, value)
    return made
