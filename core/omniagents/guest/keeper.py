"""A process above the guest that outlives it: however the guest ends, what it had started ends too."""

from __future__ import annotations

import contextlib
import os
import signal
from typing import Tuple

from . import kernel

__all__ = ["fork_guest"]

_END_SECONDS = 10.0


def fork_guest(stream: Tuple[int, ...]) -> None:
    """Return in a child of this process, which is the guest; this process waits for its end, and does not return.

    Orphans of a killed guest become this process's children, daemons without a trace of us in their
    environment included. Where the system has no subreapers there is no second process.

    Args:
        stream: Descriptors that only the guest may hold, so that its end is the stream's end.
    """
    if not kernel.subreaper():
        return
    guest = os.fork()
    if not guest:
        kernel.die_with_parent()
        return
    for fd in stream:
        os.close(fd)
    signal.signal(signal.SIGTERM, lambda number, frame: _tell(guest, number))
    _, status = os.waitpid(guest, 0)
    kernel.end_children(_END_SECONDS)
    os._exit(os.WEXITSTATUS(status) if os.WIFEXITED(status) else 1)


def _tell(guest: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(guest, number)
