"""How names become tools on a backend, and presets, for the agents and tool sets of all frameworks."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from omniagents.backends.base import Backend
    from omniagents.presets.base import Preset
    from omniagents.tools.base import Tool

__all__ = ["made_preset", "make_tools"]


def make_tools(backend: Backend, tools: Sequence[Tool | str] | None = None) -> list[Tool]:
    """Make tools on a backend, which need not be running yet.

    Args:
        backend: Where those work that are given by name.
        tools: Tools, or names of tools; by default those of the backend's preset, or else the ten built-in ones.

    Raises:
        PluginError: One of them cannot be had; see ``omniagents.errors``.
        TypeError: ``tools`` is no list, or something in it is neither.
    """
    # The package, not the registry: it decides how names become tools.
    import omniagents
    from omniagents.tools.base import Tool

    if isinstance(tools, str):
        raise TypeError(f"tools is a list of tools or their names, not the string {tools!r:.200}")
    if not (tools is None or isinstance(tools, Iterable)):
        raise TypeError(f"tools is a list of tools or their names, not {tools!r:.200}")
    made: list[Tool] = []
    for tool in omniagents.create_tools(backend) if tools is None else tools:
        if not isinstance(tool, (Tool, str)):
            raise TypeError(f"tools is a list of tools or their names; {tool!r:.200} is neither")
        made += omniagents.create_tools(backend, [tool]) if isinstance(tool, str) else [tool]
    return made


def made_preset(preset: Preset | Callable[[], Preset] | str) -> Preset:
    """The preset itself, of its class, or of its name.

    Raises:
        PluginError: There is none of this name.
        TypeError: It is something else.
    """
    import omniagents

    return omniagents._preset(preset)
