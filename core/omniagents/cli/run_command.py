"""``omniagents run``: one command in a project's workspace."""

from __future__ import annotations

import contextlib
import os
import sys
import threading
from collections.abc import Sequence
from typing import Any, Final

import click

from omniagents.cli.options import make_backend, make_state_manager, save_option, workspace_options
from omniagents.cli.output import note
from omniagents.cli.sessions import Terminated, running, watched
from omniagents.cli.transfers import ReportingStateManager
from omniagents.workspace import Process, Workspace

__all__ = ["run"]

_TIMED_OUT: Final = 124  # what GNU timeout exits with on expiry (coreutils manual)
_INTERRUPTED: Final = 130
_NOT_FOUND: Final = 127  # as shells have it (POSIX, 2.8.2)


@click.command()
@workspace_options
@save_option
@click.option("--timeout", type=click.FloatRange(min=0, min_open=True), help="Seconds; then the whole tree is killed.")
@click.option("--stdin", "-i", "with_stdin", is_flag=True, help="Pass standard input on; else it is empty.")
@click.argument("project")
@click.argument("command", nargs=-1, required=True, type=click.UNPROCESSED)
def run(
    project: str,
    command: tuple[str, ...],
    state: str,
    state_values: dict[str, Any],
    save: bool,
    timeout: float | None,
    with_stdin: bool,
    **chosen: Any,
) -> int:
    """Run COMMAND in PROJECT's workspace, with live output, and save the workspace.

    One argument is a line for the shell, several are a program and its arguments:

    \b
      omniagents run alice -- 'ls | wc -l'
      omniagents run alice -- python -c 'print(1)'

    The exit code is the command's own: 124 after --timeout, 127 for an unknown program, 1 also where Omniagents
    failed. Ctrl-C interrupts the command, kills its whole tree if it goes on for five seconds, and saves.
    """
    manager = ReportingStateManager(make_state_manager(state, state_values))
    backend = make_backend(project, manager, **chosen)
    try:
        with running(backend, save=save):
            return _exit_code(backend.workspace, command, timeout, with_stdin)
    except KeyboardInterrupt:
        return _INTERRUPTED
    except Terminated as signal:
        return signal.exit_code


def _exit_code(workspace: Workspace, command: Sequence[str], timeout: float | None, with_stdin: bool) -> int:
    process = workspace.start_process(command[0] if len(command) == 1 else command, timeout_seconds=timeout)
    if with_stdin:
        threading.Thread(target=_feed, args=(process,), daemon=True, name="omniagents-stdin").start()
    else:
        process.close_input()
    try:
        result = watched(process, _show)
    except FileNotFoundError as error:
        note(f"omniagents: {error.strerror}: {error.filename!r}")
        return _NOT_FOUND
    if result.timed_out:
        note(f"omniagents: timed out after {timeout:g} s; its processes were killed")
        return _TIMED_OUT
    if result.background_pids:
        note(f"omniagents: processes left running were ended: {', '.join(map(str, result.background_pids))}")
    return result.exit_code


def _show(stream: str, data: bytes) -> None:
    out = (sys.stderr if stream == "stderr" else sys.stdout).buffer
    out.write(data)
    out.flush()


def _feed(process: Process) -> None:
    """Standard input as it comes. Unbuffered: a thread that waits in a buffered read could hold up the exit."""
    with contextlib.suppress(OSError):  # closed, or not readable: then it is empty
        while data := os.read(sys.stdin.fileno(), 1 << 16):
            process.write(data)
    process.close_input()
