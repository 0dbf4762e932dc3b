"""Packs and trees on this machine's disk, so that a restore need not ask the store for what was here before.

Objects under these names never change. Each project has a directory of its own, named by store and project; each
part is followed by its digest under the project's key, which is checked whenever it is used: what was damaged, or put
there by somebody else, counts as missing. Losing any of it costs requests only.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
import secrets
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from omniagents_snapshot.sealing import Hasher

__all__ = ["PackCache", "ProjectCache"]

_log = logging.getLogger(__name__)
_DIGEST_BYTES = 32
_TEMPORARY = ".new"
_ABANDONED_SECONDS = 3600
# How much of the limit is left when something had to go, so that not every write has to look again.
_KEPT = 0.9


class PackCache:
    """A directory of at most about ``max_bytes``; what was not used for the longest time goes first.

    Any number of threads and processes may share it. Readable by the owner only.
    """

    def __init__(self, directory: Path, *, max_bytes: int) -> None:
        self.directory = directory
        self.max_bytes = max_bytes
        self._guard = threading.Lock()
        self._size: int | None = None  # as far as this process knows

    def project(self, store_identity: str, prefix: str) -> ProjectCache:
        """The part for one project of one store."""
        key = hashlib.sha256(f"{store_identity}\0{prefix}".encode()).hexdigest()
        return ProjectCache(self, self.directory / key[:40])

    def grew(self, size: int) -> None:
        """Note that so many bytes were added, and make room."""
        with self._guard:
            if self._size is None:
                self._size = sum(status.st_size for _, status in self._files())
            else:
                self._size += size
            if self._size > self.max_bytes:
                self._size = self._shrunk()

    def _shrunk(self) -> int:
        found = sorted(self._files(), key=lambda file: file[1].st_mtime_ns)
        size = sum(status.st_size for _, status in found)
        for path, status in found:
            if size <= self.max_bytes * _KEPT:
                break
            with contextlib.suppress(OSError):
                path.unlink()
            size -= status.st_size
        return size

    def _files(self) -> Iterator[tuple[Path, os.stat_result]]:
        for path in self.directory.glob("*/*"):
            with contextlib.suppress(OSError):
                status = path.stat()
                if path.suffix == _TEMPORARY and status.st_mtime < time.time() - _ABANDONED_SECONDS:
                    path.unlink()  # left by a killed process
                else:
                    yield path, status


class ProjectCache:
    """Parts of one project's objects."""

    def __init__(self, cache: PackCache, directory: Path) -> None:
        self._cache = cache
        self._directory = directory
        self._guard = threading.Lock()
        self._parts: dict[str, set[tuple[int, int]]] | None = None

    def get(self, hasher: Hasher, digest: str, offset: int, length: int) -> bytes | None:
        """These bytes of an object, as they were put; None if they are not here."""
        for start, size in self._covering(digest, offset, length):
            data = self._read(hasher, digest, start, size)
            if data is not None:
                return data[offset - start : offset - start + length]
        return None

    def put(self, hasher: Hasher, digest: str, offset: int, data: bytes) -> None:
        """Keep part of an object. A failure is logged, since nothing depends on it."""
        path = self._path(digest, offset, len(data))
        temporary = path.with_name(f"{secrets.token_hex(8)}{_TEMPORARY}")
        try:
            self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            try:
                with open(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb", buffering=0) as file:
                    file.write(data)
                    file.write(_seal_of(hasher, path.name, data))
                temporary.rename(path)
            finally:
                temporary.unlink(missing_ok=True)
        except OSError as error:
            _log.warning("could not keep part of a pack in %r: %s", str(self._directory), error)
            return
        with self._guard:
            if self._parts is not None:
                self._parts.setdefault(digest, set()).add((offset, len(data)))
        self._cache.grew(len(data) + _DIGEST_BYTES)

    def drop(self, digest: str, offset: int, length: int) -> None:
        """Remove every part that has these bytes of an object."""
        for part in self._covering(digest, offset, length):
            with contextlib.suppress(OSError):
                self._path(digest, *part).unlink()
            self._forget_part(digest, part)

    def forget(self) -> None:
        """Remove everything of the project."""
        for path in self._directory.glob("*"):
            with contextlib.suppress(OSError):
                path.unlink()
        with contextlib.suppress(OSError):
            self._directory.rmdir()
        with self._guard:
            self._parts = None

    def _covering(self, digest: str, offset: int, length: int) -> list[tuple[int, int]]:
        with self._guard:
            if self._parts is None:
                self._parts = {}
                for path in self._directory.glob("*-*-*"):
                    name, start, size = path.name.split("-")
                    if start.isdecimal() and size.isdecimal():
                        self._parts.setdefault(name, set()).add((int(start), int(size)))
            found = [part for part in self._parts.get(digest, ()) if part[0] <= offset]
        return sorted((part for part in found if offset + length <= sum(part)), key=lambda part: part[1])

    def _read(self, hasher: Hasher, digest: str, start: int, size: int) -> bytes | None:
        path = self._path(digest, start, size)
        try:
            raw = path.read_bytes()
            data, seal = raw[:-_DIGEST_BYTES], raw[-_DIGEST_BYTES:]
            if len(data) == size and secrets.compare_digest(seal, _seal_of(hasher, path.name, data)):
                os.utime(path)
                return data
            _log.warning("%r was damaged and is fetched again", str(path))
            path.unlink()
        except FileNotFoundError:
            pass  # another process made room
        except OSError as error:
            _log.warning("could not read %r: %s", str(path), error)
        self._forget_part(digest, (start, size))
        return None

    def _forget_part(self, digest: str, part: tuple[int, int]) -> None:
        with self._guard:
            if self._parts is not None:
                self._parts.get(digest, set()).discard(part)

    def _path(self, digest: str, offset: int, length: int) -> Path:
        return self._directory / f"{digest}-{offset}-{length}"


def _seal_of(hasher: Hasher, name: str, data: bytes) -> bytes:
    return bytes.fromhex(hasher.digest(name.encode() + bytes.fromhex(hasher.digest(data))))
