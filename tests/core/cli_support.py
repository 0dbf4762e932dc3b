"""The program ``omniagents`` as a test runs it: in this process, or in one of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from omniagents.cli import main


class Answer(NamedTuple):
    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


class Program:
    """Keeps all its data below ``home``."""

    def __init__(self, home: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.environment = {
            "XDG_DATA_HOME": str(home / "data"),
            "XDG_CACHE_HOME": str(home / "cache"),
            "OMNIAGENTS_STATE_DIRECTORY": str(home / "snapshots"),
        }
        self._capsys = capsys

    def __call__(self, *arguments: str) -> Answer:
        """Run it in this process."""
        self._capsys.readouterr()
        code = main(arguments)
        return Answer(code, *self._capsys.readouterr())

    def process(self, *arguments: str, **options: Any) -> subprocess.Popen[bytes]:
        """Start it on its own, with pipes."""
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        return subprocess.Popen(
            [sys.executable, "-m", "omniagents", *arguments],
            env={**os.environ, **self.environment},
            **{**pipes, **options},
        )
