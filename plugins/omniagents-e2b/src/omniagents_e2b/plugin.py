"""Registers the ``e2b`` backend. Imports no SDK: this module runs whenever plugins are listed."""

from __future__ import annotations

from omniagents import Component, hookimpl


@hookimpl
def omniagents_register_backends() -> list[Component]:
    return [
        Component(
            name="e2b",
            target="omniagents_e2b.backend:E2BBackend",
            summary="One E2B cloud sandbox for each project.",
        )
    ]
