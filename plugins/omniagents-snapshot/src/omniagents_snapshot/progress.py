"""How far a save, a load or a check has come."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Literal

__all__ = ["Phase", "Progress", "ProgressCallback", "Reporter"]

Phase = Literal["scan", "read", "store", "write", "check", "repack"]

_SECONDS_BETWEEN = 0.1


@dataclass(frozen=True)
class Progress:
    """One moment of one call.

    Attributes:
        phase: ``scan``: looking at the workspace; ``read``: files that changed are read out of it, and packed;
            ``store``: the last packs are on their way into the store; ``write``: files are written into the
            workspace; ``check``: packs are checked; ``repack``: what is needed of packs that are mostly not is stored
            again.
        files: Done so far in this phase; in ``check``, packs; in ``repack``, segments.
        total_files: To be done; None where that is not known yet.
        bytes: Of content, done so far; in ``check`` and ``repack``, as stored.
        total_bytes: To be done; None where that is not known. A file that grows meanwhile may exceed it.
    """

    project_id: str
    phase: Phase
    files: int = 0
    total_files: int | None = None
    bytes: int = 0
    total_bytes: int | None = None


#: Called in the thread that made the call, or while checking in one of its helpers; at most about ten times a
#: second, and at the start and the end of every phase. What it raises ends the call.
ProgressCallback = Callable[[Progress], None]


class Reporter:
    """Counts, and passes on what is worth passing on. Does nothing without a callback."""

    def __init__(self, project_id: str, callback: ProgressCallback | None) -> None:
        self._callback = callback
        self._now = Progress(project_id, "scan")
        self._due = 0.0
        self._lock = threading.Lock()

    def start(self, phase: Phase, files: int | None = None, size: int | None = None) -> None:
        """Begin a phase with so much to do."""
        self._now = Progress(self._now.project_id, phase, 0, files, 0, size)
        self._report()

    def add(self, files: int = 0, size: int = 0) -> None:
        """So much more is done."""
        if self._callback is None:
            return
        with self._lock:
            self._now = replace(self._now, files=self._now.files + files, bytes=self._now.bytes + size)
            if time.monotonic() >= self._due:
                self._report()

    def counted(self, pieces: Iterator[bytes]) -> Iterator[bytes]:
        """The same pieces, counted as they pass."""
        for piece in pieces:
            self.add(size=len(piece))
            yield piece

    def finish(self) -> None:
        """The phase is over."""
        self._report()

    def _report(self) -> None:
        if self._callback is not None:
            self._due = time.monotonic() + _SECONDS_BETWEEN
            self._callback(self._now)
