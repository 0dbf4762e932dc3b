"""Files without a name that processes hold open: they take space on disk, and are in no directory."""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Callable, Iterable, Iterator, Set

__all__ = ["bytes_without_a_name"]

_BLOCK_BYTES = 512  # what st_blocks counts (stat(2))


def bytes_without_a_name(processes: Iterable[int], devices: Set[int], give_up: Callable[[], None]) -> int:
    """What such files take on these devices, each counted once.

    Args:
        processes: Whose files, by their numbers on this machine; those that end meanwhile hold nothing.
        give_up: Called again and again; what it raises ends the search.
    """
    found: dict[tuple[int, int], int] = {}
    for pid in processes:
        for path in _held(pid):
            give_up()
            # Closed meanwhile; or, of files that are only mapped, a matter for a user with more rights.
            with contextlib.suppress(OSError):
                status = os.stat(path)
                if stat.S_ISREG(status.st_mode) and not status.st_nlink and status.st_dev in devices:
                    found[status.st_dev, status.st_ino] = status.st_blocks * _BLOCK_BYTES
    return sum(found.values())


def _held(pid: int) -> Iterator[str]:
    """A path to each file that a process has open or mapped. Each thread may have descriptors of its own."""
    threads = [f"/proc/{pid}/task/{thread}/fd" for thread in _names(f"/proc/{pid}/task")]
    for folder in (*threads, f"/proc/{pid}/map_files"):
        for name in _names(folder):
            yield f"{folder}/{name}"


def _names(folder: str) -> list[str]:
    try:
        return os.listdir(folder)
    except OSError:
        return []  # it has ended
