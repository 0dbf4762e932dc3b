"""The part of ``omniagents state`` that not every state manager can do: tags, pruning, forks, diffs, archives."""

from __future__ import annotations

import dataclasses
import os
import secrets
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, cast

import click

from omniagents.cli.options import as_json, make_state_manager, state_options
from omniagents.cli.output import (
    human_size,
    human_time,
    note,
    one_line,
    print_json,
    print_table,
    printable,
    snapshot_fields,
)
from omniagents.cli.snapshots import SHORT_ID, find_snapshot
from omniagents.cli.transfers import CountedFile, working
from omniagents.state.abilities import require
from omniagents.tools._rendering import plural

__all__ = ["add_commands"]

_RULES = ("last", "hourly", "daily", "weekly", "monthly")


def add_commands(group: click.Group) -> None:
    """Make them commands of ``omniagents state``."""
    for command in (tag, untag, prune, repair, fork, diff, export, stats):
        group.add_command(command)


@click.command()
@state_options
@as_json
@click.argument("project")
@click.argument("snapshot", required=False)
@click.argument("name", required=False)
def tag(
    project: str, snapshot: str | None, name: str | None, state: str, state_values: dict[str, Any], as_json: bool
) -> None:
    """Give SNAPSHOT of PROJECT the tag NAME, so that `prune` keeps it; without them, list the tags."""
    manager = make_state_manager(state, state_values)
    if snapshot is None:
        _show_tags(require(manager, "tags", state).tags(project), as_json)
        return
    if name is None:
        raise click.UsageError("a tag needs a snapshot and a name: omniagents state tag PROJECT SNAPSHOT NAME")
    found = find_snapshot(manager, project, snapshot)
    try:
        require(manager, "tag", state).tag(project, found.id, name)
    except ValueError as error:
        raise click.UsageError(str(error)) from error
    if as_json:
        print_json({"tag": name, "snapshot": found.id})
    else:
        note(f"{found.id[:SHORT_ID]} of project {project!r} is {name!r} from now on")


def _show_tags(tags: dict[str, str], as_json: bool) -> None:
    if as_json:
        print_json(tags)
    else:
        print_table(["tag", "snapshot"], ((name, tags[name][:SHORT_ID]) for name in sorted(tags)))


@click.command()
@state_options
@click.argument("project")
@click.argument("name")
def untag(project: str, name: str, state: str, state_values: dict[str, Any]) -> None:
    """Take the tag NAME off; its snapshot stays until a `prune` does not keep it any more."""
    require(make_state_manager(state, state_values), "untag", state).untag(project, name)
    note(f"no snapshot of project {project!r} is {name!r} any more")


def _retention_options(command: Callable[..., Any]) -> Callable[..., Any]:
    whats = {"last": "snapshots", "hourly": "hours", "daily": "days", "weekly": "weeks", "monthly": "months"}
    for rule in reversed(_RULES):
        of = (
            "Keep the newest N snapshots."
            if rule == "last"
            else f"Keep the newest of each of the last N {whats[rule]}."
        )
        command = click.option(f"--{rule}", type=click.IntRange(min=0), metavar="N", help=of)(command)
    return command


