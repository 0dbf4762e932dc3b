"""Switches: latency, and answers that go wrong; and a record of every request."""

from __future__ import annotations

import re
import threading
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Recorded:
    """A request as it came in: ``path`` without its query, bodies in bytes."""

    method: str
    path: str
    query: str
    headers: dict[str, str]
    sandbox_id: str | None


@dataclass
class Fault:
    """What happens to requests whose ``METHOD /path`` the pattern matches.

    Attributes:
        times: How many of them; -1 for all.
        status: Answer with it, and do not do what was asked.
        headers: Of that answer, or of the one that is lost.
        loses_answer: Do what was asked, then drop the connection.
        drops: Drop the connection at once.
        cut_after: Drop the connection after so many bytes of the answer.
        delay_seconds: Wait first.
    """

    pattern: str
    times: int = 1
    status: int | None = None
    headers: dict[str, str] = field(default_factory=dict)
    loses_answer: bool = False
    drops: bool = False
    cut_after: int | None = None
    delay_seconds: float = 0.0


class Faults:
    """The server's switches, set from the test's thread.

    Attributes:
        latency_seconds: Added to every request.
        recorded: All requests so far.
    """

    def __init__(self) -> None:
        self.latency_seconds = 0.0
        self.recorded: list[Recorded] = []
        self._faults: list[Fault] = []
        self._lock = threading.Lock()

    def add(self, fault: Fault) -> None:
        """Switch one on."""
        with self._lock:
            self._faults.append(fault)

    def clear(self) -> None:
        """Switch all off."""
        with self._lock:
            self._faults.clear()
        self.latency_seconds = 0.0

    def take(self, request: Recorded) -> Fault | None:
        """Record a request; the fault that meets it."""
        with self._lock:
            self.recorded.append(request)
            for fault in self._faults:
                if fault.times != 0 and re.fullmatch(fault.pattern, f"{request.method} {request.path}"):
                    fault.times -= 1
                    return fault
        return None
