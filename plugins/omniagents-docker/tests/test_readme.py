"""The examples of the README run as they stand, with an image that the tests' engine has."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.service

_README = Path(__file__).parents[1] / "README.md"
_BLOCKS = re.findall(r"^```python\n(.*?)^```$", _README.read_text("utf-8"), re.MULTILINE | re.DOTALL)
_IMAGE = "astral/uv:python3.12-bookworm"


def printed(blocks: list[str], address: str, place: Path) -> str:
    program = "\n".join(blocks)
    assert _IMAGE in program
    variables = {"DOCKER_HOST": address, "XDG_DATA_HOME": str(place), "PYTHONWARNINGS": "error"}
    argv = [sys.executable, "-c", program.replace(_IMAGE, "omniagents-test:python")]
    result = subprocess.run(argv, env={**os.environ, **variables}, capture_output=True, text=True, timeout=100)
    assert result.returncode == 0, result.stderr
    return result.stdout


def test_the_first_example_runs(engine_address: str, tmp_path: Path) -> None:
    assert printed(_BLOCKS[:1], engine_address, tmp_path).startswith("Python 3.")


def test_two_users_work_at_once_and_see_only_their_own(engine_address: str, tmp_path: Path) -> None:
    assert printed([_BLOCKS[1]], engine_address, tmp_path) == "alice was here\napp.py\nbob was here\napp.py\n"


def test_warm_containers_run(engine_address: str, tmp_path: Path) -> None:
    assert printed([_BLOCKS[0], _BLOCKS[2]], engine_address, tmp_path).startswith("Python 3.")