@click.command()
@state_options
@as_json
@_retention_options
@click.option("--tagged/--no-tagged", default=None, help="Keep what has a tag, or not.")
@click.option("--dry-run", "-n", is_flag=True, help="Only say what would be removed.")
@click.option("--all", "all_projects", is_flag=True, help="Prune every project.")
@click.argument("project", required=False)
def prune(
    project: str | None,
    all_projects: bool,
    dry_run: bool,
    state: str,
    state_values: dict[str, Any],
    as_json: bool,
    **rules: int | bool | None,
) -> None:
    """Remove snapshots of PROJECT that no rule keeps, and everything only they needed.

    The latest snapshot is always kept. Rules that are not given are the state manager's own; of hours, days and so
    on, those count in which something was saved. May run at any time, also while projects are in use.
    """
    if (project is None) == (not all_projects):
        raise click.UsageError("which project? Name one, or say --all")
    manager = require(make_state_manager(state, state_values), "prune", state)
    given = {name: value for name, value in rules.items() if value is not None}
    retention = dataclasses.replace(manager.retention, **given)
    projects = sorted(require(manager, "projects", state).projects()) if project is None else [project]
    reports = []
    for one in projects:
        with working(f"pruning {one}"):
            reports.append(manager.prune(one, retention, dry_run=dry_run))
    if as_json:
        fields = [dataclasses.asdict(report) for report in reports]
        print_json(fields if all_projects else fields[0])
        return
    verb = "would remove" if dry_run else "removed"
    for report in reports:
        again = f", {human_size(report.rewritten_bytes)} of it stored again" if report.rewritten_bytes else ""
        click.echo(
            f"{one_line(report.project_id)}: {verb} {plural(len(report.removed), 'snapshot')} and "
            f"{plural(report.removed_objects, 'object')} ({human_size(report.removed_bytes)}{again}); "
            f"{plural(len(report.kept), 'snapshot')} kept"
        )


@click.command()
@state_options
@as_json
@click.option("--read-data/--no-read-data", default=True, show_default=True, help="Read every byte, too.")
@click.option("--dry-run", "-n", is_flag=True, help="Only say what would be done.")
@click.argument("project")
def repair(
    project: str, read_data: bool, dry_run: bool, state: str, state_values: dict[str, Any], as_json: bool
) -> int:
    """Rebuild what can be rebuilt of PROJECT, and say what cannot; exit code 1 if something is lost.

    Nobody may be using the project meanwhile. Make a copy of the store first.
    """
    manager = require(make_state_manager(state, state_values), "repair", state)
    with working(f"repairing {project}"):
        report = manager.repair(project, read_data=read_data, dry_run=dry_run)
    is_lost = bool(report.lost or report.unrepaired)
    if as_json:
        print_json(dataclasses.asdict(report))
        return int(is_lost)
    for action in report.actions:
        click.echo(one_line(f"{'would be done' if dry_run else 'done'}: {action}"))
    for lost in report.lost:
        unnamed = f" and {lost.unnamed:,} entries whose names are lost, too" if lost.unnamed else ""
        click.echo(one_line(f"lost of {lost.snapshot_id[:SHORT_ID]}: {', '.join(lost.paths) or 'no name'}{unnamed}"))
    for problem in report.unrepaired:
        click.echo(one_line(f"not repaired: {problem}"))
    if not (report.actions or is_lost):
        click.echo("nothing to repair")
    return int(is_lost)


@click.command()
@state_options
@as_json
@click.option("--snapshot", default="latest", show_default=True, help="Begin with this one.")
@click.argument("project")
@click.argument("new_project")
def fork(
    project: str, new_project: str, snapshot: str, state: str, state_values: dict[str, Any], as_json: bool
) -> None:
    """Begin NEW_PROJECT with a snapshot of PROJECT, which stays as it is."""
    manager = make_state_manager(state, state_values)
    found = find_snapshot(manager, project, snapshot)
    with working(f"forking {project}"):
        forked = require(manager, "fork", state).fork(project, new_project, snapshot_id=found.id)
    if as_json:
        print_json(snapshot_fields(forked))
    else:
        note(f"project {new_project!r} begins with {plural(forked.files, 'file')} ({human_size(forked.bytes)})")


@click.command()
@state_options
@as_json
@click.option("--text", is_flag=True, help="Show the lines that differ, as `diff -u` does.")
@click.option("--path", "paths", multiple=True, help="Only this file or directory. Repeatable.")
@click.argument("project")
@click.argument("before")
@click.argument("after", default="latest")
def diff(
    project: str,
    before: str,
    after: str,
    text: bool,
    paths: tuple[str, ...],
    state: str,
    state_values: dict[str, Any],
    as_json: bool,
) -> int:
    """Show what changed in PROJECT from BEFORE to AFTER; exit code 1 if anything did."""
    manager = make_state_manager(state, state_values)
    ids = [find_snapshot(manager, project, one).id for one in (before, after)]
    only = list(paths) or None
    found = require(manager, "diff", state).diff(project, *ids, paths=only)
    lines = require(manager, "diff_text", state).diff_text(project, *ids, paths=only) if text else []
    if as_json:
        changes = [dataclasses.asdict(change) for change in found.changes]
        print_json({"before": ids[0], "after": ids[1], "changes": changes} | ({"text": "".join(lines)} if text else {}))
    elif text:
        for line in lines:
            click.echo(printable(line), nl=False)
    else:
        marks = {"added": "+", "removed": "-", "changed": "~"}
        rows = ((marks[one.action], one.path, ", ".join(one.parts), _sizes(one)) for one in found.changes)
        print_table(["", "", "", ""], rows, header=False)
    return int(bool(found.changes))


