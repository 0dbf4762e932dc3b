"""Omniagents: coding environments for the users of your product.

``create_backend``, ``create_state_manager``, ``create_tools`` and ``create_agent`` make components
by name; ``available`` lists the names. Importing this package imports no plugin and no SDK.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, cast

from omniagents import errors
from omniagents._version import __version__

if TYPE_CHECKING:
    from omniagents.agents.base import Agent
    from omniagents.backends.base import Backend
    from omniagents.plugins.registry import ComponentRecord
    from omniagents.plugins.specs import Component, Kind, hookimpl
    from omniagents.presets.base import Preset
    from omniagents.state.base import StateManager
    from omniagents.tools.base import Tool

__all__ = [
    "Component",
    "__version__",
    "available",
    "create_agent",
    "create_backend",
    "create_state_manager",
    "create_tools",
    "errors",
    "hookimpl",
]


def create_backend(
    name: str,
    *,
    project_id: str,
    state_manager: StateManager | str = "none",
    preset: Preset | Callable[[], Preset] | str | None = None,
    **options: Any,
) -> Backend:
    """Make a backend; ``start()`` it, or use it as a context manager.

    Args:
        name: ``available("backend")`` lists them. ``auto`` is bubblewrap, else Docker, whichever works here: its class
            says which it is. It never falls back to no isolation.
        project_id: Whose workspace: any string of 1 to 200 characters.
        state_manager: One you made, or the name of one that needs no options.
        preset: What to prepare in a new workspace: a preset, its class, or its name.
        options: What this backend takes besides.

    Raises:
        PluginError: The backend, state manager or preset cannot be had; see ``omniagents.errors``.
        BackendStartError: ``auto`` found nothing that isolates; says why, and the cure.
        TypeError: A wrong option, or something of the wrong type; names what is valid.
    """
    from omniagents.plugins import automatic, registry
    from omniagents.state.base import StateManager

    manager = create_state_manager(state_manager) if isinstance(state_manager, str) else state_manager
    _check_instance("state_manager", manager, StateManager, "a state manager or the name of one")
    if preset is not None:
        options["preset"] = _preset(preset)
    name = automatic.choose_backend() if name == automatic.AUTOMATIC else name
    made = registry.create("backend", name, project_id=project_id, state_manager=manager, **options)
    return cast("Backend", made)


def create_state_manager(name: str, **options: Any) -> StateManager:
    """Make a state manager; one may serve many backends.

    Raises:
        PluginError: It cannot be had; see ``omniagents.errors``.
        TypeError: A wrong option; names the valid ones.
    """
    from omniagents.plugins import registry

    return cast("StateManager", registry.create("state_manager", name, **options))


def create_tools(backend: Backend, names: Iterable[str] | None = None) -> list[Tool]:
    """Make tools on a backend, which need not be running yet.

    Args:
        backend: Where they work.
        names: By default those of the backend's preset, or else the ten built-in ones.

    Raises:
        PluginError: One of them cannot be had; see ``omniagents.errors``.
    """
    from omniagents.backends.base import Backend
    from omniagents.plugins import registry
    from omniagents.presets.base import ALL_TOOLS

    _check_instance("backend", backend, Backend, "a backend")
    if isinstance(names, str):
        raise TypeError(f"names is a list of tool names, not the string {names!r}")
    if names is None:
        preset = getattr(backend, "preset", None)
        names = ALL_TOOLS if preset is None else preset.tools
    return [registry.create("tool", name, backend=backend) for name in names]


def create_agent(
    name: str,
    *,
    backend: Backend,
    model: Any,
    preset: Preset | Callable[[], Preset] | str | None = None,
    **options: Any,
) -> Agent:
    """Make a framework's agent on a backend.

    Args:
        name: ``available("agent")`` lists them.
        backend: Where its tools work.
        model: The framework's own model object, or a name the framework understands.
        preset: Sets tools and instructions; by default the backend's.
        options: What this agent takes besides, such as ``tools``, ``system_prompt`` and ``max_steps``.

    Raises:
        PluginError: The agent or preset cannot be had; see ``omniagents.errors``.
        TypeError: A wrong option, or something of the wrong type; names what is valid.
    """
    from omniagents.backends.base import Backend
    from omniagents.plugins import registry

    _check_instance("backend", backend, Backend, "a backend")
    if preset is not None:
        options["preset"] = _preset(preset)
    return cast("Agent", registry.create("agent", name, backend=backend, model=model, **options))


def available(kind: Kind | None = None) -> list[ComponentRecord]:
    """What can be created by name, of one kind or all. Kinds: backend, state_manager, tool, agent, preset.

    Imports none of it. Broken and disabled plugins are listed with their ``status`` and ``error``.
    """
    from omniagents.plugins import registry

    return registry.available(kind)


def _preset(given: Preset | Callable[[], Preset] | str) -> Preset:
    from omniagents.plugins import registry
    from omniagents.presets.base import Preset

    if isinstance(given, str):
        return cast("Preset", registry.create("preset", given))
    made = given() if callable(given) else given
    _check_instance("preset", made, Preset, "a preset, its class or its name")
    return made


def _check_instance(parameter: str, value: object, wanted: type, description: str) -> None:
    if not isinstance(value, wanted):
        hint = "; call the class" if isinstance(value, type) and issubclass(value, wanted) else ""
        raise TypeError(f"{parameter} is {description}, not {value!r:.200}{hint}")


def __getattr__(name: str) -> object:
    # pluggy is imported by those who write plugins or ask for components, not by everyone.
    if name in ("Component", "hookimpl"):
        from omniagents.plugins import specs

        return getattr(specs, name)
    raise AttributeError(f"module 'omniagents' has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
