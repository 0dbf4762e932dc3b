"""What can go wrong on the way to a request and back."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

__all__ = ["Fault", "Faults", "Operation"]

Operation = Literal["announce", "upload", "download", "describe", "delete", "list", "copy"]


@dataclass
class Fault:
    """One defect, for the requests it is about.

    Attributes:
        kind: ``status``: an error instead of an answer. ``dropped``: the connection is reset, nothing is done.
            ``lost``: it is done, then the connection is reset. ``hang``: it is done, and no answer comes.
            ``cut``: the answer ends in the middle. ``corrupt``: a byte of its body is another.
            ``garbage``: it is done, and the answer is not what it should be. ``drip``: it comes a byte at a time.
            ``corrupt_upload``: a byte of what arrives is another.
        operations: None for any.
        name: Part of the object's name.
        times: How often; the fault is gone then.
        skip: So many requests pass first.
        status: Of HTTP,
        reason: in its JSON body,
        message: and for people.
        retry_after: Its header.
    """

    kind: Literal["status", "dropped", "lost", "hang", "cut", "corrupt", "garbage", "drip", "corrupt_upload"]
    operations: tuple[Operation, ...] | None = None
    name: str = ""
    times: int = 1
    skip: int = 0
    status: int = 503
    reason: str = "backendError"
    message: str = "We encountered an internal error. Please try again."
    retry_after: str | None = None


@dataclass
class Faults:
    """The faults of one server; each request meets one at most.

    Attributes:
        waiting: Faults that were not met yet.
        recurring: Met in turn,
        every: by each request with a number divisible by this; 0 for none.
    """

    waiting: list[Fault] = field(default_factory=list)
    recurring: Sequence[Fault] = ()
    every: int = 0
    _requests: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def add(self, *faults: Fault) -> None:
        with self._lock:
            self.waiting += faults

    def clear(self) -> None:
        with self._lock:
            self.waiting.clear()

    def meet(self, operation: Operation, name: str) -> Fault | None:
        """The fault that this request meets, used up by that."""
        with self._lock:
            self._requests += 1
            if self.every and self._requests % self.every == 0:
                return self.recurring[self._requests // self.every % len(self.recurring)]
            for fault in self.waiting:
                if fault.name in name and (fault.operations is None or operation in fault.operations):
                    if fault.skip > 0:
                        fault.skip -= 1
                        continue
                    fault.times -= 1
                    if fault.times == 0:
                        self.waiting.remove(fault)
                    return fault
        return None
