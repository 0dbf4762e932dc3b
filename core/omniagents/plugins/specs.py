"""The hooks a plugin may implement, and ``Component``, which the registering ones answer with.

A plugin is a module (or object) with functions of these names, marked ``@hookimpl``, and an
entry point in the group ``omniagents``. It may leave out hooks, and arguments of hooks.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal

import pluggy

if TYPE_CHECKING:
    from omniagents.backends.base import Backend
    from omniagents.state.base import Snapshot
    from omniagents.tools.base import Tool, ToolResult

__all__ = ["HOOK_OF_KIND", "OBSERVERS", "PROJECT", "Component", "Kind", "hookimpl", "hookspec"]

#: The pluggy project and the entry-point group.
PROJECT: Final = "omniagents"

Kind = Literal["backend", "state_manager", "tool", "agent", "preset"]

hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)


@dataclass(frozen=True)
class Component:
    """A name, and where its class is; nothing is imported until someone asks for the name.

    Attributes:
        name: Letters, digits, ``-``, ``_`` and ``.``; at most 64. Unique among the components of its kind.
        target: ``package.module:Class``.
        summary: One line for listings.
    """

    name: str
    target: str
    summary: str = ""


@hookspec
def omniagents_register_backends() -> Sequence[Component]:  # type: ignore[empty-body]
    """Backends: subclasses of ``omniagents.backends.base.Backend``."""


@hookspec
def omniagents_register_state_managers() -> Sequence[Component]:  # type: ignore[empty-body]
    """State managers: subclasses of ``omniagents.state.StateManager``."""


@hookspec
def omniagents_register_tools() -> Sequence[Component]:  # type: ignore[empty-body]
    """Tools: subclasses of ``omniagents.tools.base.Tool``. The name is the one models see."""


@hookspec
def omniagents_register_agents() -> Sequence[Component]:  # type: ignore[empty-body]
    """Framework adapters: subclasses of ``omniagents.agents.base.Agent``."""


@hookspec
def omniagents_register_presets() -> Sequence[Component]:  # type: ignore[empty-body]
    """Presets: subclasses of ``omniagents.presets.base.Preset`` that need no arguments."""


@hookspec
def omniagents_backend_started(backend: Backend) -> None:
    """The backend is running and its workspace is loaded."""


@hookspec
def omniagents_backend_stopping(backend: Backend) -> None:
    """``shutdown()`` was called; the workspace can still be used."""


@hookspec
def omniagents_tool_finished(tool: Tool, arguments: Mapping[str, Any], result: ToolResult, seconds: float) -> None:
    """A tool call has a result, good or bad; not called when the environment was lost."""


@hookspec
def omniagents_snapshot_saved(backend: Backend, snapshot: Snapshot) -> None:
    """A snapshot was stored, by ``checkpoint()``, by itself, or by ``shutdown()``."""


HOOK_OF_KIND: Final[Mapping[Kind, str]] = {
    "backend": "omniagents_register_backends",
    "state_manager": "omniagents_register_state_managers",
    "tool": "omniagents_register_tools",
    "agent": "omniagents_register_agents",
    "preset": "omniagents_register_presets",
}

OBSERVERS: Final = (
    "omniagents_backend_started",
    "omniagents_backend_stopping",
    "omniagents_tool_finished",
    "omniagents_snapshot_saved",
)
