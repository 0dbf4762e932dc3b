"""Directs the demo: gets the sources, starts a process for each act, and shows what they did and how long it took."""

from __future__ import annotations

import os
import secrets
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import click
from rich.text import Text

import omniagents
from omniagents.cli.output import console, note, printable
from omniagents.demo import sources
from omniagents.demo.stage import Cast, Part, Step
from omniagents.errors import BackendStartError
from omniagents.plugins.automatic import choose_backend

__all__ = ["play"]

_ACTS: Final = (
    ("first", "One process serves alice and bob at the same time"),
    ("back", "A new process: alice is back, and goes back to an older point"),
    ("again", "A new process: bob is back"),
    ("last", "A new process: alice finds what she restored"),
)


def play(directory: Path | None, *, keep: bool, offline: bool) -> int:
    """Play everything.

    Args:
        directory: New or empty; None for a temporary one.
        keep: Do not remove anything at the end.
        offline: Do not try the package registry.

    Returns:
        0 if everything was as stated, else 1.

    Raises:
        MissingPluginError: The distribution with the state manager ``directory`` is not installed.
    """
    omniagents.create_state_manager("directory")  # before anything is fetched, in case it is not installed
    started = time.perf_counter()
    with _stage(directory, keep) as place:
        cast = _cast(place, offline)
        for act, title in _ACTS:
            console().print(Text(f"\n{title}", "bold"))
            if not _played(act, cast, place):
                return 1
        seconds = time.perf_counter() - started
        console().print(
            Text(f"\nEverything was as stated, in {seconds:.1f} s: both users found their files again, ", "bold green"),
            end="",
        )
        console().print(Text("and neither saw the other's.", "bold green"))
    return 0


@contextmanager
def _stage(directory: Path | None, keep: bool) -> Iterator[Path]:
    """Where everything is; afterwards as it was before, unless it is to be kept."""
    if directory is not None and directory.exists() and any(directory.iterdir()):
        raise click.UsageError(f"{str(directory)!r} is not empty; --directory needs a new or empty directory")
    was_there = directory is not None and directory.exists()
    place = Path(tempfile.mkdtemp(prefix="omniagents-demo-")) if directory is None else directory.absolute()
    place.mkdir(parents=True, exist_ok=True)
    try:
        yield place
    finally:
        if keep:
            note(f"kept in {place}; OMNIAGENTS_STATE_DIRECTORY={place / 'snapshots'} omniagents state history alice")
        else:
            for entry in [*place.iterdir()]:
                shutil.rmtree(entry) if entry.is_dir() and not entry.is_symlink() else entry.unlink()
            if not was_there:
                place.rmdir()


def _cast(place: Path, offline: bool) -> Cast:
    downloads = place / "sources"
    downloads.mkdir()
    started = time.perf_counter()
    text = "the source of Omniagents itself is used"
    if offline:
        works = sources.own_source(downloads)
    else:
        try:
            works = sources.download(downloads)
            text = "downloaded the source distributions of " + " and ".join(work.title for work in works)
        except sources.SourceUnavailableError as error:
            text += f", because the package registry was of no use: {error}"
            works = sources.own_source(downloads)
    _show(Step("", text, time.perf_counter() - started))
    names = ("alice", "bob")
    parts = (Part(name, f"{name}-{secrets.token_hex(12)}", work) for name, work in zip(names, works, strict=True))
    return Cast(_backend(), str(place / "snapshots"), tuple(parts))


def _backend() -> str:
    """What ``auto`` is here; where nothing isolates, ``local``, and it is said."""
    started = time.perf_counter()
    try:
        name = choose_backend()
        text = f"the backend 'auto' is {name} here: the users' code is shut off from this machine"
    except BackendStartError as error:
        name, text = "local", f"NO ISOLATION: the backend is 'local', because {error}"
    _show(Step("", text, time.perf_counter() - started))
    return name


def _played(act: str, cast: Cast, place: Path) -> bool:
    """Whether the process of one act ended well; its steps are shown as they come."""
    # Workspaces, leases and caches of the demo stay in its own place.
    environment = {**os.environ, "XDG_DATA_HOME": str(place / "data"), "XDG_CACHE_HOME": str(place / "cache")}
    process = subprocess.Popen(
        [sys.executable, "-m", "omniagents.demo.acts", act],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        encoding="utf-8",
        env=environment,
    )
    with process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(cast.as_json())
        process.stdin.close()
        for line in process.stdout:
            _show(Step.from_json(line))
    if process.returncode:
        note(f"omniagents demo: the act {act!r} failed with exit code {process.returncode}; its message is above")
    return process.returncode == 0


def _show(step: Step) -> None:
    taken = f"{step.seconds:6.2f} s" if step.seconds >= 1 else f"{step.seconds * 1000:6.0f} ms"
    first, *rest = printable(step.text).splitlines()
    console().print(
        Text.assemble((f"{taken:<9}  ", "dim"), (f"{step.user:<6}" if step.user else "", "bold"), first), soft_wrap=True
    )
    for line in rest:
        console().print(Text(f"{'':18} {line}"), soft_wrap=True)
