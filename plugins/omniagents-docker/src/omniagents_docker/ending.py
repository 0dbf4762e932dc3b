"""Ending what runs in a container: by the end of its input, and if it does not hear that, by force."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Sequence
from typing import Final

from omniagents_docker.engine import Engine, EngineError

__all__ = ["end_exec", "kill_user", "wait_for_exec"]

_PATIENCE_SECONDS: Final = 5.0
_FIRST_LOOK_SECONDS: Final = 0.005
_LONGEST_LOOK_SECONDS: Final = 0.2

# Everything of that user but the caller and the container's first process (kill(2)).
_KILL: Final = "import os;os.kill(-1,9)"


def end_exec(engine: Engine, container: str, exec_id: str, python: Sequence[str], user: str) -> None:
    """See to it that a process ends whose input has ended; one that hangs is killed with all of its user's."""
    # Gone with its container, or with the engine: nothing is left to end.
    with contextlib.suppress(EngineError):
        if not wait_for_exec(engine, exec_id):
            kill_user(engine, container, python, user)


def kill_user(engine: Engine, container: str, python: Sequence[str], user: str) -> None:
    """Kill every process of a user in a container; the container's own is another user's.

    Raises:
        EngineError: The container is gone, stopped or paused.
    """
    engine.run(container, [*python, "-I", "-S", "-c", _KILL], user=user)


def wait_for_exec(engine: Engine, exec_id: str) -> bool:
    """Wait for a process to end, a few seconds at most; whether it has."""
    end = time.monotonic() + _PATIENCE_SECONDS
    pause = _FIRST_LOOK_SECONDS
    while engine.is_exec_running(exec_id):
        if time.monotonic() > end:
            return False
        time.sleep(pause)
        pause = min(2 * pause, _LONGEST_LOOK_SECONDS)
    return True
