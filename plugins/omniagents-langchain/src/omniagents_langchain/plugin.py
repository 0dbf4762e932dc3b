"""Registers the ``langchain`` agent. Imports no SDK: this module runs whenever plugins are listed."""

from __future__ import annotations

from omniagents import Component, hookimpl


@hookimpl
def omniagents_register_agents() -> list[Component]:
    return [
        Component(
            name="langchain",
            target="omniagents_langchain.agent:LangChainAgent",
            summary="LangChain's create_agent with the tools of a backend.",
        )
    ]
