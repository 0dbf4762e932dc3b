"""Work done by a host process that is then killed with SIGKILL."""

from __future__ import annotations

import os
import pickle
import select
import signal
import subprocess
import sys
import traceback
import warnings
from collections.abc import Callable
from typing import IO, NoReturn

from omniagents.backends.base import Backend

__all__ = ["in_a_killed_host"]

_PATIENCE_SECONDS = 60.0

#: A function of a module, so that another interpreter can import it.
Work = Callable[[Callable[[], Backend]], None]


def in_a_killed_host(make: Callable[[], Backend], work: Work) -> None:
    """Call ``work(make)`` in another process, and kill that once it is done.

    A new interpreter does it, because threads of an SDK do not survive a fork; a copy of this one where ``make`` cannot
    be pickled.

    Args:
        make: Makes the backend that ``work`` starts.
    """
    try:
        order = pickle.dumps((sys.path, make, work))
    except (pickle.PicklingError, AttributeError, TypeError):
        _in_a_copy(make, work)
    else:
        _in_a_new_interpreter(order)


def _in_a_new_interpreter(order: bytes) -> None:
    program = subprocess.Popen(
        [sys.executable, "-m", __name__], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    assert program.stdin is not None
    assert program.stdout is not None
    try:
        program.stdin.write(order)
        program.stdin.close()
        said = _said(program.stdout)
    finally:
        program.kill()
        program.wait()
        program.stdout.close()
    assert said.endswith("done"), f"in the process to be killed: {said}"


def _in_a_copy(make: Callable[[], Backend], work: Work) -> None:
    reading, writing = os.pipe()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # forking with threads: the child only works and waits
        pid = os.fork()
    if not pid:
        _work_and_wait(make, work, writing)
    os.close(writing)
    try:
        with os.fdopen(reading, "rb", buffering=0) as output:
            said = _said(output)
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
    assert said == "done", f"in the process to be killed: {said}"


def _said(output: IO[bytes]) -> str:
    said = b""
    while not said.endswith(b"done"):
        ready, _, _ = select.select([output], [], [], _PATIENCE_SECONDS)
        data = os.read(output.fileno(), 1 << 16) if ready else b""
        if not data:
            return said.decode("utf-8", "replace") or "it never ended"
        said += data
    return said.decode("utf-8", "replace")


def _work_and_wait(make: Callable[[], Backend], work: Work, writing: int) -> NoReturn:
    said = "done"
    try:
        work(make)
    except BaseException:
        said = traceback.format_exc()[-(1 << 15) :]
    os.write(writing, said.encode())
    while True:
        signal.pause()


if __name__ == "__main__":
    sys.path, _make, _work = pickle.loads(sys.stdin.buffer.read())
    _work_and_wait(_make, _work, 1)