def _sizes(change: Any) -> str:
    known = [human_size(size) for size in (change.size_before, change.size_after) if size is not None]
    return " -> ".join(known if len(set(known)) > 1 else known[:1])


@click.command()
@state_options
@as_json
@click.option("--output", "-o", type=click.Path(dir_okay=False, path_type=Path), help="A new file; by default stdout.")
@click.option("--path", "paths", multiple=True, help="Only this file or directory. Repeatable.")
@click.option("--zstd", is_flag=True, help="Compress; implied by an output that ends in .zst.")
@click.argument("project")
@click.argument("snapshot", default="latest")
def export(
    project: str,
    snapshot: str,
    output: Path | None,
    paths: tuple[str, ...],
    zstd: bool,
    state: str,
    state_values: dict[str, Any],
    as_json: bool,
) -> None:
    """Write a snapshot of PROJECT as a tar archive."""
    manager = make_state_manager(state, state_values)
    found = find_snapshot(manager, project, snapshot)
    exporting = require(manager, "export", state)
    if output is None and (as_json or sys.stdout.isatty()):
        raise click.UsageError("an archive is not for a terminal, nor for --json; name a file by --output")
    compression = "zstd" if zstd or (output is not None and output.suffix == ".zst") else None
    with _target(output) as file, working(f"exporting {project}") as show:
        counted = cast(BinaryIO, CountedFile(file, show))
        exporting.export(project, found.id, counted, paths=list(paths) or None, compression=compression)
    if as_json:
        print_json({"snapshot": found.id, "output": str(output), "bytes": output.stat().st_size if output else None})
    elif output is not None:
        note(f"wrote {found.id[:SHORT_ID]} to {output} ({human_size(output.stat().st_size)})")


@contextmanager
def _target(output: Path | None) -> Iterator[BinaryIO]:
    """Where the archive goes: a file that has its name once it is whole."""
    if output is None:
        yield sys.stdout.buffer
        return
    if output.exists():
        raise click.UsageError(f"{str(output)!r} exists already")
    temporary = output.with_name(f".{output.name}.{secrets.token_hex(4)}")
    try:
        with temporary.open("xb") as file:
            yield file
        os.link(temporary, output)
    finally:
        temporary.unlink(missing_ok=True)


@click.command()
@state_options
@as_json
@click.argument("project", required=False)
def stats(project: str | None, state: str, state_values: dict[str, Any], as_json: bool) -> None:
    """Show how much is kept of PROJECT, or of every project, and what that takes."""
    manager = require(make_state_manager(state, state_values), "stats", state)
    projects = sorted(require(manager, "projects", state).projects()) if project is None else [project]
    found = [manager.stats(one) for one in projects]
    if as_json:
        fields = [dataclasses.asdict(one) for one in found]
        for one in fields:
            one |= {name: one[name] and one[name].isoformat() for name in ("oldest", "newest")}
        print_json(fields[0] if project is not None else fields)
        return
    columns = ["project", "snapshots", "since", "files", "size", "stored", "unused", "tags"]
    rows = [
        (
            one.project_id,
            f"{one.snapshots:,}",
            human_time(one.oldest) if one.oldest else "",
            f"{one.files:,}",
            human_size(one.bytes),
            human_size(one.stored_bytes),
            human_size(one.unused_bytes),
            f"{one.tags:,}",
        )
        for one in found
    ]
    print_table(columns, rows)
