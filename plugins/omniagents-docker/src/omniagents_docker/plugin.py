"""Registers the ``docker`` backend. Imports no SDK: this module runs whenever plugins are listed."""

from __future__ import annotations

from omniagents import Component, hookimpl


@hookimpl
def omniagents_register_backends() -> list[Component]:
    return [
        Component(
            name="docker",
            target="omniagents_docker.backend:DockerBackend",
            summary="One hardened container for each project.",
        )
    ]
