"""Where a framework's loop runs, so that whoever waits for it can give up waiting."""

from __future__ import annotations

import asyncio
import contextvars
import functools
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from typing import Any, TypeVar

__all__ = ["in_loop", "in_thread", "uninterrupted"]

T = TypeVar("T")


def in_thread(work: Callable[[], T]) -> Future[T]:
    """Start ``work`` in a thread of its own, in a copy of the caller's context."""
    future: Future[T] = Future()
    future.set_running_or_notify_cancel()
    context = contextvars.copy_context()

    def target() -> None:
        try:
            result = context.run(work)
        except BaseException as error:
            future.set_exception(error)
        else:
            future.set_result(result)

    # A daemon: at exit nobody waits for a model that was given up.
    threading.Thread(target=target, name="omniagents-run", daemon=True).start()
    return future


def in_loop(work: Coroutine[Any, Any, T]) -> Future[T]:
    """Start a coroutine in the one event loop that serves all callers without a loop; cancelling the future cancels it.

    One for the process, because clients of models keep connections that belong to the loop they were made in.
    """
    return asyncio.run_coroutine_threadsafe(work, _loop())


async def uninterrupted(work: Coroutine[Any, Any, T]) -> T:
    """Await ``work`` to its end, however often the task is cancelled meanwhile; that is raised then."""
    task = asyncio.ensure_future(work)
    cancelled = False
    while not task.done():
        try:
            await asyncio.wait([task])
        except asyncio.CancelledError:
            cancelled = True
    if cancelled:
        raise asyncio.CancelledError from task.exception()
    return task.result()


@functools.cache
def _loop() -> asyncio.AbstractEventLoop:
    loop = asyncio.new_event_loop()
    threading.Thread(target=loop.run_forever, name="omniagents-loop", daemon=True).start()
    return loop
