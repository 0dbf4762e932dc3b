"""What an act and its director say to each other: a cast on standard input, one line of JSON for each step back."""

from __future__ import annotations

import contextlib
import json
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass

from omniagents.demo.sources import Work

__all__ = ["Cast", "ClaimError", "Part", "Step", "claim", "step"]


class ClaimError(Exception):
    """Something is not as the demo states it."""


@dataclass(frozen=True)
class Part:
    """A user: the name is the project id, the marker is in this user's files and nowhere else."""

    name: str
    marker: str
    work: Work


@dataclass(frozen=True)
class Cast:
    """Who plays, on which backend, and where snapshots are kept."""

    backend: str
    snapshots: str
    parts: tuple[Part, ...]

    def as_json(self) -> str:
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Cast:
        told = json.loads(text)
        parts = (Part(part["name"], part["marker"], Work(**part["work"])) for part in told["parts"])
        return cls(told["backend"], told["snapshots"], tuple(parts))


@dataclass
class Step:
    """One thing that was done and checked.

    Attributes:
        user: Who did it.
        text: What; may be completed while it is done.
        seconds: Wall clock.
    """

    user: str
    text: str
    seconds: float = 0.0

    @classmethod
    def from_json(cls, line: str) -> Step:
        return cls(**json.loads(line))


@contextlib.contextmanager
def step(user: str, text: str) -> Iterator[Step]:
    """Do something, then tell the director; what fails is not told as done."""
    doing = Step(user, text)
    started = time.perf_counter()
    yield doing
    doing.seconds = time.perf_counter() - started
    print(json.dumps(asdict(doing)), file=sys.stdout, flush=True)


def claim(holds: bool, statement: str) -> None:
    """Raise ``ClaimError`` unless the statement holds."""
    if not holds:
        raise ClaimError(f"not so: {statement}")
