"""A backend from start to shutdown, whatever ends the program in between."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator
from types import FrameType

from omniagents.backends.base import Backend
from omniagents.cli.output import note
from omniagents.records import CommandResult
from omniagents.workspace import Process

__all__ = ["Terminated", "running", "watched"]

# How long a command may take to clean up after Ctrl-C before its tree is killed.
_GRACE_SECONDS = 5.0


class Terminated(BaseException):
    """SIGTERM or SIGHUP came; like KeyboardInterrupt, not an error."""

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.exit_code = 128 + number


@contextlib.contextmanager
def running(backend: Backend, *, save: bool) -> Iterator[Backend]:
    """Start, and in any case shut down; SIGTERM and SIGHUP end the block like Ctrl-C does."""
    with _signals_raise():
        backend.start()
        try:
            yield backend
        finally:
            with _signals_wait():
                backend.shutdown(save=save)


def watched(process: Process, show: Callable[[str, bytes], None]) -> CommandResult:
    """Show a process's output until it ends.

    An interruption is passed on, and the whole tree is killed if it goes on for five seconds or another one comes;
    the interruption is raised again once the process has ended.
    """
    interruption: BaseException | None = None
    killer = threading.Timer(_GRACE_SECONDS, process.kill)
    killer.daemon = True
    while True:
        try:
            for stream, data in process.output():
                show(stream, data)
            break
        except (KeyboardInterrupt, Terminated) as error:
            if interruption is None:
                interruption = error
                killer.start()
                # One that has ended cannot be signalled; whatever it left behind ends with the session.
                with contextlib.suppress(ProcessLookupError):
                    process.send_signal(signal.SIGINT)
            else:
                process.kill()
    killer.cancel()
    if interruption is not None:
        raise interruption
    return process.wait()


@contextlib.contextmanager
def _signals_raise() -> Iterator[None]:
    def end(number: int, frame: FrameType | None) -> None:
        raise Terminated(number)

    with _handling(end, signal.SIGTERM, signal.SIGHUP):
        yield


@contextlib.contextmanager
def _signals_wait() -> Iterator[None]:
    """Saving is not interrupted by the first signal, which is told why; by the second it is."""
    seen: list[int] = []

    def first(number: int, frame: FrameType | None) -> None:
        if seen:
            raise KeyboardInterrupt
        seen.append(number)
        note("omniagents: saving the workspace; once more to stop without saving")

    with _handling(first, signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        yield


@contextlib.contextmanager
def _handling(handler: object, *numbers: int) -> Iterator[None]:
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, handler) for number in numbers}  # type: ignore[arg-type]
    try:
        yield
    finally:
        for number, previous in before.items():
            signal.signal(number, previous)
