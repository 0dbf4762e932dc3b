"""Registers the ``bubblewrap`` backend. Imports nothing heavy: this module runs whenever plugins are listed."""

from __future__ import annotations

from omniagents import Component, hookimpl


@hookimpl
def omniagents_register_backends() -> list[Component]:
    return [
        Component(
            name="bubblewrap",
            target="omniagents_bubblewrap.backend:BubblewrapBackend",
            summary="Namespaces, seccomp and limits on this Linux machine, without an engine.",
        )
    ]
