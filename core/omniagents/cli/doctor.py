"""``omniagents doctor``: what works on this machine, what is missing, and the command that fixes it."""

from __future__ import annotations

from collections.abc import Iterator

import click
from rich.text import Text

from omniagents.cli.checks import CHECKS, Finding
from omniagents.cli.options import as_json
from omniagents.cli.output import console, print_json, printable

__all__ = ["doctor"]

_STYLES = {"ok": "green", "missing": "yellow", "failed": "bold red"}


@click.command()
@as_json
def doctor(as_json: bool) -> int:
    """Say what works on this machine, what is missing, and the command that fixes it.

    `missing` costs only what needs it; `failed` means that nothing works, and the exit code is 1.
    """
    found = [*_findings()]
    if as_json:
        print_json([finding._asdict() for finding in found])
    else:
        _print(found)
    return 1 if any(finding.status == "failed" for finding in found) else 0


def _findings() -> Iterator[Finding]:
    for check in CHECKS:
        answer = check()
        if isinstance(answer, Finding):
            yield answer
        else:
            yield from answer


def _print(found: list[Finding]) -> None:
    screen = console()
    width = max(len(finding.name) for finding in found)
    for finding in found:
        line = Text.assemble(
            (f"{finding.status:<8}", _STYLES[finding.status]),
            (f"{finding.name:<{width}}  ", "bold"),
            printable(finding.detail),
        )
        screen.print(line, soft_wrap=True)
        if finding.status != "ok":
            indent = " " * (8 + width + 2)
            screen.print(Text(f"{indent}needed for: {finding.needed_for}"), soft_wrap=True)
            screen.print(Text(printable(f"{indent}fix: {finding.fix}")), soft_wrap=True)
