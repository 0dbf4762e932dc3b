"""What an operation is given: the workspace, and the call it answers."""

from __future__ import annotations

import contextlib
import threading
from typing import Any, Dict, Iterator, List, Mapping, Tuple

from .root import Root

__all__ = ["Call", "Context", "PathLocks", "Reply"]

# A reply's JSON object and its raw bytes; the server splits large payloads into frames.
Reply = Tuple[Dict[str, Any], bytes]


class Call:
    """One request being answered. ``channel.LiveCall`` sends; unit tests use this one as it is."""

    def __init__(self, payload: bytes = b"") -> None:
        self.cancelled = threading.Event()
        self.sent: List[bytes] = []
        self._payload = payload

    def receive(self) -> bytes:
        """The next piece of what the host sends with this call; ``b""`` at its end. Blocks."""
        piece, self._payload = self._payload, b""
        return piece

    def send(self, data: bytes) -> None:
        """Send a piece of the answer's byte stream; blocks until the host has asked for it.

        Raises:
            CallCancelled: The host has given the call up.
        """
        self.sent.append(data)

    def receive_all(self, limit: int = 1 << 30) -> bytes:
        """Everything the host sends with this call.

        Raises:
            ValueError: It is more than ``limit`` bytes.
        """
        pieces: List[bytes] = []
        total = 0
        while True:
            piece = self.receive()
            if not piece:
                return b"".join(pieces)
            pieces.append(piece)
            total += len(piece)
            if total > limit:
                raise ValueError("more than %d bytes sent with one call" % limit)


class CallCancelled(Exception):
    """The host gave the call up; operations let it pass through."""


class PathLocks:
    """One lock a path, kept only while someone holds or waits for it: two calls on one file serialise."""

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._locks: Dict[str, List[Any]] = {}

    @contextlib.contextmanager
    def holding(self, resolved: str) -> Iterator[None]:
        with self._guard:
            entry = self._locks.setdefault(resolved, [threading.Lock(), 0])
            entry[1] += 1
        try:
            with entry[0]:
                yield
        finally:
            with self._guard:
                entry[1] -= 1
                if not entry[1]:
                    del self._locks[resolved]


class Context:
    """What every operation receives: ``operation(context, arguments) -> Reply``.

    Attributes:
        root: The workspace.
        call: The call being answered.
        locks: Shared by all calls of this guest.
        environment: What processes started by this guest inherit.
    """

    def __init__(
        self,
        root: Root,
        call: Call | None = None,
        locks: PathLocks | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self.root = root
        self.call = call if call is not None else Call()
        self.locks = locks if locks is not None else PathLocks()
        self.environment: Mapping[str, str] = environment if environment is not None else {}
