"""``omniagents state``: what is kept of projects between sessions."""

from __future__ import annotations

import dataclasses
import hashlib
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from omniagents.backends.local_backend import LocalBackend
from omniagents.cli.options import as_json, make_backend, make_state_manager, state_options, workspace_options
from omniagents.cli.output import human_size, human_time, note, print_json, print_table, snapshot_fields
from omniagents.cli.sessions import running
from omniagents.cli.snapshots import SHORT_ID, find_snapshot, tags_of
from omniagents.cli.transfers import ReportingStateManager, bars
from omniagents.cli.upkeep import add_commands
from omniagents.state.abilities import require
from omniagents.state.base import Snapshot
from omniagents.tools._rendering import plural

__all__ = ["state"]


@click.group()
def state() -> None:
    """See, restore, check and remove what is kept of projects.

    SNAPSHOT is an id, the start of one, a tag, or `latest`.
    """


add_commands(state)


@state.command("ls")
@state_options
@as_json
def list_projects(state: str, state_values: dict[str, Any], as_json: bool) -> None:
    """List the projects, with the latest snapshot of each."""
    manager = make_state_manager(state, state_values)
    listing = require(manager, "projects", state)
    found = [(project, manager.history(project)) for project in sorted(listing.projects())]
    if as_json:
        print_json(
            [
                {"project_id": project, "snapshots": len(kept), "latest": snapshot_fields(kept[0]) if kept else None}
                for project, kept in found
            ]
        )
        return
    rows = [(project, str(len(kept)), *(_brief(kept[0]) if kept else ("", "", ""))) for project, kept in found]
    print_table(["project", "snapshots", "latest", "files", "size"], rows)


@state.command()
@state_options
@as_json
@click.argument("project")
@click.argument("snapshot", default="latest")
def show(project: str, snapshot: str, state: str, state_values: dict[str, Any], as_json: bool) -> None:
    """Show one snapshot of PROJECT: when, how much, and what was left out."""
    found = find_snapshot(make_state_manager(state, state_values), project, snapshot)
    if as_json:
        print_json(snapshot_fields(found))
        return
    rows = [
        ("project", found.project_id),
        ("snapshot", found.id),
        ("saved", human_time(found.created_at)),
        ("message", found.message),
        ("made from", found.parent_id or ""),
        ("files", f"{found.files:,}"),
        ("size", human_size(found.bytes)),
        ("changed paths", f"{found.changed:,}"),
        *(("left out", f"{left.path}  ({left.reason})") for left in found.left_out),
    ]
    print_table(["", ""], rows, header=False)


@state.command()
@state_options
@as_json
@click.option("--limit", "-n", type=click.IntRange(min=1), help="Only the newest so many.")
@click.argument("project")
def history(project: str, limit: int | None, state: str, state_values: dict[str, Any], as_json: bool) -> None:
    """List PROJECT's snapshots, newest first."""
    manager = make_state_manager(state, state_values)
    kept = manager.history(project)[:limit]
    tags: dict[str, list[str]] = {}
    for tag, snapshot_id in sorted(tags_of(manager, project).items()):
        tags.setdefault(snapshot_id, []).append(tag)
    if as_json:
        print_json([snapshot_fields(snapshot) | {"tags": tags.get(snapshot.id, [])} for snapshot in kept])
        return
    if not kept:
        note(f"nothing was saved of project {project!r}")
    rows = [
        (one.id[:SHORT_ID], *_brief(one), f"{one.changed:,}", ", ".join(tags.get(one.id, ())), one.message)
        for one in kept
    ]
    print_table(["snapshot", "saved", "files", "size", "changed", "tags", "message"], rows)


