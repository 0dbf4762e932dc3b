"""Commands of plugins: the entry points of the group ``omniagents.commands``, each imported on use."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from omniagents.errors import BrokenPluginError, DuplicateComponentError, OmniagentsError
from omniagents.plugins import discovery, manager

if TYPE_CHECKING:
    from importlib_metadata import EntryPoint

    from omniagents.plugins.loading import Origin

__all__ = ["find", "names"]


def names() -> set[str]:
    """The commands that plugins add, broken ones too."""
    return {entry_point.name for _, entry_point in discovery.commands()} - manager.disabled_names()


def find(name: str) -> click.Command | None:
    """The command of a plugin. One that cannot be used is a command that says why, and hurts no other."""
    found = [(origin, entry) for origin, entry in discovery.commands() if entry.name == name]
    if not found or name in manager.disabled_names():
        return None
    if len(found) > 1:
        owners = " and by ".join(str(origin) for origin, _ in found)
        return _failing(name, DuplicateComponentError(f"the command {name!r} is declared by {owners}; uninstall one"))
    return _loaded(*found[0])


def _loaded(origin: Origin, entry_point: EntryPoint) -> click.Command:
    name = entry_point.name
    try:
        command = entry_point.load()
        if not isinstance(command, click.Command):
            raise TypeError(f"{command!r:.200} is not a click.Command")
    # SystemExit: a module that is a script, and ends the program when imported.
    except (Exception, SystemExit) as error:
        broken = BrokenPluginError(
            f"the command {name!r} of {origin} cannot be loaded: importing {entry_point.value}: "
            f"{type(error).__name__}: {error}; upgrade or uninstall {origin.distribution}"
        )
        broken.__cause__ = error
        return _failing(name, broken)
    return command


def _failing(name: str, error: OmniagentsError) -> click.Command:
    """A command that raises ``error``, whatever it is given."""

    def fail(arguments: Any) -> None:
        raise error

    anything = click.Argument(["arguments"], nargs=-1, type=click.UNPROCESSED)
    return click.Command(
        name,
        callback=fail,
        params=[anything],
        short_help="Cannot be used; run it to see why.",
        add_help_option=False,
        context_settings={"ignore_unknown_options": True},
    )
