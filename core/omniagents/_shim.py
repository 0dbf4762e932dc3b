"""The documented import paths of classes that live in plugins."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module

from omniagents.plugins.first_party import missing_plugin

__all__ = ["from_plugins"]


def from_plugins(shim: str, **modules: str) -> Callable[[str], object]:
    """A ``__getattr__`` for the module ``shim``: each named class is imported from its plugin's module on use.

    The function it returns raises ``MissingPluginError`` if the plugin is not installed; what
    goes wrong inside an installed plugin passes through unchanged.
    """

    def __getattr__(name: str) -> object:
        if name not in modules:
            raise AttributeError(f"module {shim!r} has no attribute {name!r}")
        package = modules[name].partition(".")[0]
        try:
            module = import_module(modules[name])
        except ModuleNotFoundError as error:
            if error.name != package:
                raise
            raise missing_plugin(f"{shim}.{name}", package.replace("_", "-")) from error
        return getattr(module, name)

    return __getattr__
