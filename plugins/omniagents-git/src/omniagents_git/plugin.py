"""Registers the ``git`` state manager. Imports no SDK: this module runs whenever plugins are listed."""

from __future__ import annotations

from omniagents import Component, hookimpl


@hookimpl
def omniagents_register_state_managers() -> list[Component]:
    return [
        Component(
            name="git",
            target="omniagents_git.state_manager:GitStateManager",
            summary="A browsable branch for each project in a git repository.",
        )
    ]
