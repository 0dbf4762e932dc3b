"""Registers the ``directory`` state manager. Imports nothing heavy: this module runs whenever plugins are listed."""

from __future__ import annotations

from omniagents import Component, hookimpl


@hookimpl
def omniagents_register_state_managers() -> list[Component]:
    return [
        Component(
            name="directory",
            target="omniagents_snapshot.directory:DirectoryStateManager",
            summary="Incremental, versioned snapshots in a local directory.",
        )
    ]
