"""Whose a sandbox is: of all processes that start one project, wherever they run, one gets it."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Collection, Mapping
from typing import Final

from e2b import Sandbox
from e2b.sandbox.commands.main import ProcessInfo

from omniagents.errors import BackendUnavailableError, ProjectInUseError
from omniagents_e2b.service import Service, asked_again
from omniagents_e2b.starting import end_command
from omniagents_e2b.stream import SandboxStream

__all__ = ["Claim", "outlive_rivals"]

#: In the environment of a guest's command, where envd's list of processes shows it: whose guest it is.
_OWNER: Final = "OMNIAGENTS_OWNER"

_RIVAL_DELAYS: Final = (0.2, 0.4, 0.8, 1.6, 3.2)


class Claim:
    """What one backend knows of the other guests in the sandbox that it uses.

    Args:
        scope: ``Lease.scope``. Another guest of this scope has a dead owner, or is this backend's own: the lease of
            this machine says so. Of any other guest, nobody here knows.

    Attributes:
        is_lost: Another backend has the project; its sandbox is no longer ours to extend, save or end.
    """

    def __init__(self, project_id: str, scope: str) -> None:
        self.is_lost = False
        self._project_id = project_id
        self._scope = scope
        self._owner = f"{scope}:{secrets.token_hex(8)}"
        self._pid: int | None = None
        # In the sandbox when it was found: what this start may end.
        self._found: list[ProcessInfo] = []

    def look(self, sandbox: Sandbox) -> bool:
        """Note who is in a sandbox that was found; whether one of them may have a living owner elsewhere."""
        self._found = self._others(sandbox)
        return not all(map(self._is_of_this_host, self._found))

    def enter(self, sandbox: Sandbox, start: Callable[[Mapping[str, str]], SandboxStream]) -> SandboxStream:
        """Start a guest, and end those that were there before it.

        Args:
            start: Starts it, given the variables that tell whose it is.

        Raises:
            BackendUnavailableError: Another backend has taken the project over.
            ProjectInUseError: Another process started it at the same time, and was first.
        """
        before = self._found if self._pid is None else self._others(sandbox)
        if self._pid is not None and not all(map(self._is_of_this_host, before)):
            self.is_lost = True
            raise BackendUnavailableError(f"project {self._project_id!r}: another backend has taken the project over")
        stream = asked_again(lambda: start({_OWNER: self._owner}))
        try:
            self._end(sandbox, {guest.pid for guest in before}, stream.pid)
        except BaseException:
            stream.close()
            raise
        self._pid = stream.pid
        return stream

    def _end(self, sandbox: Sandbox, before: Collection[int], own: int) -> None:
        """Of two that started at the same time, the second gives way; it would end the first one's guest."""
        others = [guest for guest in self._others(sandbox) if guest.pid != own and guest.pid not in before]
        # Of a start whose answer was lost.
        strays = [guest.pid for guest in others if guest.envs[_OWNER] == self._owner]
        if any(guest.pid < own for guest in others if guest.pid not in strays):
            self.is_lost = True
            raise ProjectInUseError(f"project {self._project_id!r} was started by another process at the same time")
        for pid in (*before, *strays):
            end_command(sandbox, pid)

    def _others(self, sandbox: Sandbox) -> list[ProcessInfo]:
        running = asked_again(sandbox.commands.list)
        return [each for each in running if _OWNER in each.envs and each.pid != self._pid]

    def _is_of_this_host(self, guest: ProcessInfo) -> bool:
        return guest.envs[_OWNER].startswith(f"{self._scope}:")


def outlive_rivals(service: Service, project_id: str, sandbox_id: str) -> None:
    """Returns once the sandbox that was just made is the project's only one.

    Raises:
        ProjectInUseError: Another process made one at the same time, and it is not for that one to give way.
    """
    for delay in (*_RIVAL_DELAYS, None):
        found = service.find(project_id)
        others = [each.id for each in found if each.id != sandbox_id]
        if not others:
            return
        # The later gives way, unless it did not see the earlier.
        if found[0].id != sandbox_id or delay is None:
            break
        time.sleep(delay)
    raise ProjectInUseError(
        f"project {project_id!r} was started by another process at the same time, in sandbox {others[0]}"
    )
