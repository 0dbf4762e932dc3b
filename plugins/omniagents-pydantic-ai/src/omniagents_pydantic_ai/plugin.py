"""Registers the ``pydantic-ai`` agent. Imports no SDK: this module runs whenever plugins are listed."""

from __future__ import annotations

from omniagents import Component, hookimpl


@hookimpl
def omniagents_register_agents() -> list[Component]:
    return [
        Component(
            name="pydantic-ai",
            target="omniagents_pydantic_ai.agent:PydanticAIAgent",
            summary="A Pydantic AI agent with the tools of a backend.",
        )
    ]
