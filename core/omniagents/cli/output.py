"""What the commands print: tables and sentences for people, JSON for scripts.

Results are on stdout, everything else is on stderr.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

from omniagents.state.base import Snapshot

__all__ = [
    "console",
    "human_size",
    "human_time",
    "note",
    "one_line",
    "print_json",
    "print_table",
    "printable",
    "snapshot_fields",
]

# Wide enough that nothing is wrapped where there is no terminal to fit into.
_PIPED_WIDTH = 400


def console(*, stderr: bool = False) -> Console:
    """A console for the present stdout or stderr."""
    stream = sys.stderr if stderr else sys.stdout
    return Console(file=stream, width=None if stream.isatty() else _PIPED_WIDTH, highlight=False)


def note(message: str) -> None:
    """Tell the person, not the script."""
    click.echo(printable(message), err=True)


def print_json(value: Any) -> None:
    """JSON with ASCII only: names that are no text stay what they are."""
    click.echo(json.dumps(value, indent=2))


def print_table(columns: Sequence[str], rows: Iterable[Sequence[str]], *, header: bool = True) -> None:
    """Aligned columns; what a row holds is shown as it is, control characters and line ends escaped."""
    table = Table(*columns, box=None, pad_edge=False, header_style="bold", show_header=header)
    for row in rows:
        table.add_row(*(Text(one_line(cell)) for cell in row))
    console().print(table)


def printable(text: str) -> str:
    """``text`` without anything a terminal would obey: project ids and messages come from anybody."""
    return "".join(c if c.isprintable() or c == "\n" else c.encode("unicode_escape").decode() for c in text)


def one_line(text: str) -> str:
    """Likewise, and without line ends: a file's name must not look like another line of ours."""
    return printable(text).replace("\n", "\\n")


def human_size(count: int) -> str:
    """Bytes with at most one decimal: ``1.2 MB`` (10**6)."""
    size, units = float(count), ["B", "kB", "MB", "GB", "TB"]
    while size >= 1000 and len(units) > 1:
        size, units = size / 1000, units[1:]
    return f"{size:.0f} B" if units[0] == "B" else f"{size:.1f} {units[0]}"


def human_time(moment: datetime) -> str:
    """In the time zone of this machine, to the second."""
    return moment.astimezone().strftime("%Y-%m-%d %H:%M:%S")


def snapshot_fields(snapshot: Snapshot) -> dict[str, Any]:
    """A snapshot for JSON: the fields of ``Snapshot``, times in ISO 8601."""
    return {
        "id": snapshot.id,
        "project_id": snapshot.project_id,
        "parent_id": snapshot.parent_id,
        "created_at": snapshot.created_at.isoformat(),
        "message": snapshot.message,
        "files": snapshot.files,
        "bytes": snapshot.bytes,
        "changed": snapshot.changed,
        "left_out": [{"path": left.path, "reason": left.reason} for left in snapshot.left_out],
    }
