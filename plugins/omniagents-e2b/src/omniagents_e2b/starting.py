"""A command in a sandbox started, and ended with everything it started."""

from __future__ import annotations

import logging
import shlex
import threading
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from typing import Final

from e2b import CommandHandle, NotFoundException, Sandbox

from omniagents.errors import BackendUnavailableError

__all__ = ["end_command", "start_command"]

_log = logging.getLogger("omniagents")

# How long a guest may take to end what it started, in looks.
_ENDING_DELAYS: Final = (0.05, 0.1, 0.2, 0.4, 0.8, 1.6, 1.6)


def start_command(
    sandbox: Sandbox, argv: Sequence[str], variables: Mapping[str, str], path: str | None
) -> CommandHandle[None]:
    """Start a background command with an input, whose output has no limit.

    Args:
        variables: Added to its environment.
        path: Its ``PATH``, where the login shell's is not the one to use.

    Raises:
        BackendUnavailableError: E2B takes longer than the sandbox's request timeout. A command that starts later is
            killed.
        SandboxException: E2B does not answer, or refuses.
    """
    started: Future[CommandHandle[None]] = Future()

    def start() -> None:
        try:
            # The SDK's one limit is on start and stream together; its default would end the stream after a minute.
            handle: CommandHandle[None] = sandbox.commands.run(
                _script(argv, path), background=True, stdin=True, timeout=0, envs=dict(variables), retain_output=False
            )
        except Exception as error:  # of four libraries; whoever waits finds out what it means
            if started.set_running_or_notify_cancel():
                started.set_exception(error)
            return
        if started.set_running_or_notify_cancel():
            started.set_result(handle)
        else:
            _end_late(sandbox, handle)

    threading.Thread(target=start, daemon=True, name="omniagents-e2b-start").start()
    seconds = sandbox.connection_config.request_timeout
    try:
        return started.result(seconds)
    except TimeoutError as error:
        if not started.cancel():
            return started.result()
        raise BackendUnavailableError(
            f"E2B did not start a command in sandbox {sandbox.sandbox_id} within {seconds:g} s; try again, or raise "
            "request_timeout_seconds"
        ) from error


def _end_late(sandbox: Sandbox, handle: CommandHandle[None]) -> None:
    try:
        handle.kill()
    except Exception as error:  # most often the sandbox is gone, and the command with it
        _log.debug("sandbox %s: killing a command that started too late: %s", sandbox.sandbox_id, error)


def _script(argv: Sequence[str], path: str | None) -> str:
    """The command's text. A login shell's profile sets ``PATH`` as it likes, and not always with a Python on it."""
    chosen = f"export PATH={shlex.quote(path)}; " if path else ""
    found = f"command -v {shlex.quote(argv[0])} >/dev/null || export PATH=$PATH:/usr/local/bin:/usr/bin:/bin; "
    return f"{chosen}{found}exec {shlex.join(argv)}"


def end_command(sandbox: Sandbox, pid: int) -> None:
    """End a guest with everything it started: at the end of its input it does that itself; one that hangs is killed.

    Raises:
        SandboxException: E2B does not answer, or the sandbox is gone.
    """
    try:
        sandbox.commands.close_stdin(pid)
    except NotFoundException:
        return
    for delay in _ENDING_DELAYS:
        if all(each.pid != pid for each in sandbox.commands.list()):
            return
        time.sleep(delay)
    sandbox.commands.kill(pid)
