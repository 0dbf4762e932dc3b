"""What is not worth keeping: caches, and trees that can be made again from what is kept."""

from __future__ import annotations

import re
from collections.abc import Iterable

__all__ = ["DEFAULT_LEAVE_OUT", "IGNORE_FILE", "VENV", "keeping", "venvs_without_lock"]

#: In gitignore syntax. A virtual environment is only left out beside a lock file that rebuilds it.
DEFAULT_LEAVE_OUT: tuple[str, ...] = (
    "node_modules/",
    "__pycache__/",
    ".mypy_cache/",
    ".pytest_cache/",
    ".ruff_cache/",
    ".tox/",
    ".venv/",
)
IGNORE_FILE = ".omniagentsignore"
VENV = ".venv"

# What `uv sync`, run by the Python preset in a restored workspace, makes the environment from.
_REBUILDS_VENV = ("pyproject.toml", "uv.lock")


def venvs_without_lock(left_out: Iterable[str], entries: Iterable[str]) -> frozenset[str]:
    """Which left-out virtual environments nothing could rebuild."""
    venvs = [path for path in left_out if path.rpartition("/")[2] == VENV]
    if not venvs:
        return frozenset()
    present = set(entries)
    return frozenset(
        path for path in venvs if not all(path.removesuffix(VENV) + name in present for name in _REBUILDS_VENV)
    )


def keeping(paths: Iterable[str]) -> list[str]:
    """Patterns that take these paths back in; later patterns win."""
    return ["!/" + re.sub(r"([\\*?\[\] ])", r"\\\1", path) for path in sorted(paths)]
