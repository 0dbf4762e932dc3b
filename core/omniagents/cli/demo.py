"""``omniagents demo``: the README's story, played and checked."""

from __future__ import annotations

from pathlib import Path

import click

__all__ = ["demo"]


@click.command()
@click.option(
    "--directory",
    type=click.Path(file_okay=False, path_type=Path),
    help="Where everything goes: new or empty; by default a temporary directory.",
)
@click.option("--keep", is_flag=True, help="Leave everything in place at the end, and say where.")
@click.option(
    "--offline", is_flag=True, help="Use the source of Omniagents itself instead of downloading two packages."
)
def demo(directory: Path | None, keep: bool, offline: bool) -> int:
    """Two users work in workspaces of their own, leave, and come back.

    Real packages from the package registry are placed in the workspaces of alice and bob, edited and tested
    through the ten tools, saved, found again by new processes, and an older state is restored. Everything that is
    claimed is checked; the exit code is 1 if something is not as stated. Runs on the backend that `auto` is here,
    or, where nothing isolates, on the local one, and says so: what it runs are the tests of two well-known packages,
    at pinned hashes.
    """
    from omniagents.demo.program import play

    return play(directory, keep=keep, offline=offline)
