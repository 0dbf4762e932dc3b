"""``python-uv`` and ``python-pip``: Python projects whose packages are managed by uv, or by pip."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from omniagents.presets.base import ALL_TOOLS, Preset
from omniagents.presets.generic import GenericPreset

__all__ = ["PythonPipPreset", "PythonUVPreset"]

# No network and no side effects outside the workspace: `--bare` writes pyproject.toml and nothing else,
# `--no-workspace` keeps uv from adding the project to one in a parent directory.
_MAKE_PROJECT: Final = (
    "if command -v uv >/dev/null 2>&1 && [ ! -e pyproject.toml ]; then "
    "uv init --bare --no-workspace --no-python-downloads --name app; fi"
)

_INSTRUCTIONS: Final = f"""\
{GenericPreset.instructions}
The workspace is a Python project managed by uv; its dependencies are in pyproject.toml.
Add a package with the uv tool (`add flask`), never with pip. Run Python with `uv run python main.py`
and tests with `uv run pytest` (after `add --dev pytest`): uv creates and updates .venv by itself.\
"""


def _environment() -> dict[str, str]:
    # The cache and the workspace are often on different file systems, where hard links only cause warnings.
    return {"UV_LINK_MODE": "copy", "UV_NO_PROGRESS": "1"}


@dataclass(frozen=True)
class PythonUVPreset(Preset):
    """All ten tools, an image with Python 3.12 and uv, and a new workspace that is a uv project."""

    name: str = "python-uv"
    image: str | None = "astral/uv:python3.12-bookworm"
    environment: Mapping[str, str] = field(default_factory=_environment, hash=False)
    setup_commands: tuple[str, ...] = (_MAKE_PROJECT,)
    instructions: str = _INSTRUCTIONS


# A Debian Python without python3-venv makes half an environment and fails: then there is none, as the instructions say.
_MAKE_VENV: Final = (
    "[ -e requirements.txt ] || : > requirements.txt; "
    "[ -e .venv ] || python3 -m venv .venv >/dev/null 2>&1 || rm -rf .venv"
)

_PIP_INSTRUCTIONS: Final = f"""\
{GenericPreset.instructions}
The workspace is a Python project; its dependencies are in requirements.txt, and installed in the environment .venv.
Add a package by adding a line to requirements.txt and running `.venv/bin/python -m pip install -r requirements.txt`.
Run Python with `.venv/bin/python main.py` and tests with `.venv/bin/python -m unittest`. Where .venv is missing, make
it with `python3 -m venv .venv` and install again.\
"""


def _pip_environment() -> dict[str, str]:
    return {"PIP_DISABLE_PIP_VERSION_CHECK": "1", "PIP_PROGRESS_BAR": "off"}


@dataclass(frozen=True)
class PythonPipPreset(Preset):
    """All tools but uv, an image with Python 3.12, and a new workspace with requirements.txt and .venv."""

    name: str = "python-pip"
    tools: tuple[str, ...] = tuple(tool for tool in ALL_TOOLS if tool != "uv")
    image: str | None = "python:3.12-bookworm"
    environment: Mapping[str, str] = field(default_factory=_pip_environment, hash=False)
    setup_commands: tuple[str, ...] = (_MAKE_VENV,)
    instructions: str = _PIP_INSTRUCTIONS
