"""A store in a directory of a POSIX file system, safe against crashes and against other processes.

An object is written to a temporary file, synced, and then given its name by ``link`` (create-only)
or ``rename`` (compare-and-swap, under a lock): a name either does not exist or holds a whole object.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import os
import secrets
import time
from collections.abc import Iterator
from pathlib import Path

from omniagents.errors import StateError
from omniagents_snapshot.store import ObjectMissingError, StoredObject, Versioned, check_name

__all__ = ["DirectoryStore"]

_TEMPORARY = ".temporary"
_LOCKS = ".locks"
# A fixed number of lock files, shared by all names, so that none has to be removed when a project is.
_LOCK_COUNT = 64
_ABANDONED_SECONDS = 24 * 3600


class DirectoryStore:
    """Objects as files below ``root``, readable by the owner only.

    The file system must support hard links, ``flock`` and atomic ``rename``.
    Components that start with a dot are the store's own.
    """

    def __init__(self, root: str | os.PathLike[str]) -> None:
        self.root = Path(root).absolute()
        self.identity = f"directory:{self.root}"

    def get(self, name: str, byte_range: tuple[int, int] | None = None) -> bytes:
        try:
            with self._path(name).open("rb", buffering=0) as file:
                size = os.fstat(file.fileno()).st_size
                offset, length = byte_range or (0, size)
                return _read_at(file.fileno(), offset, min(length, size - offset))
        except FileNotFoundError:
            raise ObjectMissingError(f"no object {name!r} in {str(self.root)!r}") from None
        except OSError as error:
            raise self._failure("read", name, error) from error

    def put_new(self, name: str, data: bytes) -> bool:
        path = self._path(name)
        try:
            if path.exists():
                return False
            with self._written(data) as temporary:
                return self._link(temporary, path)
        except OSError as error:
            raise self._failure("write", name, error) from error

    def copy_new(self, source: str, target: str) -> bool:
        """By a second name for the same bytes: objects of this sort never change."""
        path = self._path(target)
        try:
            return self._link(self._path(source), path)
        except FileNotFoundError:
            raise ObjectMissingError(f"no object {source!r} in {str(self.root)!r}") from None
        except OSError as error:
            raise self._failure("copy", source, error) from error

    def read_versioned(self, name: str) -> Versioned | None:
        try:
            data = self.get(name)
        except ObjectMissingError:
            return None
        return Versioned(data, _version(data))

    def cas(self, name: str, data: bytes, expected: str | None) -> str | None:
        path = self._path(name)
        try:
            with self._locked(name), self._written(data) as temporary:
                current = self.read_versioned(name)
                if (current.version if current else None) != expected:
                    return None
                self._make_parents(path)
                temporary.rename(path)
                _sync_directory(path.parent)
        except OSError as error:
            raise self._failure("write", name, error) from error
        return _version(data)

    def list(self, prefix: str) -> Iterator[StoredObject]:
        top = self.root / check_name(prefix.rstrip("/")) if prefix else self.root
        try:
            for directory, names, files in os.walk(top, onerror=_raise_unless_missing):
                names[:] = [name for name in names if not name.startswith(".")]
                for file in files:
                    yield from self._listed(Path(directory, file))
        except OSError as error:
            raise self._failure("list", prefix, error) from error

    def delete(self, name: str) -> None:
        path = self._path(name)
        try:
            with self._locked(name):
                path.unlink(missing_ok=True)
            self._remove_empty(path.parent)
        except OSError as error:
            raise self._failure("delete", name, error) from error

    def head(self, name: str) -> int | None:
        try:
            return self._path(name).stat().st_size
        except FileNotFoundError:
            return None
        except OSError as error:
            raise self._failure("read", name, error) from error

    def _path(self, name: str) -> Path:
        return self.root / check_name(name)

    def _listed(self, path: Path) -> Iterator[StoredObject]:
        with contextlib.suppress(FileNotFoundError):
            yield StoredObject(path.relative_to(self.root).as_posix(), path.stat().st_size)

    def _failure(self, verb: str, name: str, error: OSError) -> StateError:
        advice = "; free some space and save again" if error.errno in (errno.ENOSPC, errno.EDQUOT) else ""
        return StateError(f"could not {verb} {name!r} in {str(self.root)!r}: {error.strerror or error}{advice}")

    @contextlib.contextmanager
    def _written(self, data: bytes) -> Iterator[Path]:
        """A synced temporary file with this content, removed afterwards if it still has its name."""
        directory = self._own_directory(_TEMPORARY)
        path = directory / f"{os.getpid()}-{secrets.token_hex(8)}"
        try:
            with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb", buffering=0) as file:
                _write_all(file.fileno(), data)
                os.fsync(file.fileno())
            yield path
        finally:
            path.unlink(missing_ok=True)

    def _link(self, temporary: Path, path: Path) -> bool:
        while True:
            self._make_parents(path)
            try:
                path.hardlink_to(temporary)
            except FileExistsError:
                return False
            except FileNotFoundError:
                if not temporary.exists():
                    raise
                continue  # a concurrent delete removed the empty directory
            _sync_directory(path.parent)
            return True

    def _make_parents(self, path: Path) -> None:
        """Create and sync missing directories, so that a power cut cannot lose the way to a synced file."""
        missing = []
        parent = path.parent
        while not parent.is_dir():
            missing.append(parent)
            parent = parent.parent
        for directory in reversed(missing):
            with contextlib.suppress(FileExistsError):
                directory.mkdir(mode=0o700)
            _sync_directory(directory.parent)

    def _remove_empty(self, directory: Path) -> None:
        while directory != self.root:
            try:
                directory.rmdir()
            except OSError:
                return  # not empty, or already gone
            directory = directory.parent

    def _own_directory(self, name: str) -> Path:
        directory = self.root / name
        if not directory.is_dir():
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        elif name == _TEMPORARY:
            self._remove_abandoned(directory)
        return directory

    def _remove_abandoned(self, directory: Path) -> None:
        """Remove what a killed process left a day ago or earlier."""
        for path in directory.iterdir():
            with contextlib.suppress(FileNotFoundError):
                if path.stat().st_mtime < time.time() - _ABANDONED_SECONDS:
                    path.unlink()

    @contextlib.contextmanager
    def _locked(self, name: str) -> Iterator[None]:
        number = hashlib.sha256(name.encode()).digest()[0] % _LOCK_COUNT
        path = self._own_directory(_LOCKS) / f"{number:02d}"
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)


def _version(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _read_at(descriptor: int, offset: int, length: int) -> bytes:
    pieces = []
    while length > 0 and (piece := os.pread(descriptor, length, offset)):
        pieces.append(piece)
        offset += len(piece)
        length -= len(piece)
    return pieces[0] if len(pieces) == 1 else b"".join(pieces)


def _write_all(descriptor: int, data: bytes) -> None:
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(descriptor, rest) :]


def _sync_directory(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _raise_unless_missing(error: OSError) -> None:
    if not isinstance(error, FileNotFoundError):
        raise error
