"""From a ``Sandbox`` to a running one: descriptors, the process, its limits, and its end."""

from __future__ import annotations

import contextlib
import json
import os
import select
import subprocess
from collections.abc import Mapping, Sequence, Set
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any, BinaryIO

from omniagents.backends.child_stream import ChildStream
from omniagents.guest.kernel import descendants
from omniagents_bubblewrap import seccomp, view
from omniagents_bubblewrap.cgroups import Cgroup
from omniagents_bubblewrap.command import Descriptors, Sandbox
from omniagents_bubblewrap.command import options as bwrap_options
from omniagents_bubblewrap.limits import apply_rlimits
from omniagents_bubblewrap.spawner import Spawner

__all__ = ["Owner", "SandboxStream"]

Owner = tuple[int, int]

_START_SECONDS = 20.0
_END_SECONDS = 10.0


class SandboxStream(ChildStream):
    """A process in a new sandbox; once the stream is closed, the sandbox and all in it are gone.

    Args:
        sandbox: What it is made of.
        argv: What runs in it.
        environment: All of its variables.
        program: bwrap.
        owner: User and group of the processes on the host; only root can choose others than its own.
        cgroup: Where the processes go; removed with them.

    Raises:
        OSError: bwrap or the kernel refuses; with what it said.
    """

    def __init__(
        self,
        sandbox: Sandbox,
        argv: Sequence[str],
        environment: Mapping[str, str],
        *,
        program: str,
        owner: Owner,
        cgroup: Cgroup | None,
    ) -> None:
        self._cgroup = cgroup
        self._reason = ""
        self._first: int | None = None
        try:
            with contextlib.ExitStack() as opened:
                start = _Start(program, sandbox, owner, opened)
                super().__init__(argv, environment, start=start)
                try:
                    self._settle(start, sandbox, owner)
                except OSError as error:
                    self._child.kill()
                    self.close()
                    # If bwrap had ended, what it said is the reason.
                    raise OSError(self.diagnostics().strip() or str(error)) from error
        except BaseException:
            self._remove_cgroup()
            raise

    def read(self) -> bytes:
        data = super().read()
        if not data and (reason := self._reason or self._out_of_memory()):
            raise OSError(reason)
        return data

    def end(self, reason: str) -> None:
        """Kill everything in the sandbox; calls under way fail with ``reason``."""
        self._reason = reason
        self._child.kill()  # what it started dies with it

    def processes(self) -> Set[int]:
        """All that run in the sandbox now, as this machine numbers them."""
        return descendants(self._child.pid)

    def close(self) -> None:
        super().close()
        with self._closing:
            first, self._first = self._first, None
            if first is not None:
                # Killing bwrap kills its first process a moment later, and the kernel all others before that has ended.
                _is_ready(first, _END_SECONDS)
                os.close(first)
        self._remove_cgroup()

    def _settle(self, start: _Start, sandbox: Sandbox, owner: Owner) -> None:
        """Limit the sandbox while it waits, then let it run."""
        pid = start.child_pid()
        if pid is None:
            raise OSError("bwrap ended without a word")
        self._first = os.pidfd_open(pid)
        with ThreadPoolExecutor(1) as pool:  # moving waits for a grace period of the kernel
            moved = pool.submit(self._cgroup.add, pid) if self._cgroup is not None else None
            apply_rlimits(pid, sandbox.limits, self._cgroup, owner)
            if moved is not None:
                moved.result()
        start.release()

    def _out_of_memory(self) -> str:
        return "the environment was out of memory" if self._cgroup is not None and self._cgroup.has_killed() else ""

    def _remove_cgroup(self) -> None:
        if self._cgroup is not None:
            self._cgroup.remove()


