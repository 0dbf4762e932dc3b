"""Stores for benchmarks: one that is far away, and counts what it is asked."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

from omniagents_snapshot.store import Store, StoredObject, Versioned

__all__ = ["DistantStore"]


class DistantStore:
    """A store whose every request takes ``seconds`` more; any number of them at once.

    Attributes:
        requests: How many there were.
        sent: Bytes into the store, and ``received`` out of it.
    """

    def __init__(self, store: Store, seconds: float) -> None:
        self._store = store
        self._seconds = seconds
        self._lock = threading.Lock()
        self.identity = f"distant {store.identity}"
        self.reset()

    def reset(self) -> None:
        """Count from nothing."""
        self.requests = self.sent = self.received = 0

    def _count(self, sent: int = 0) -> None:
        with self._lock:
            self.requests += 1
            self.sent += sent
        time.sleep(self._seconds)

    def _received(self, data: bytes) -> bytes:
        with self._lock:
            self.received += len(data)
        return data

    def get(self, name: str, byte_range: tuple[int, int] | None = None) -> bytes:
        self._count()
        return self._received(self._store.get(name, byte_range))

    def put_new(self, name: str, data: bytes) -> bool:
        self._count(len(data))
        return self._store.put_new(name, data)

    def read_versioned(self, name: str) -> Versioned | None:
        self._count()
        found = self._store.read_versioned(name)
        if found is not None:
            self._received(found.data)
        return found

    def cas(self, name: str, data: bytes, expected: str | None) -> str | None:
        self._count(len(data))
        return self._store.cas(name, data, expected)

    def list(self, prefix: str) -> Iterator[StoredObject]:
        self._count()
        return self._store.list(prefix)

    def delete(self, name: str) -> None:
        self._count()
        self._store.delete(name)

    def head(self, name: str) -> int | None:
        self._count()
        return self._store.head(name)
