"""Options that several commands share, and what they stand for."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, TypeVar

import click

import omniagents
from omniagents.backends.base import Backend
from omniagents.state.base import StateManager

__all__ = [
    "as_json",
    "make_backend",
    "make_state_manager",
    "named_values",
    "save_option",
    "state_options",
    "workspace_options",
]

_F = TypeVar("_F", bound=Callable[..., Any])

as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
save_option = click.option(
    "--save/--no-save", default=True, show_default=True, help="Save the workspace at the end, or discard what changed."
)


def state_options(command: _F) -> _F:
    """``--state`` and ``--state-option``."""
    return _with(
        command,
        click.option(
            "--state", "-s", default="directory", show_default=True, help="State manager; see `omniagents plugins`."
        ),
        click.option(
            "--state-option",
            "state_values",
            multiple=True,
            metavar="NAME=VALUE",
            callback=_values,
            help="An option of the state manager, such as directory=/srv/snapshots. Repeatable.",
        ),
    )


def workspace_options(command: _F) -> _F:
    """What it takes to start a project's backend."""
    return state_options(
        _with(
            command,
            click.option(
                "--backend",
                "-b",
                default="local",
                show_default=True,
                help="Backend; see `omniagents plugins`. `local` does not isolate: for code you trust.",
            ),
            click.option(
                "--backend-option",
                "backend_values",
                multiple=True,
                metavar="NAME=VALUE",
                callback=_values,
                help="An option of the backend. Repeatable.",
            ),
            click.option("--preset", "-p", help="Preset, such as python-uv: prepares a new workspace."),
            click.option(
                "--env",
                "-e",
                "environment",
                multiple=True,
                metavar="NAME=VALUE",
                callback=_strings,
                help="A variable for the commands. Repeatable.",
            ),
        )
    )


def make_state_manager(name: str, values: dict[str, Any]) -> StateManager:
    """The state manager that the options name.

    Raises:
        click.UsageError: It does not take such options.
    """
    try:
        return omniagents.create_state_manager(name, **values)
    except TypeError as error:
        raise click.UsageError(str(error)) from error


def make_backend(
    project: str,
    manager: StateManager,
    *,
    backend: str,
    backend_values: dict[str, Any],
    preset: str | None,
    environment: dict[str, str],
) -> Backend:
    """The backend that the options of ``workspace_options`` name, not started.

    Raises:
        click.UsageError: It does not take such options.
    """
    options = dict(backend_values)
    if environment:
        options["environment"] = environment
    try:
        return omniagents.create_backend(backend, project_id=project, state_manager=manager, preset=preset, **options)
    except TypeError as error:
        raise click.UsageError(str(error)) from error


def named_values(given: tuple[str, ...]) -> dict[str, str]:
    """``("A=1",)`` as ``{"A": "1"}``.

    Raises:
        click.BadParameter: One has no name or no ``=``.
    """
    pairs = [text.partition("=") for text in given]
    for name, sign, _ in pairs:
        if not name or not sign:
            raise click.BadParameter(f"NAME=VALUE is needed, not {name + sign!r}")
    return {name: value for name, _, value in pairs}


def _with(command: _F, *options: Callable[[_F], _F]) -> _F:
    for option in reversed(options):
        command = option(command)
    return command


def _strings(context: click.Context, parameter: click.Parameter, given: tuple[str, ...]) -> dict[str, str]:
    return named_values(given)


def _values(context: click.Context, parameter: click.Parameter, given: tuple[str, ...]) -> dict[str, Any]:
    return {name: _value(text) for name, text in named_values(given).items()}


def _value(text: str) -> Any:
    """Numbers, true, false, null, lists and objects as JSON has them; anything else is a string."""
    try:
        return json.loads(text)
    except ValueError:
        return text
