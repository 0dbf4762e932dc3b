"""A process above the guest that outlives it: however the guest ends, what it had started ends too."""

from __future__ import annotations

import contextlib
import os
import signal

from . import kernel

__all__ = ["fork_guest"]

_END_SECONDS = 10.0


def fork_guest() -> None:
    """Return in a child of this process, which is the guest; this process waits for its end, and does not return.

    Orphans of a killed guest become this process's children, daemons without a trace of us in their
    environment included. Where the system has no subreapers there is no second process. Called before
    the guest's own modules are imported, so that the second process stays small.
    """
    kernel.protect_guest()
    if not kernel.subreaper():
        return
    try:
        guest = os.fork()
    except OSError:
        return  # at the limit of processes: better a guest without a keeper than none
    if not guest:
        kernel.die_with_parent()
        return
    null = os.open(os.devnull, os.O_RDWR)
    for fd in (0, 1):  # the stream: its end is the guest's end
        os.dup2(null, fd)
    signal.signal(signal.SIGTERM, lambda number, frame: _tell(guest, number))
    _, status = os.waitpid(guest, 0)
    kernel.end_children(_END_SECONDS)
    os._exit(os.WEXITSTATUS(status) if os.WIFEXITED(status) else 1)


def _tell(guest: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(guest, number)
