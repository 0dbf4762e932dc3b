"""``omniagents shell``: a shell in a project's workspace, line by line, without a terminal inside."""

from __future__ import annotations

import contextlib
import secrets
import shlex
import signal
import sys
from collections.abc import Iterator
from typing import Any, NamedTuple

import click

from omniagents.cli.options import make_backend, make_state_manager, save_option, workspace_options
from omniagents.cli.output import note, printable
from omniagents.cli.sessions import Terminated, running
from omniagents.cli.transfers import ReportingStateManager
from omniagents.workspace import Process, Workspace

__all__ = ["Finished", "Lines", "shell"]

# Interactive, so that an interrupt ends a line and not the shell; without start-up files, history and line editing.
_SHELL = "if command -v bash >/dev/null; then exec bash --norc --noprofile --noediting -i; else exec sh -i; fi"

_INTERRUPTED = 130


@click.command()
@workspace_options
@save_option
@click.argument("project")
def shell(project: str, state: str, state_values: dict[str, Any], save: bool, **chosen: Any) -> int:
    """Open a shell in PROJECT's workspace; leaving it (Ctrl-D, exit) saves the workspace.

    Lines go to one shell, so `cd`, variables and functions last. There is no terminal inside: editors
    and pagers do not work, commands read an empty standard input, and each line is a whole command (end it
    with a backslash to go on in the next). Ctrl-C interrupts the running command; once more kills it and
    starts a new shell. Without a terminal outside, the lines are read from standard input without prompts.
    """
    manager = ReportingStateManager(make_state_manager(state, state_values))
    backend = make_backend(project, manager, **chosen)
    try:
        with running(backend, save=save):
            return _talk(backend.workspace, project)
    except Terminated as ended:
        return ended.exit_code


class Finished(NamedTuple):
    """A line is done: which one, its exit code, and the directory the shell is in now."""

    number: int
    exit_code: int
    directory: str


class Lines:
    """Finds, in a shell's output, where a line's own output ends.

    Args:
        mark: What the shell prints then, followed by the line's number, its exit code, the directory and a
            line end; no program's output may hold it.
    """

    def __init__(self, mark: bytes) -> None:
        self._mark = mark
        self._held = b""

    def feed(self, data: bytes) -> Iterator[bytes | Finished]:
        """Output to show, and a ``Finished`` for each mark; what may be the start of a mark is held back."""
        self._held += data
        while True:
            before, mark, after = self._held.partition(self._mark)
            if not mark:
                keep = self._possible_start()
                shown, self._held = self._held[: len(self._held) - keep], self._held[len(self._held) - keep :]
                if shown:
                    yield shown
                return
            told, end, rest = after.partition(b"\n")
            if before:
                yield before
            if not end:
                self._held = mark + after
                return
            self._held = rest
            number, code, directory = told.decode("utf-8", "replace").strip().split(" ", 2)
            yield Finished(int(number), int(code), directory)

    def _possible_start(self) -> int:
        longest = min(len(self._mark) - 1, len(self._held))
        return next((size for size in range(longest, 0, -1) if self._held.endswith(self._mark[:size])), 0)


class _Shell:
    """One shell inside; ``run`` gives it a line and shows what comes."""

    def __init__(self, workspace: Workspace) -> None:
        self._mark = secrets.token_hex(16)
        self._lines = Lines(self._mark.encode())
        self._process: Process = workspace.start_process(_SHELL, merge_streams=True, env={"PS1": "", "PS2": ""})
        self._output = self._process.output()
        self._number = 0
        self.directory = ""
        # Whatever it says of itself when it starts goes before the first mark and is not shown.
        self._ask("PS1=; PS2=; set +H 2>/dev/null", show=False)

    def run(self, line: str) -> int | None:
        """The line's exit code; None if the shell ended. Ctrl-C interrupts the line."""
        try:
            return self._ask(f"{{ eval {shlex.quote(line)}; }} </dev/null", show=True)
        except KeyboardInterrupt:
            with contextlib.suppress(ProcessLookupError):
                self._process.send_signal(signal.SIGINT)
            # The interrupt ended the reading here, and in some shells what they had read and not yet run.
            self._output = self._process.output()
            code = self._ask(":", show=True)
            return None if code is None else _INTERRUPTED

    def close(self) -> int:
        """End it and return its exit code."""
        self._process.close_input()
        return self._process.wait().exit_code

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()

    def _ask(self, line: str, *, show: bool) -> int | None:
        self._number += 1
        # The mark in two parts, so that a shell that shows what it reads does not show the mark.
        half = len(self._mark) // 2
        end = f'printf "%s%s %d %d %s\\n" {self._mark[:half]} {self._mark[half:]} {self._number} "$?" "$PWD"'
        self._process.write(f"{line}\n{end}\n".encode("utf-8", "surrogateescape"))
        return self._told(show=show)

    def _told(self, *, show: bool) -> int | None:
        ends_line = True
        for _, data in self._output:
            for part in self._lines.feed(data):
                if isinstance(part, bytes):
                    if show:
                        ends_line = part.endswith(b"\n")
                        sys.stdout.buffer.write(part)
                        sys.stdout.buffer.flush()
                elif part.number == self._number:
                    self.directory = part.directory
                    if not ends_line and sys.stdout.isatty():
                        click.echo()
                    return part.exit_code
        return None


def _talk(workspace: Workspace, project: str) -> int:
    """Read lines and run them until they end, or the shell does."""
    inside, code = _Shell(workspace), 0
    while (line := _read(_prompt(project, inside.directory, workspace.root))) is not None:
        if not line.strip():
            continue
        try:
            told = inside.run(line)
        except KeyboardInterrupt:
            inside.kill()
            note("omniagents: the shell was killed; this is a new one")
            inside, told = _Shell(workspace), _INTERRUPTED
        if told is None:
            return inside.close()
        code = told
    inside.close()
    return code


def _prompt(project: str, directory: str, root: str) -> str:
    shown = "~" + directory.removeprefix(root) if directory == root or directory.startswith(root + "/") else directory
    return printable(f"{project}:{shown}$ ")


def _read(prompt: str) -> str | None:
    """The next line, joined with those it goes on in; None at the end of input."""
    is_terminal = sys.stdin.isatty()
    lines: list[str] = []
    while True:
        try:
            line = _typed("> " if lines else prompt) if is_terminal else _piped()
        except KeyboardInterrupt:
            click.echo()
            lines.clear()
            continue
        if line is None:
            return "\n".join(lines) if lines else None
        if not line.endswith("\\"):
            return "\n".join([*lines, line])
        lines.append(line)


def _typed(prompt: str) -> str | None:
    with contextlib.suppress(ImportError):
        import readline  # noqa: F401  # arrow keys and history for input()
    try:
        return input(prompt)
    except EOFError:
        click.echo()
        return None


def _piped() -> str | None:
    line = sys.stdin.readline()
    return line.removesuffix("\n") if line else None
