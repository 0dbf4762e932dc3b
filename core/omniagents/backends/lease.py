"""Who owns a project on this machine: one living process, or nobody."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import secrets
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from omniagents._ids import encode_project_id, utc_now
from omniagents.errors import ProjectInUseError
from omniagents.guest.kernel import is_alive, process_start

__all__ = ["Lease"]

_TEXTS = ("token", "owner", "start", "host", "since")
_MOST_PID = (1 << 31) - 1  # pid_t


class Lease:
    """Ownership of one project by one backend of this process, kept in a small file.

    The holder is named by its pid and start time, so that a dead one is known at once, whatever
    became of its pid. A lease that was taken over says so through ``is_ours``.
    """

    def __init__(self, directory: Path, project_id: str) -> None:
        self._path = directory / f"{encode_project_id(project_id)}.json"
        self._project_id = project_id
        self._token = secrets.token_hex(16)
        # Which lease file was last read and found to be ours.
        self._seen: tuple[int, int] | None = None

    @property
    def scope(self) -> str:
        """A digest of where leases are: two processes with the same one are kept apart, and know the other's death."""
        place = f"{socket.gethostname()}\0{self._path.parent}"
        return hashlib.sha256(place.encode("utf-8", "surrogateescape")).hexdigest()[:32]

    def is_held(self) -> bool:
        """Whether a living backend, of this or another process, holds the project."""
        holder = self._read()
        return holder is not None and _is_living(holder)

    def acquire(self, *, takeover: bool, owner: str) -> None:
        """Become the holder.

        Args:
            takeover: Also from a living holder, which then finds its project gone.
            owner: For the message another backend gets.

        Raises:
            ProjectInUseError: A living backend holds the project; the message names it.
        """
        self._path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        with self._locked():
            holder = self._read()
            is_other = holder is not None and holder["token"] != self._token
            if holder is not None and is_other and not takeover and _is_living(holder):
                raise ProjectInUseError(
                    f"project {self._project_id!r} is in use by {holder['owner']} in process {holder['pid']} on "
                    f"{holder['host']} since {holder['since']}; shut that backend down, or start this one with "
                    "takeover=True"
                )
            pid = os.getpid()
            self._write(
                {
                    "token": self._token,
                    "owner": owner,
                    "pid": pid,
                    "start": process_start(pid),
                    "host": socket.gethostname(),
                    "since": utc_now().isoformat(timespec="seconds"),
                }
            )

    def is_ours(self) -> bool:
        """Whether this lease still holds the project; one ``stat`` while nothing has changed."""
        try:
            status = self._path.stat()
        except FileNotFoundError:
            return False
        seen = (status.st_ino, status.st_mtime_ns)
        if seen == self._seen:
            return True
        holder = self._read()
        is_ours = holder is not None and holder["token"] == self._token
        self._seen = seen if is_ours else None
        return is_ours

    def release(self) -> None:
        """Give the project up; of no effect if somebody took it over."""
        with self._locked():
            if self.is_ours():
                self._path.unlink()

    def _read(self) -> dict[str, Any] | None:
        try:
            holder = json.loads(self._path.read_text("utf-8"))
        except FileNotFoundError:
            return None
        except ValueError:
            return None  # not written by a lease, so it holds nothing
        return holder if _is_holder(holder) else None

    def _write(self, holder: dict[str, Any]) -> None:
        temporary = self._path.with_suffix(f".{self._token}.tmp")
        temporary.write_text(json.dumps(holder), "utf-8")
        temporary.replace(self._path)

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        # Its own file: the lease itself is replaced, and a lock goes with the inode.
        fd = os.open(self._path.with_suffix(".lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX)
            yield
        finally:
            os.close(fd)


def _is_holder(value: Any) -> bool:
    if not isinstance(value, dict) or not all(isinstance(value.get(name), str) for name in _TEXTS):
        return False
    return isinstance(value.get("pid"), int) and 0 < value["pid"] <= _MOST_PID


def _is_living(holder: dict[str, Any]) -> bool:
    started = process_start(holder["pid"])
    return is_alive(holder["pid"]) and (not started or not holder["start"] or started == holder["start"])
