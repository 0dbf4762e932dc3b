"""The Python of each plugin's README runs as it stands, each page as one program, with the services that it needs.

Those of omniagents-docker have tests beside that plugin.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path

import pytest
from tests.docs.examples import PLUGINS, blocks
from tests.services import docker_engine
from tests.services.e2b.server import E2BServer
from tests.services.gcs.emulator import emulator_process

Variables = dict[str, str]


@contextmanager
def bucket_and_engine() -> Iterator[Variables]:
    engine = docker_engine.start("astral/uv:python3.12-bookworm")
    with emulator_process("workspaces") as address:
        yield {"BUCKET_OMNIAGENTS": "workspaces", "STORAGE_EMULATOR_HOST": address, "DOCKER_HOST": engine}


@contextmanager
def sandboxes() -> Iterator[Variables]:
    with E2BServer() as server:
        yield dict(server.variables)


#: Beside the plugin itself.
NEEDED: dict[str, Callable[[], AbstractContextManager[Variables]]] = {
    "omniagents-e2b": sandboxes,
    "omniagents-gcs": bucket_and_engine,
}
PAGES = {
    page.parent.name: "\n".join(block.code for block in found)
    for page in PLUGINS
    if (found := blocks("python", [page])) and page.parent.name != "omniagents-docker"
}


@pytest.mark.parametrize(
    "plugin", [pytest.param(name, marks=[pytest.mark.service] if name in NEEDED else []) for name in PAGES]
)
def test_the_examples_of_a_plugin_run(plugin: str, tmp_path: Path) -> None:
    homes = {name: str(tmp_path / name) for name in ("XDG_DATA_HOME", "XDG_CACHE_HOME", "XDG_STATE_HOME")}
    with NEEDED.get(plugin, lambda: nullcontext({}))() as variables:
        finished = subprocess.run(
            [sys.executable, "-c", PAGES[plugin]],
            cwd=tmp_path,
            env={**os.environ, **homes, **variables, "PYTHONWARNINGS": "error"},
            capture_output=True,
            text=True,
            timeout=110,
        )
    assert finished.returncode == 0, finished.stderr
