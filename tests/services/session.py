"""Who started a service: a test session stops what it started itself, and nothing that was there before."""

from __future__ import annotations

import os
from pathlib import Path

__all__ = ["VARIABLE", "is_ours", "note_start"]

#: Names the test session to all of its processes; outside of a session it is not set.
VARIABLE = "OMNIAGENTS_TEST_SESSION"


def note_start(folder: Path) -> None:
    """Called by whoever has just started the service of a folder."""
    (folder / "started-by").write_text(os.environ.get(VARIABLE, ""), encoding="ascii")


def is_ours(folder: Path) -> bool:
    """Whether this session started it."""
    try:
        starter = (folder / "started-by").read_text("ascii")
    except FileNotFoundError:
        return False
    return starter != "" and starter == os.environ.get(VARIABLE)
