"""The seam between the snapshot engine and where its objects live: seven calls.

A store keeps named, immutable byte strings, and for each project one mutable object
(``HEAD``) that changes by compare-and-swap only. Everything a store must promise is
written on the calls of ``Store``; a bucket, a directory and a dictionary can all keep it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple, Protocol, runtime_checkable

from omniagents.errors import StateError

__all__ = ["CopyingStore", "ObjectMissingError", "Store", "StoredObject", "Versioned", "check_name"]

# No component starts with a dot: ``..`` is refused, and dotted names stay free for a store's own use.
_NAME = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]*(?:/[A-Za-z0-9_-][A-Za-z0-9._-]*)*\Z")


class ObjectMissingError(StateError):
    """The store has no object with this name."""


class StoredObject(NamedTuple):
    """One object of a listing; ``size`` in bytes."""

    name: str
    size: int


class Versioned(NamedTuple):
    """The content of a mutable object, and what ``cas`` must be given to replace exactly it."""

    data: bytes
    version: str


class Store(Protocol):
    """Where objects live. Every call may be made from many threads at once.

    A call that returns has taken effect durably; one that raises may or may not have taken effect.
    Failures are ``StateError`` with the object's name in the message.
    """

    @property
    def identity(self) -> str:
        """The same string for the same place, in every process: local caches are keyed by it."""

    def get(self, name: str, byte_range: tuple[int, int] | None = None) -> bytes:
        """The whole object, or ``(offset, length)`` of it; shorter where the object ends earlier.

        Raises:
            ObjectMissingError: There is none.
        """

    def put_new(self, name: str, data: bytes) -> bool:
        """Create an object, whole or not at all; False, and nothing done, if the name is taken."""

    def read_versioned(self, name: str) -> Versioned | None:
        """A mutable object with its version; None if there is none."""

    def cas(self, name: str, data: bytes, expected: str | None) -> str | None:
        """Replace (or with ``expected=None`` create) a mutable object, whole or not at all.

        Returns:
            The new version; None, and nothing done, if the object's version was not ``expected``.
        """

    def list(self, prefix: str) -> Iterator[StoredObject]:
        """Every object whose name starts with ``prefix``, a name ending in ``/``; in any order."""

    def delete(self, name: str) -> None:
        """Remove an object of either sort. Idempotent."""

    def head(self, name: str) -> int | None:
        """The object's size in bytes; None if there is none."""


@runtime_checkable
class CopyingStore(Protocol):
    """An ability that a ``Store`` may have: copies that do not pass through this machine."""

    def copy_new(self, source: str, target: str) -> bool:
        """``put_new`` of ``target`` with the content of ``source``.

        Raises:
            ObjectMissingError: There is no ``source``.
        """


def check_name(name: str) -> str:
    """Return ``name`` if it is relative, without empty, ``.``, ``..`` or dotted components."""
    if not _NAME.match(name):
        raise ValueError(f"not a name of an object: {name!r}")
    return name
