"""The plugins of this process: loaded once, on first use, each isolated from the others; and their observers.

``OMNIAGENTS_DISABLE_PLUGINS=name1,name2`` keeps plugins, and their commands, from being imported, by entry-point name.
"""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from omniagents._version import __version__
from omniagents.errors import BrokenPluginError, PluginError
from omniagents.plugins import builtin
from omniagents.plugins.discovery import commands, discovered
from omniagents.plugins.loading import Origin, Plugin, loaded_object
from omniagents.plugins.specs import OBSERVERS

if TYPE_CHECKING:
    import pluggy

__all__ = ["DISABLE_VARIABLE", "disabled_names", "notify", "plugins", "register", "reload", "unregister"]

DISABLE_VARIABLE: Final = "OMNIAGENTS_DISABLE_PLUGINS"

_logger = logging.getLogger("omniagents")


@dataclass(frozen=True)
class _Loaded:
    """Everything at one moment; replaced as a whole, so that readers need no lock."""

    installed: tuple[Plugin, ...]
    plugins: tuple[Plugin, ...]
    observers: Mapping[str, tuple[tuple[Plugin, pluggy.HookCaller], ...]]


_lock = threading.Lock()
_in_process: tuple[tuple[object, Plugin], ...] = ()
_loaded: _Loaded | None = None
_this_thread = threading.local()


def plugins() -> tuple[Plugin, ...]:
    """Every plugin: the built-in one, the installed ones (broken and disabled too), those of ``register``.

    Raises:
        PluginError: Called by a plugin while it is being loaded.
    """
    return _current().plugins


def notify(hook_name: str, /, **arguments: object) -> None:
    """Call the observers of one hook, one by one; what they raise is logged and goes no further."""
    loaded = _loaded
    if loaded is None:
        try:
            loaded = _current()
        except Exception:
            _logger.exception("%s: plugins cannot be told", hook_name)
            return
    for plugin, call in loaded.observers[hook_name]:
        try:
            call(**arguments)
        except Exception:
            _logger.exception("%s failed in %s", hook_name, plugin)


def register(plugin: object, *, name: str | None = None) -> None:
    """Add a plugin of this process: a module or an object with hooks. For products and tests.

    Args:
        plugin: Kept until ``unregister``.
        name: For messages and listings; by default the name of the module or class.

    Raises:
        BrokenPluginError: It implements no hook, or one of them fails.
        ValueError: It is registered already.
    """
    global _in_process
    chosen = name or str(getattr(plugin, "__name__", type(plugin).__name__))
    made = loaded_object(plugin, chosen, Origin("this process", "", "in-process"))
    for failure in made.failures:
        raise BrokenPluginError(f"plugin {chosen!r} cannot be registered: {failure}") from failure.error
    with _lock:
        if any(known is plugin for known, _ in _in_process):
            raise ValueError(f"plugin {chosen!r} is registered already")
        _in_process = (*_in_process, (plugin, made))
        _rebuild()


def unregister(plugin: object) -> None:
    """Take back ``register``.

    Raises:
        ValueError: It is not registered.
    """
    global _in_process
    with _lock:
        kept = tuple(entry for entry in _in_process if entry[0] is not plugin)
        if len(kept) == len(_in_process):
            raise ValueError(f"{plugin!r} is not a registered plugin")
        _in_process = kept
        _rebuild()


def reload() -> None:
    """Look for installed plugins again on next use: after installing one, or changing ``sys.path``."""
    global _loaded
    with _lock:
        _loaded = None


def disabled_names() -> set[str]:
    """The entry points that are not to be imported."""
    return {name.strip() for name in os.environ.get(DISABLE_VARIABLE, "").split(",")} - {""}


def _current() -> _Loaded:
    global _loaded
    if _loaded is not None:
        return _loaded
    # Not under the lock: importing a plugin waits for import locks, whose holders may be waiting for us.
    # Two threads may both load; imports are cached, and the first to finish is kept.
    installed = _installed()
    with _lock:
        if _loaded is None:
            _loaded = _assembled(installed)
        return _loaded


def _installed() -> tuple[Plugin, ...]:
    if getattr(_this_thread, "is_loading", False):
        raise PluginError("plugins are being loaded; a plugin cannot ask for components while it is imported")
    disabled = disabled_names()
    _this_thread.is_loading = True
    try:
        found = (_builtin(), *discovered(disabled))
    finally:
        _this_thread.is_loading = False
    unused = disabled - {plugin.name for plugin in found if plugin.is_disabled}
    if unused and (unused := unused - {entry_point.name for _, entry_point in commands()}):
        _logger.warning("%s names no installed plugin: %s", DISABLE_VARIABLE, ", ".join(sorted(unused)))
    return found


def _builtin() -> Plugin:
    return loaded_object(builtin, "builtin", Origin("omniagents", __version__, str(Path(__file__).parents[2])))


def _rebuild() -> None:
    """Bring the observers up to date with ``_in_process``; the lock is held. Nothing to do before first use."""
    global _loaded
    if _loaded is not None:
        _loaded = _assembled(_loaded.installed)


def _assembled(installed: tuple[Plugin, ...]) -> _Loaded:
    """Installed plugins and those of this process; the lock is held."""
    everyone = (*installed, *(plugin for _, plugin in _in_process))
    return _Loaded(installed, everyone, {name: tuple(_implementing(everyone, name)) for name in OBSERVERS})


def _implementing(everyone: tuple[Plugin, ...], hook_name: str) -> Iterator[tuple[Plugin, pluggy.HookCaller]]:
    for plugin in everyone:
        caller = getattr(plugin.hooks.hook, hook_name) if plugin.hooks is not None else None
        if caller is not None and caller.get_hookimpls():
            yield plugin, caller
