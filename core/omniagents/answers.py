"""The guest's replies as what a caller of ``Workspace`` asked for: values, or the exceptions Python programs expect."""

from __future__ import annotations

import asyncio
import functools
import os
from collections.abc import Awaitable, Callable
from concurrent.futures import Future
from typing import Any, Concatenate, Generic, ParamSpec, TypeVar

from omniagents import trees
from omniagents.errors import GuestCallError, PathOutsideWorkspaceError, WriteConflictError
from omniagents.records import CommandResult, Reply

__all__ = ["Answer", "at_once", "command_result", "in_thread", "translated", "twins"]

_MOST_ERRNO = 4096  # include/linux/err.h: MAX_ERRNO

P = ParamSpec("P")
S = TypeVar("S")
T = TypeVar("T")


class Answer(Generic[T]):
    """A future reply and how to read it."""

    def __init__(self, future: Future[Reply], decode: Callable[[Reply], T]) -> None:
        self._future = future
        self._decode = decode

    def wait(self) -> T:
        try:
            return self._read(self._future.result())
        except GuestCallError as refusal:
            raise translated(refusal) from refusal
        except BaseException:
            self._future.cancel()
            raise

    async def awaited(self) -> T:
        try:
            return self._read(await asyncio.wrap_future(self._future))
        except GuestCallError as refusal:
            raise translated(refusal) from refusal

    def _read(self, reply: Reply) -> T:
        with trees.untrusted():
            return self._decode(reply)


def twins(
    method: Callable[Concatenate[S, P], Answer[T]],
) -> tuple[Callable[Concatenate[S, P], T], Callable[Concatenate[S, P], Awaitable[T]]]:
    """The blocking and the awaitable form of one request."""

    @functools.wraps(method)
    def blocking(self: S, /, *args: P.args, **kwargs: P.kwargs) -> T:
        return method(self, *args, **kwargs).wait()

    @functools.wraps(method)
    async def awaitable(self: S, /, *args: P.args, **kwargs: P.kwargs) -> T:
        return await method(self, *args, **kwargs).awaited()

    blocking.__name__ = method.__name__.lstrip("_")
    awaitable.__name__ = "a" + blocking.__name__
    return blocking, awaitable


def at_once(method: Callable[P, T]) -> Callable[P, Awaitable[T]]:
    """The awaitable form of what waits for nothing."""

    @functools.wraps(method)
    async def awaitable(*args: P.args, **kwargs: P.kwargs) -> T:
        return method(*args, **kwargs)

    return awaitable


async def in_thread(future: Future[Any], work: Callable[[], T]) -> T:
    """Await what waits for the future in a thread; cancelling cancels the future, which ends the wait."""
    try:
        return await asyncio.to_thread(work)
    except asyncio.CancelledError:
        future.cancel()
        raise


def translated(refusal: GuestCallError) -> Exception:
    """The exception that Python programs expect for a refusal."""
    path, number = refusal.details.get("path"), refusal.details.get("errno")
    if refusal.code == "PATH_OUTSIDE_WORKSPACE":
        return PathOutsideWorkspaceError(str(refusal))
    if refusal.code == "WRITE_CONFLICT":
        return WriteConflictError(str(refusal))
    if isinstance(number, int) and 0 < number < _MOST_ERRNO:
        return OSError(number, os.strerror(number), path if isinstance(path, str) else None)
    return refusal


def command_result(reply: Reply) -> CommandResult:
    """How a ``run`` ended."""
    value, payload = reply
    kept, total = value["kept"], value["total"]
    return CommandResult(
        exit_code=int(value["exit_code"]),
        signal=value["signal"],
        stdout=payload[: kept[0]],
        stderr=payload[kept[0] :],
        timed_out=value["timed_out"] is True,
        truncated=kept != total,
        duration_seconds=float(value["duration"]),
        background_pids=tuple(int(pid) for pid in value["background_pids"]),
    )
