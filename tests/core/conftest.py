"""The guest's operations and the tools together, without a process between them."""

from __future__ import annotations

import importlib
import json
from concurrent.futures import Future
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from omniagents.errors import GuestCallError
from omniagents.guest.context import Call, Context, PathLocks
from omniagents.guest.failure import GuestFailure
from omniagents.guest.root import Root
from omniagents.records import Reply

MODULE_OF_OPERATION = {
    "glob": "globbing",
    "list_directory": "listing",
    "read_file": "reading",
    "read_many_files": "reading_many",
    "replace": "editing",
    "save_memory": "memory",
    "search_file_content": "search",
    "write_file": "editing",
}


class DirectWorkspace:
    """Answers ``request`` by calling the guest's operation in this process; arguments and replies go through JSON."""

    def __init__(self, root: Path) -> None:
        self.root = Root(str(root))
        self._locks = PathLocks()

    def request(self, operation: str, arguments: dict[str, Any], payload: bytes = b"") -> Future[Reply]:
        """A completed future: the reply, or ``GuestCallError`` where the operation refused."""
        module = importlib.import_module("omniagents.guest." + MODULE_OF_OPERATION.get(operation, operation))
        context = Context(self.root, Call(payload), self._locks)
        future: Future[Reply] = Future()
        try:
            value, data = getattr(module, operation)(context, json.loads(json.dumps(arguments)))
            future.set_result(Reply(json.loads(json.dumps(value)), data))
        except GuestFailure as failure:
            header: dict[str, Any] = json.loads(json.dumps(failure.as_header()))
            future.set_exception(
                GuestCallError(header["message"], code=header["code"], details=header.get("details"))
            )
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
