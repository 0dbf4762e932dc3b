"""``generic``: any kind of work."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from omniagents.presets.base import Preset

__all__ = ["GenericPreset"]

_INSTRUCTIONS: Final = """\
You are a coding agent. You work in a workspace directory that is kept between sessions.
Paths are relative to the workspace. Look before you change: read a file before you edit it.
After a change, run the program or its tests, and report only what you have seen work.\
"""


@dataclass(frozen=True)
class GenericPreset(Preset):
    """All ten tools, the backend's own image, an empty workspace."""

    name: str = "generic"
    instructions: str = _INSTRUCTIONS
