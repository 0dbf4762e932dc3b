"""Stores that count, fail or interfere."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from omniagents_snapshot.store import Store, StoredObject, Versioned

__all__ = ["Crash", "WatchedStore"]


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
        self.before: Callable[[int, str, str], None] = lambda number, call, name: None
        self.after: Callable[[int, str, str], None] = lambda number, call, name: None

    def count(self, *kinds: str) -> int:
        return sum(call in kinds for call, _ in self.calls)

    def _pass(self, call: str, name: str, *arguments: Any) -> Any:
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
