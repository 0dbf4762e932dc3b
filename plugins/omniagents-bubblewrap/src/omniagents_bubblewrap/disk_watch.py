"""A limit on what an environment keeps on disk, for file systems without quotas: looked at every second or so."""

from __future__ import annotations

import logging
import os
import subprocess
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from omniagents_bubblewrap.limits import Limits
from omniagents_bubblewrap.unnamed_files import bytes_without_a_name

__all__ = ["DiskWatch", "Usage", "usage_of"]

_log = logging.getLogger("omniagents")

_LOOK_SECONDS = 1.0
_MEASURE_SECONDS = 5.0
# Measuring may take at most this part of the time.
_EFFORT = 0.05
_GROWTH_BYTES = 1 << 20
# How long measuring may take; less where the disk fills up meanwhile.
_MOST_SECONDS, _MOST_SECONDS_ON_A_FULL_DISK = 600.0, 5.0

# The environment's processes may be this user's too, and take away the right to read a directory that they write in.
# Its owner gets it back in a user namespace of its own.
_READING_EVERYTHING = (
    "bwrap", "--die-with-parent", "--unshare-user", "--uid", "0", "--gid", "0",
    "--cap-drop", "ALL", "--cap-add", "CAP_DAC_READ_SEARCH", "--dev-bind", "/", "/", "--",
)  # fmt: skip


class TooLate(Exception):
    """Measuring takes longer than it may."""


class Usage(NamedTuple):
    """What is on disk: bytes of blocks, and files with directories."""

    bytes: int
    files: int


class DiskWatch(threading.Thread):
    """Calls ``on_over(reason)`` when directories are over a limit and have grown since they last were.

    Free space tells cheaply when measuring is due: at once when more than what is left of the limit was
    used up, not at all while nothing on the disk changes.

    Args:
        processes: Says who runs in the environment now, by their numbers on this machine: what they hold open counts.
    """

    def __init__(
        self,
        directories: Sequence[str],
        limits: Limits,
        on_over: Callable[[str], None],
        processes: Callable[[], Iterable[int]] = tuple,
    ) -> None:
        super().__init__(daemon=True, name="omniagents-disk-watch")
        self._directories = list(directories)
        self._limits = limits
        self._processes = processes
        self._on_over = on_over
        self._stopping = threading.Event()
        self._measured: Usage | None = None
        self._free_then = (0, 0)
        self._due = 0.0
        self._worst = Usage(0, 0)
        self.start()

    def stop(self) -> None:
        """Look no more."""
        self._stopping.set()

    def run(self) -> None:
        while not self._stopping.wait(_LOOK_SECONDS):
            try:
                self.look()
            except FileNotFoundError:
                return  # the environment was removed
            except (OSError, ValueError):
                _log.exception("the disk usage of %s cannot be measured; its limit is not enforced", self._directories)
                return

    def look(self) -> None:
        """Measure if it may be necessary, and act on it."""
        free = _free(self._directories[0])
        if not self._is_due(free):
            return
        started = time.monotonic()
        try:
            previous, usage = self._measured, self._usage(started)
        except TooLate:
            self._on_over("workspace and home cannot be measured in time")
            return
        ended = time.monotonic()
        self._measured, self._free_then = usage, free
        self._due = ended + max(_MEASURE_SECONDS, (ended - started) / _EFFORT)
        reason = over(usage, self._limits)
        if reason and (usage.bytes > self._worst.bytes or usage.files > self._worst.files):
            self._worst = usage
            self._on_over(reason)
            return
        if not reason:
            self._worst = Usage(0, 0)
        if self._is_low(free) and previous is not None and usage.bytes > previous.bytes + _GROWTH_BYTES:
            self._on_over(f"the disk is almost full ({free[0] >> 20} MiB left) and this environment was filling it")

    def _usage(self, started: float) -> Usage:
        usage = usage_of(self._directories, lambda: self._is_too_late(started))

        def give_up() -> None:
            if time.monotonic() - started > _LOOK_SECONDS and self._is_too_late(started):
                raise TooLate

        devices = {os.stat(directory).st_dev for directory in self._directories}
        return usage._replace(bytes=usage.bytes + bytes_without_a_name(self._processes(), devices, give_up))

    def _is_due(self, free: tuple[int, int]) -> bool:
        if self._measured is None:
            return True
        if free == self._free_then:
            return False
        limits = self._limits
        used_bytes, used_files = self._free_then[0] - free[0], self._free_then[1] - free[1]
        is_close = (
            (limits.workspace_bytes is not None and self._measured.bytes + used_bytes > limits.workspace_bytes)
            or (limits.workspace_files is not None and self._measured.files + used_files > limits.workspace_files)
            or self._is_low(free)
        )
        return is_close or time.monotonic() >= self._due

    def _is_low(self, free: tuple[int, int]) -> bool:
        return self._limits.host_free_bytes is not None and free[0] < self._limits.host_free_bytes

    def _is_too_late(self, started: float) -> bool:
        is_low = self._is_low(_free(self._directories[0]))
        return time.monotonic() - started > (_MOST_SECONDS_ON_A_FULL_DISK if is_low else _MOST_SECONDS)


def over(usage: Usage, limits: Limits) -> str:
    """Which limit is passed; empty if none is."""
    if limits.workspace_bytes is not None and usage.bytes > limits.workspace_bytes:
        return (
            f"workspace and home take {usage.bytes >> 20} MiB of disk and may take {limits.workspace_bytes >> 20} MiB"
        )
    if limits.workspace_files is not None and usage.files > limits.workspace_files:
        return f"workspace and home hold {usage.files} files and may hold {limits.workspace_files}"
    return ""


def usage_of(directories: Sequence[str], is_too_late: Callable[[], bool] = lambda: False) -> Usage:
    """What is below ``directories``; links are not followed.

    Args:
        is_too_late: Asked every second.

    Raises:
        FileNotFoundError: One of them is gone.
        TooLate: ``is_too_late()``.
    """
    # du walks by descriptors: trees that are deeper than a path can be long, or that move meanwhile, do not mislead it.
    sizes = (_du(directories, option, is_too_late) for option in ("--block-size=1", "--inodes"))
    return Usage(*sizes)


def _du(directories: Sequence[str], option: str, is_too_late: Callable[[], bool]) -> int:
    for directory in directories:
        os.stat(directory)
    command = ["nice", "du", "-s", "-x", option, "--total", "--", *directories]
    if os.geteuid() != 0:
        command = [*_READING_EVERYTHING, *command]
    # What disappears meanwhile makes its exit code 1.
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as du:
        try:
            return int(_output(du, is_too_late).splitlines()[-1].split()[0])
        finally:
            du.kill()


def _output(process: subprocess.Popen[bytes], is_too_late: Callable[[], bool]) -> bytes:
    while True:
        try:
            return process.communicate(timeout=_LOOK_SECONDS)[0]
        except subprocess.TimeoutExpired:
            if is_too_late():
                raise TooLate from None


def _free(directory: str) -> tuple[int, int]:
    found = os.statvfs(directory)
    return found.f_bavail * found.f_frsize, found.f_favail
