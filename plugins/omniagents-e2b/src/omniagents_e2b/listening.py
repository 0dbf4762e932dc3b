"""The output of a command in a sandbox as events of a queue, so that nobody waits on a connection that hangs."""

from __future__ import annotations

import queue
import threading
from dataclasses import dataclass

from e2b import CommandExitException, CommandHandle, Sandbox, SandboxException

__all__ = ["CommandEnded", "Heard", "Subscription"]


class CommandEnded(Exception):
    """The command is over; it is no use to ask for more of it."""


@dataclass(frozen=True)
class Heard:
    """One event.

    Attributes:
        by: Whose.
        is_again: A subscription to a command that was running is at its beginning; what it had said before is lost.
        end: Why there will be no more of this subscription.
    """

    by: Subscription
    stdout: str = ""
    stderr: str = ""
    is_again: bool = False
    end: Exception | None = None


class Subscription(threading.Thread):
    """Puts everything that the command says from now on into ``heard``; the last event has an end.

    Args:
        handle: Of a command that was just started; None to connect to a running one.
    """

    def __init__(
        self, sandbox: Sandbox, pid: int, handle: CommandHandle[None] | None, heard: queue.SimpleQueue[Heard | None]
    ) -> None:
        super().__init__(daemon=True, name="omniagents-e2b-listen")
        self._sandbox = sandbox
        self._pid = pid
        self._handle = handle
        self._heard = heard
        self.start()

    def run(self) -> None:
        try:
            end = self._listen()
        except Exception as error:  # whatever the SDK raises, this is over; what it means, others find out
            end = error
        self._heard.put(Heard(self, end=end))

    def _listen(self) -> Exception:
        handle = self._handle
        if handle is None:
            # No limit on the stream: the default would end it after a minute.
            handle = self._sandbox.commands.connect(self._pid, timeout=0, retain_output=False)
            self._heard.put(Heard(self, is_again=True))
        for stdout, stderr, _ in handle:
            self._heard.put(Heard(self, stdout=stdout or "", stderr=stderr or ""))
        try:
            handle.wait()
        except CommandExitException as error:
            return CommandEnded(str(error))
        except SandboxException:
            raise
        except Exception:  # the SDK has no other word for a stream without an end
            return SandboxException("the connection was cut off")
        return CommandEnded("the command ended")
