"""A running LocalBackend for tests, away from the user's own data, and a look at the processes it leaves."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from omniagents.backends.local_backend import LocalBackend
from omniagents.state import NoOpStateManager


@contextmanager
def running_backend(directory: Path, **options: Any) -> Iterator[LocalBackend]:
    """A backend whose workspace is ``directory / "workspace"``."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("DATA", "CACHE", "STATE"):
            patch.setenv(f"XDG_{name}_HOME", str(directory / name.lower()))
        backend = LocalBackend("tests", NoOpStateManager(), workspace_dir=directory / "workspace", **options)
        with backend:
            yield backend


def living(marker: str) -> list[int]:
    """The processes with ``marker`` as a word of their command line."""
    return [
        int(entry.name)
        for entry in Path("/proc").iterdir()
        if entry.name.isdigit() and marker.encode() in _command_line(entry).split(b"\0")
    ]


def eventually(condition: Callable[[], object], seconds: float = 20.0) -> bool:
    """Whether ``condition`` comes true; for what happens behind a call's back."""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            return False
        threading.Event().wait(0.01)
    return True


def _command_line(process: Path) -> bytes:
    try:
        return (process / "cmdline").read_bytes()
    except OSError:
        return b""  # it ended meanwhile
