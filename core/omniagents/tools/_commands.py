"""What ``run_shell_command`` and ``uv`` share: the request they make, and the text a model sees of a command's end."""

from __future__ import annotations

import signal
from collections.abc import Mapping, Sequence
from typing import Annotated, Any

from pydantic import Field

from omniagents.guest.hints import tool_call
from omniagents.records import Reply
from omniagents.tools._output import Excerpt, excerpt
from omniagents.tools._rendering import plural
from omniagents.tools.base import MAX_RESULT_CHARACTERS, ToolResult, not_boolean

__all__ = ["RESULT_DESCRIPTION", "Seconds", "command_request", "command_result"]

# Kept of an output, bytes: as much as one frame carries. Characters have at most four, so there are always enough.
_KEPT_BYTES = 1 << 20
_LINE_FEED = "\n"

#: So that nothing waits for an answer nobody gives. What the environment itself sets wins.
_DEFAULTS = {
    "DEBIAN_FRONTEND": "noninteractive",
    "GIT_EDITOR": "true",
    "GIT_PAGER": "cat",
    "GIT_TERMINAL_PROMPT": "0",
    "MANPAGER": "cat",
    "PAGER": "cat",
    "PIP_NO_INPUT": "1",
    # Otherwise a program that is killed takes with it what it has printed.
    "PYTHONUNBUFFERED": "1",
    "SYSTEMD_PAGER": "cat",
    "TERM": "dumb",
    "UV_NO_PROGRESS": "1",
}

#: A time limit.
Seconds = Annotated[int, Field(ge=1, le=3600), not_boolean]

#: For descriptions.
RESULT_DESCRIPTION = (
    "The result is what was printed, stdout and stderr in the order they came; only what is unusual is added in square "
    "brackets: an exit code other than 0, a timeout, processes left running. Of more than 50,000 characters the first "
    "fifth and the last four fifths are shown; all of it is then in a log that read_file can read."
)


def command_request(
    command: str | Sequence[str], directory: str | None, timeout: float, *, background: bool = False
) -> dict[str, Any]:
    """The arguments of the guest's ``run``: both streams in one, and a log once a result cannot hold all of it."""
    return {
        "command": command if isinstance(command, str) else list(command),
        "cwd": directory,
        "defaults": _DEFAULTS,
        "timeout": timeout,
        "merge": True,
        "max_output": _KEPT_BYTES,
        "log_above": MAX_RESULT_CHARACTERS,
        "background": background,
    }


def command_result(reply: Reply, timeout: float) -> ToolResult:
    """What a model sees of a command that has ended, was killed, or runs on in the background."""
    value = reply.value
    has_gap = value["total"][0] > value["kept"][0]
    shown = excerpt(reply.payload, value["head"][0], has_gap=has_gap)
    runs_on = value["exit_code"] is None
    pids = [value["pid"]] if runs_on else list(value["background_pids"])
    lines = [_text(shown, reply) or ("(no output yet)" if runs_on else "(no output)")]
    lines += [f"[{note}]" for note in _notes(value, pids, shown.overwritten, timeout)]
    error_type = None
    if value["timed_out"]:
        error_type = "COMMAND_TIMEOUT"
    elif value["exit_code"]:
        error_type = "COMMAND_FAILED"
    facts = {
        "pid": value["pid"],
        "exit_code": value["exit_code"],
        "signal": value["signal"],
        "timed_out": value["timed_out"],
        "background_pids": pids,
        "duration_seconds": round(float(value["duration"]), 3),
        "output_file": value["log"],
    }
    return ToolResult("\n".join(lines), error_type is not None, error_type, facts)


def _text(shown: Excerpt, reply: Reply) -> str:
    if shown.tail is None:
        return shown.head
    return f"{shown.head}\n[{_marker(shown.head, shown.tail, shown.cuts_lines, reply)}]\n{shown.tail}"


def _marker(head: str, tail: str, cuts_lines: bool, reply: Reply) -> str:
    """What the gap hides, and the next call to make."""
    size = reply.value["total"][0]
    if cuts_lines:
        what = f"The first {len(head):,} and the last {len(tail):,} characters of {size:,} bytes are shown"
        return f"{what}. {_where(reply.value, size, head.count(_LINE_FEED))}"
    last_of_head = head.count(_LINE_FEED) + 1
    total = reply.value["newlines"][0] + (not reply.payload.endswith(b"\n"))
    first_of_tail = total - tail.count(_LINE_FEED)
    what = f"Lines 1-{last_of_head:,} and {first_of_tail:,}-{total:,} of {total:,} are shown, {size:,} bytes in all"
    return f"{what}. {_where(reply.value, size, last_of_head)}"


def _where(value: Mapping[str, Any], size: int, offset: int) -> str:
    log = value["log"]
    if log is None:
        return "No log of the rest could be written: run it again with its output filtered, or sent to a file."
    part = "All of it is" if value["log_bytes"] >= size else f"Its first {value['log_bytes']:,} bytes are"
    return f"{part} in {log}: read on with {tool_call('read_file', absolute_path=log, offset=offset)}."


def _notes(value: Mapping[str, Any], pids: list[int], overwritten: int, timeout: float) -> list[str]:
    """What is unusual, one line each."""
    notes = []
    if overwritten:
        notes.append(f"left out: {plural(overwritten, 'update')} overwritten after a carriage return")
    if value["timed_out"]:
        notes.append(f"timed out after {timeout:g} s; process group killed")
    elif value["signal"] is not None:
        notes.append(f"killed by signal {value['signal']}{_signal_name(value['signal'])}")
    elif value["exit_code"]:
        notes.append(f"exit code: {value['exit_code']}")
    if value["timed_out"] and pids:
        notes.append(f"could not be killed (another user's, or stuck): {', '.join(map(str, pids))}")
    elif pids:
        notes.append(_background_note(value, pids))
    return notes


def _background_note(value: Mapping[str, Any], pids: list[int]) -> str:
    listed = ", ".join(map(str, pids))
    output = f"; further output goes to {value['log']}" if value["log"] is not None else ""
    if value["exit_code"] is None:
        return f"running in the background: pid {listed}{output}; stop it with: kill -- -{value['pid']}"
    return f"background processes: {listed}{output}"


def _signal_name(number: int) -> str:
    try:
        return f" ({signal.Signals(number).name})"
    except ValueError:
        return ""
