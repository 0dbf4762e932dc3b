"""Registers the ``gcs`` state manager. Imports no SDK: this module runs whenever plugins are listed."""

from __future__ import annotations

from omniagents import Component, hookimpl


@hookimpl
def omniagents_register_state_managers() -> list[Component]:
    return [
        Component(
            name="gcs",
            target="omniagents_gcs.state_manager:GCSStateManager",
            summary="Snapshots in Google Cloud Storage.",
        )
    ]