@state.command()
@workspace_options
@click.option(
    "--to",
    type=click.Path(file_okay=False, path_type=Path),
    help="Write the files into this new or empty directory instead; the project stays as it is.",
)
@click.option("--path", "paths", multiple=True, help="Only this file or directory. Repeatable.")
@click.argument("project")
@click.argument("snapshot")
def restore(
    project: str,
    snapshot: str,
    to: Path | None,
    paths: tuple[str, ...],
    state: str,
    state_values: dict[str, Any],
    **chosen: Any,
) -> None:
    """Make PROJECT's workspace, or part of it, what it was in SNAPSHOT.

    The result is saved as a new snapshot: what was the latest stays in the history.
    """
    manager = ReportingStateManager(make_state_manager(state, state_values))
    found = find_snapshot(manager, project, snapshot)
    if paths:
        require(manager.inner, "restore_paths", state)
    if to is not None:
        _write_to(manager, found, to, paths)
        what = ", ".join(paths) or f"{plural(found.files, 'file')} ({human_size(found.bytes)})"
        note(f"wrote {what} to {to}")
        return
    with running(make_backend(project, manager, **chosen), save=True) as backend:
        # A workspace that outlived a crash holds work that no snapshot has.
        backend.checkpoint(f"before restoring {found.id[:SHORT_ID]}")
        if paths:
            manager.restore(project, found.id, backend.workspace, paths=paths)
        else:
            backend.restore(found.id)
        saved = backend.checkpoint(f"restored {found.id[:SHORT_ID]}")
    note(f"restored {found.id[:SHORT_ID]}" + (f"; saved as {saved.id[:SHORT_ID]}" if saved else ""))


@state.command()
@state_options
@as_json
@click.option("--read-data", is_flag=True, help="Read and check every stored byte, too.")
@click.argument("project")
def check(project: str, read_data: bool, state: str, state_values: dict[str, Any], as_json: bool) -> int:
    """Look whether every snapshot of PROJECT can be restored; exit code 1 if not."""
    manager = make_state_manager(state, state_values)
    with bars(manager):
        report = require(manager, "check", state).check(project, read_data=read_data)
    facts = dataclasses.asdict(report)
    if as_json:
        print_json({"is_whole": report.is_whole, **facts})
    else:
        for problem in facts["problems"]:
            affected = ", ".join(one[:SHORT_ID] for one in problem["snapshots"]) or "none"
            note(f"{problem['name']}: {problem['message']} (snapshots affected: {affected})")
        looked = "every byte read" if read_data else "content not read; --read-data does"
        verdict = "whole" if report.is_whole else plural(len(facts["problems"]), "problem")
        click.echo(
            f"{verdict}: {plural(facts['snapshots'], 'snapshot')}, {plural(facts['objects'], 'object')}, "
            f"{human_size(facts['stored_bytes'])} stored; {looked}"
        )
    return 0 if report.is_whole else 1


@state.command("rm")
@state_options
@click.option("--yes", "-y", is_flag=True, help="Do not ask.")
@click.argument("project")
def remove(project: str, yes: bool, state: str, state_values: dict[str, Any]) -> None:
    """Remove every snapshot of PROJECT. There is no way back."""
    manager = make_state_manager(state, state_values)
    if not yes:
        if not sys.stdin.isatty():
            raise click.UsageError("nobody is here to ask; --yes removes without asking")
        kept = len(manager.history(project))
        click.confirm(f"Remove {plural(kept, 'snapshot')} of project {project!r} for good?", abort=True, err=True)
    manager.delete(project)
    note(f"removed everything kept of project {project!r}")


def _brief(snapshot: Snapshot) -> tuple[str, str, str]:
    return human_time(snapshot.created_at), f"{snapshot.files:,}", human_size(snapshot.bytes)


def _write_to(manager: ReportingStateManager, snapshot: Snapshot, directory: Path, paths: Sequence[str]) -> None:
    if directory.is_dir() and os.listdir(directory):
        raise click.UsageError(f"{str(directory)!r} is not empty; --to needs a new or empty directory")
    # An id of its own, one for each directory: the project itself may be in use.
    place = hashlib.sha256(os.fsencode(directory.absolute())).hexdigest()
    with LocalBackend(f"omniagents state restore --to {place}", workspace_dir=directory) as backend:
        manager.restore(snapshot.project_id, snapshot.id, backend.workspace, paths=paths or None)
