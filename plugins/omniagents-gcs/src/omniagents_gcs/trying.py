"""Requests until they succeed, are refused, or their time is over."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from typing import NamedTuple, TypeVar

from omniagents.errors import StateCorruptError, StateError, StateUnavailableError
from omniagents_gcs.answers import Answer, DamagedAnswerError, answer_of
from omniagents_gcs.refusals import Request, refusal

__all__ = ["Patience", "Try", "attempt"]

_T = TypeVar("_T")
# The slowest connection that is waited for.
_BYTES_PER_SECOND = 128 << 10
_FIRST_PAUSE_SECONDS = 0.1
_LONGEST_PAUSE_SECONDS = 8.0
# One object may be replaced once a second (Cloud Storage, "Quotas & limits"), and 429 is what it says then.
_SLOW_DOWN_SECONDS = 1.0
_DAMAGED_TRIES = 3


class Try(NamedTuple):
    """What one try is told.

    Attributes:
        seconds: It must end after this time.
        may_be_done: An earlier try may have taken effect, its answer lost.
    """

    seconds: float
    may_be_done: bool


class Patience(NamedTuple):
    """How long is waited for one request.

    Attributes:
        seconds: For all tries and the pauses between them; large objects get as much more as a connection of
            128 KiB/s takes.
        pause: Waits; the argument is in seconds.
    """

    seconds: float
    pause: Callable[[float], None] = time.sleep

    def for_size(self, size: int) -> float:
        return self.seconds + size / _BYTES_PER_SECOND


def attempt(request: Request, patience: Patience, once: Callable[[Try], _T]) -> _T:
    """Call ``once`` until it returns.

    Raises:
        StateAccessError: The credentials are missing, refused, or lack a grant.
        StateConfigurationError: A setting is wrong.
        StateCorruptError: The content came damaged each time.
        StateUnavailableError: There was no success in time.
        StateError: It was refused for another reason.
    """
    seconds = patience.for_size(request.size)
    end = time.monotonic() + seconds
    tries = damaged = 0
    may_be_done = False
    while True:
        try:
            # Half of the time at most, so that one server that hangs does not cost the whole request.
            return once(Try(min(end - time.monotonic(), seconds / 2), may_be_done))
        except StateError:
            raise
        except Exception as error:
            answer = answer_of(error)
            if answer is None:
                raise
            tries += 1
            damaged += isinstance(error, DamagedAnswerError)
            may_be_done = may_be_done or answer.may_be_done
            if damaged == _DAMAGED_TRIES:
                raise StateCorruptError(f"could not {request}: {answer.message}, {tries} times") from error
            if not answer.is_transient:
                raise refusal(request, answer) from error
            wait = _pause_after(tries, answer)
            if time.monotonic() + wait >= end:
                raise _unavailable(request, seconds, tries, answer, wait, may_be_done) from error
        patience.pause(wait)


def _pause_after(tries: int, answer: Answer) -> float:
    longest = min(_LONGEST_PAUSE_SECONDS, _FIRST_PAUSE_SECONDS * float(2 ** min(tries - 1, 10)))
    if answer.status == 429:
        longest += _SLOW_DOWN_SECONDS
    # At random, so that those who were refused together do not come back together.
    return max(answer.retry_after, longest * random.uniform(0.5, 1.0))


def _unavailable(
    request: Request, seconds: float, tries: int, answer: Answer, wait: float, may_be_done: bool
) -> StateUnavailableError:
    what = "no answer" if answer.status is None else f"HTTP {answer.status}"
    waiting = f", which asks to wait {wait:.0f} s" if answer.retry_after else ""
    doubt = "; it may have taken effect or not" if may_be_done and request.verb not in ("read", "list") else ""
    return StateUnavailableError(
        f"could not {request}: given up after {tries} {'try' if tries == 1 else 'tries'}, {seconds:.3g} s being the "
        f"limit (timeout_seconds=); the last was {what}{waiting}: {answer.message}{doubt}"
    )
