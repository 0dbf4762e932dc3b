"""A store in a dictionary: for tests, and as the shortest complete example of one."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Iterator

from omniagents_snapshot.store import ObjectMissingError, StoredObject, Versioned, check_name

__all__ = ["MemoryStore"]


class MemoryStore:
    """Keeps objects as long as it lives itself."""

    def __init__(self) -> None:
        self.identity = f"memory:{id(self)}"
        self._objects: dict[str, Versioned] = {}
        self._lock = threading.Lock()
        self._versions = itertools.count(1)

    def get(self, name: str, byte_range: tuple[int, int] | None = None) -> bytes:
        found = self.read_versioned(name)
        if found is None:
            raise ObjectMissingError(f"no object {name!r} in memory")
        if byte_range is None:
            return found.data
        offset, length = byte_range
        return found.data[offset : offset + length]

    def put_new(self, name: str, data: bytes) -> bool:
        return self.cas(name, data, None) is not None

    def read_versioned(self, name: str) -> Versioned | None:
        with self._lock:
            return self._objects.get(check_name(name))

    def cas(self, name: str, data: bytes, expected: str | None) -> str | None:
        with self._lock:
            current = self._objects.get(check_name(name))
            if (current.version if current else None) != expected:
                return None
            version = str(next(self._versions))
            self._objects[name] = Versioned(bytes(data), version)
            return version

    def list(self, prefix: str) -> Iterator[StoredObject]:
        with self._lock:
            found = [StoredObject(name, len(kept.data)) for name, kept in self._objects.items()]
        return (item for item in found if item.name.startswith(prefix))

    def delete(self, name: str) -> None:
        with self._lock:
            self._objects.pop(check_name(name), None)

    def head(self, name: str) -> int | None:
        found = self.read_versioned(name)
        return None if found is None else len(found.data)
