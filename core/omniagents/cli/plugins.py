"""``omniagents plugins``: what can be created by name."""

from __future__ import annotations

import dataclasses

import click

import omniagents
from omniagents.cli.options import as_json
from omniagents.cli.output import note, print_json, print_table
from omniagents.plugins.first_party import FIRST_PARTY, install_command

__all__ = ["plugins"]


@click.command()
@as_json
def plugins(as_json: bool) -> None:
    """List every backend, state manager, tool, agent and preset, and where it comes from.

    Broken and disabled plugins are listed too, with the reason; what this repository has in
    distributions that are not installed, with the command that installs it.
    """
    records = omniagents.available()
    registered = {(record.kind, record.name) for record in records}
    missing = {of: name for of, name in FIRST_PARTY.items() if of not in registered}
    if as_json:
        absent = [
            {"kind": kind, "name": name, "distribution": distribution, "install": install_command(distribution)}
            for (kind, name), distribution in missing.items()
        ]
        print_json({"components": [dataclasses.asdict(record) for record in records], "not_installed": absent})
        return
    rows: list[tuple[str, ...]] = [
        (record.kind or "?", record.name, record.status, f"{record.distribution} {record.version}", record.summary)
        for record in records
    ]
    rows += [(kind, name, "not installed", distribution, "") for (kind, name), distribution in missing.items()]
    print_table(["kind", "name", "status", "distribution", "what it is"], rows)
    for record in records:
        if record.error:
            note(f"{record.name}: {record.error}")
    for distribution in dict.fromkeys(missing.values()):
        note(f"{distribution}: {install_command(distribution)}")
