"""Registers the ``smolagents`` agent. Imports no SDK: this module runs whenever plugins are listed."""

from __future__ import annotations

from omniagents import Component, hookimpl


@hookimpl
def omniagents_register_agents() -> list[Component]:
    return [
        Component(
            name="smolagents",
            target="omniagents_smolagents.agent:SmolagentsAgent",
            summary="A smolagents agent with the tools of a backend.",
        )
    ]