class _Start:
    """Calls ``subprocess.Popen`` with bwrap's argv for a sandbox that waits for ``release``."""

    def __init__(self, program: str, sandbox: Sandbox, owner: Owner, opened: contextlib.ExitStack) -> None:
        self._program = program
        self._sandbox = sandbox
        self._owner = owner
        self._info, self._told = _pipe(opened)
        self._waiting, self._going = _pipe(opened)
        files = {**view.etc_files(), **(view.network_files() if sandbox.shares_network else {})}
        self._descriptors = Descriptors(
            seccomp=_memory_file(seccomp.program_of_this_machine(), opened),
            files={path: _memory_file(content, opened) for path, content in files.items()},
            info=self._told.fileno(),
            block=self._waiting.fileno(),
        )

    def __call__(self, argv: Sequence[str], **options: Any) -> subprocess.Popen[bytes]:
        spawner = Spawner.get()
        try:
            if self._owner == (os.geteuid(), os.getegid()):
                return spawner.call(lambda: self._start(self._sandbox, argv, options))
            return spawner.call(lambda: self._start_staged(spawner, argv, options))
        finally:
            self._told.close()
            self._waiting.close()

    def child_pid(self) -> int | None:
        """The process that waits, as the host numbers it; None if bwrap ended instead."""
        said = b""
        while b"}" not in said:
            self._wait_for_info()
            piece = self._info.read(4096)
            if not piece:
                return None
            said += piece
        pid = json.loads(said)["child-pid"]
        assert isinstance(pid, int)
        return pid

    def release(self) -> None:
        """Let it run."""
        self._going.write(b"\n")

    def _start(self, sandbox: Sandbox, argv: Sequence[str], options: dict[str, Any]) -> subprocess.Popen[bytes]:
        words = bwrap_options(sandbox, self._descriptors)
        with contextlib.ExitStack() as opened:
            # Not as arguments: the first process inside has them too, and they name directories of the host.
            fd = _memory_file(b"".join(os.fsencode(word) + b"\0" for word in words), opened)
            inherited = (fd, *self._descriptors.all())
            return subprocess.Popen([self._program, "--args", str(fd), "--", *argv], pass_fds=inherited, **options)

    def _start_staged(self, spawner: Spawner, argv: Sequence[str], options: dict[str, Any]) -> subprocess.Popen[bytes]:
        sandbox = self._sandbox
        with spawner.stage.showing([sandbox.workspace, sandbox.home, *sandbox.visible.values()]) as staged:
            workspace, home, *visible = staged
            sandbox = replace(
                sandbox, workspace=workspace, home=home, visible=dict(zip(sandbox.visible, visible, strict=True))
            )
            user, group = self._owner
            child = self._start(sandbox, argv, {**options, "user": user, "group": group, "extra_groups": []})
            self._told.close()
            self._wait_for_info()  # from then on the sandbox has mounts of its own
            return child

    def _wait_for_info(self) -> None:
        if not _is_ready(self._info.fileno(), _START_SECONDS):
            raise TimeoutError(f"bwrap made no sandbox within {_START_SECONDS:.0f} s")


def _is_ready(fd: int, most_seconds: float) -> bool:
    """Wait until there is something to read, or, of a process, until it has ended."""
    waiting = select.poll()  # select's descriptors are below 1024
    waiting.register(fd, select.POLLIN)
    return bool(waiting.poll(most_seconds * 1000))


def _pipe(opened: contextlib.ExitStack) -> tuple[BinaryIO, BinaryIO]:
    reading, writing = os.pipe()
    return (
        opened.enter_context(os.fdopen(reading, "rb", buffering=0)),
        opened.enter_context(os.fdopen(writing, "wb", buffering=0)),
    )


def _memory_file(content: bytes, opened: contextlib.ExitStack) -> int:
    """A descriptor from which ``content`` can be read; bwrap reads each once."""
    fd = os.memfd_create("omniagents")
    opened.callback(os.close, fd)
    with os.fdopen(os.dup(fd), "wb") as file:
        file.write(content)
    os.lseek(fd, 0, os.SEEK_SET)
    return fd
