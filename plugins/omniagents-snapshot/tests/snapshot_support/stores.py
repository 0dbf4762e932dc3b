"""Stores that count, fail or interfere."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from omniagents_snapshot.store import Store, StoredObject, Versioned

__all__ = ["Crash", "Interruption", "WatchedStore", "at_each_call"]

Hook = Callable[[int, str, str], None]


def nothing(number: int, call: str, name: str) -> None:
    """Lets a call be."""


class Crash(BaseException):
    """The host process ends here: nothing may catch this."""


class WatchedStore:
    """Passes every call on, notes it, and first lets ``before`` (then ``after``) do its worst.

    Attributes:
        calls: (call, name) of every call, in order.
        before: Called with the call's number from 1, its kind and its name; raises to fail the call.
        after: The same, when the call has taken effect.
    """

    WRITES = frozenset({"put_new", "cas", "delete"})

    def __init__(self, store: Store) -> None:
        self.store = store
        self.identity = store.identity
        self.calls: list[tuple[str, str]] = []
        self.before: Hook = nothing
        self.after: Hook = nothing
        self._lock = threading.Lock()

    def count(self, *kinds: str) -> int:
        return sum(call in kinds for call, _ in self.calls)

    def _pass(self, call: str, name: str, *arguments: Any) -> Any:
        with self._lock:
            self.calls.append((call, name))
            number = len(self.calls)
        self.before(number, call, name)
        answer = getattr(self.store, call)(name, *arguments)
        self.after(number, call, name)
        return answer

    def get(self, name: str, byte_range: tuple[int, int] | None = None) -> bytes:
        answer: bytes = self._pass("get", name, byte_range)
        return answer

    def put_new(self, name: str, data: bytes) -> bool:
        answer: bool = self._pass("put_new", name, data)
        return answer

    def copy_new(self, source: str, target: str) -> bool:
        answer: bool = self._pass("copy_new", source, target)
        return answer

    def read_versioned(self, name: str) -> Versioned | None:
        answer: Versioned | None = self._pass("read_versioned", name)
        return answer

    def cas(self, name: str, data: bytes, expected: str | None) -> str | None:
        answer: str | None = self._pass("cas", name, data, expected)
        return answer

    def list(self, prefix: str) -> Iterator[StoredObject]:
        answer: Iterator[StoredObject] = self._pass("list", prefix)
        return answer

    def delete(self, name: str) -> None:
        self._pass("delete", name)

    def head(self, name: str) -> int | None:
        answer: int | None = self._pass("head", name)
        return answer


class Interruption:
    """What comes between at one store call.

    Attributes:
        number: The call's, from 1.
        happened: Whether there was such a call.
    """

    def __init__(self, store: WatchedStore, number: int) -> None:
        self.number = number
        self.happened = False
        self._store = store

    @contextmanager
    def by(self, act: Callable[[], object]) -> Iterator[None]:
        """Before that call of what is done here, ``act`` is done, undisturbed."""

        def at(count: int, call: str, name: str) -> None:
            if count == self.number:
                self._store.before = nothing
                self.happened = True
                act()

        with self._hooked("before", at):
            yield

    @contextmanager
    def dying(self, moment: str = "before") -> Iterator[None]:
        """The host of what is done here dies at that call."""

        def die(count: int, call: str, name: str) -> None:
            if count >= self.number:
                self.happened = True
                raise Crash

        try:
            with self._hooked(moment, die):
                yield
        except Crash:
            assert self.happened

    @contextmanager
    def _hooked(self, moment: str, hook: Hook) -> Iterator[None]:
        self._store.calls.clear()
        setattr(self._store, moment, hook)
        try:
            yield
        finally:
            self._store.before = self._store.after = nothing


def at_each_call(store: WatchedStore, *, at_least: int) -> Iterator[Interruption]:
    """An interruption at the first call, then one at the second, and so on until what is done makes no more.

    Args:
        at_least: So many calls must have been interrupted.
    """
    for number in itertools.count(1):
        interruption = Interruption(store, number)
        yield interruption
        if not interruption.happened:
            assert number > at_least
            return
