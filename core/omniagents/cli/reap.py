"""``omniagents reap``: what dead processes left behind, found and removed."""

from __future__ import annotations

import dataclasses

import click

import omniagents
from omniagents.cli.options import as_json
from omniagents.cli.output import note, print_json, print_table
from omniagents.errors import BackendError
from omniagents.plugins import registry

__all__ = ["reap"]


@click.command()
@click.option("--yes", "is_meant", is_flag=True, help="Remove them. Without it they are only listed.")
@as_json
def reap(is_meant: bool, as_json: bool) -> None:
    """List environments that no living process owns, and with --yes remove them.

    A workspace that was never saved goes with its environment: `start()` would have gone on with it. How old
    something is plays no part.
    """
    found = []
    for record in omniagents.available("backend"):
        if record.status != "ready":
            continue
        reaper = getattr(registry.resolve("backend", record.name), "reap", None)
        if reaper is None:
            continue
        try:
            found += [{"backend": record.name, **dataclasses.asdict(each)} for each in reaper(dry_run=not is_meant)]
        except BackendError as error:
            note(f"{record.name}: {error}")
    if as_json:
        print_json({"removed": is_meant, "orphans": found})
        return
    if not found:
        note("nothing that a dead process left")
        return
    columns = ["backend", "kind", "name", "project_id", "state", "created"]
    print_table(columns, [tuple(str(each[column] or "") for column in columns) for each in found])
    note("removed" if is_meant else "not removed: `omniagents reap --yes` does, with what was never saved in them")
