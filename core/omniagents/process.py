"""A command that runs while its caller goes on."""

from __future__ import annotations

import contextlib
import functools
import signal
from collections.abc import AsyncIterator, Iterator
from typing import TYPE_CHECKING

from omniagents.answers import command_result, in_thread, translated
from omniagents.calls import PendingCall
from omniagents.errors import GuestCallError
from omniagents.records import CommandResult

if TYPE_CHECKING:
    from omniagents.workspace import Workspace

__all__ = ["Process"]


class Process:
    """A running command: read its output as it comes, write to it, signal it, wait for it."""

    def __init__(self, workspace: Workspace, call: PendingCall) -> None:
        self._workspace = workspace
        self._call = call

    @property
    def pid(self) -> int:
        """Its process id inside the environment; waits until it has started.

        Raises:
            FileNotFoundError: It could not be started: no such directory or program.
        """
        pid = self._call.wait_for_pid()
        if not pid:
            self._result()
        return pid

    def output(self) -> Iterator[tuple[str, bytes]]:
        """(``"stdout"`` or ``"stderr"``, bytes) as they come, until the process ends. Reading slowly slows it down."""
        for stream, data in self._call.events():
            yield ("stdout", "stderr")[stream == 2], data

    async def aoutput(self) -> AsyncIterator[tuple[str, bytes]]:
        """Like ``output``; cancelling kills the process."""
        events = self.output()
        while (event := await in_thread(self._call.future, functools.partial(next, events, None))) is not None:
            yield event

    def write(self, data: bytes) -> None:
        """Write to its standard input; waits while it is not reading."""
        self._call.send(data, more=True)

    def close_input(self) -> None:
        """Let it read end-of-file behind what was written."""
        self._call.send(b"", more=False)

    def send_signal(self, number: int) -> None:
        """Signal its process group; SIGKILL goes to the whole tree.

        Raises:
            ProcessLookupError: It has ended.
        """
        try:
            self._workspace.request("signal", {"call": self._call.id, "signal": int(number)}).result()
        except GuestCallError as refusal:
            raise ProcessLookupError(str(refusal)) from refusal

    def kill(self) -> None:
        """Kill its whole tree; of no effect on one that has ended."""
        with contextlib.suppress(ProcessLookupError):
            self.send_signal(signal.SIGKILL)

    def wait(self) -> CommandResult:
        """How it ended; output nobody has read is dropped."""
        for _ in self._call.events():
            continue
        return self._result()

    async def await_(self) -> CommandResult:
        """Like ``wait``; cancelling kills the process."""
        return await in_thread(self._call.future, self.wait)

    def _result(self) -> CommandResult:
        try:
            return command_result(self._call.future.result())
        except GuestCallError as refusal:
            raise translated(refusal) from refusal
