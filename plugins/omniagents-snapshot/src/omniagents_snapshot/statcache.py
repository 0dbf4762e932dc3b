"""Which files need not be read again: those whose ``lstat`` is what it was when their content was last known.

A change that keeps size, mtime, ctime and inode is invisible. Two writes within one tick of the
file system's clock would be such a change, so a file is only remembered if nothing had touched
it for two seconds when it was looked at (git's "racy" rule).

A remembered file counts for the one tree it was recorded with. It may be compared with any
workspace: a change time to the nanosecond and an inode do not agree by accident, and an
environment that forges them deceives nobody but itself.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
import secrets
from array import array
from pathlib import Path
from typing import NamedTuple

from omniagents.records import FileInfo
from omniagents_snapshot.columns import pack_fields, pack_ints, unpack_fields, unpack_ints
from omniagents_snapshot.limits import PAGE_MAX_ENTRIES, PAGES_MAX
from omniagents_snapshot.sealing import open_sealed, seal

__all__ = ["RACY_NS", "Signature", "Signatures", "StatCache", "signature", "signature_if_settled"]

RACY_NS = 2_000_000_000

_log = logging.getLogger(__name__)
_COLUMNS = ("Q", "q", "q", "Q")
_NO_TIME = -(1 << 63)


class Signature(NamedTuple):
    """What must be equal for a file to count as unchanged."""

    size: int
    mtime_ns: int
    ctime_ns: int
    inode: int


class Signatures:
    """The signatures of a tree's entries by their number, 32 bytes each; entries without one answer None."""

    def __init__(self) -> None:
        self._columns = [array(code) for code in _COLUMNS]

    def append(self, found: Signature | None) -> None:
        """Say what the next entry looks like."""
        for column, value in zip(self._columns, found or (0, 0, _NO_TIME, 0), strict=True):
            column.append(value)

    def put(self, row: int, found: Signature | None) -> None:
        """Say what an entry that was appended before looks like now."""
        for column, value in zip(self._columns, found or (0, 0, _NO_TIME, 0), strict=True):
            column[row] = value

    def get(self, row: int) -> Signature | None:
        """Of one entry; None also where there is no such entry."""
        if row >= len(self):
            return None
        found = Signature(*[column[row] for column in self._columns])
        return None if found.ctime_ns == _NO_TIME else found

    def __len__(self) -> int:
        return len(self._columns[0])

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Signatures) and self._columns == other._columns

    __hash__ = None  # type: ignore[assignment]

    def pack(self) -> dict[str, bytes]:
        """As fields to store."""
        return {str(number): pack_ints(column.typecode, column) for number, column in enumerate(self._columns)}

    @classmethod
    def unpack(cls, fields: dict[str, object]) -> Signatures:
        """What ``pack`` packed.

        Raises:
            ValueError: It is damaged.
            KeyError: Part of it is missing.
        """
        found = cls()
        count = None
        for number, code in enumerate(_COLUMNS):
            found._columns[number] = array(code, unpack_ints(code, fields[str(number)], count))
            count = len(found._columns[0])
        return found


def signature(info: FileInfo) -> Signature:
    return Signature(info.size, info.mtime_ns, info.ctime_ns, info.inode)


def signature_if_settled(info: FileInfo, started_ns: int) -> Signature | None:
    """The signature to remember of a file seen by a scan that began at ``started_ns``; None if it is too fresh."""
    return signature(info) if max(info.mtime_ns, info.ctime_ns) < started_ns - RACY_NS else None


class StatCache:
    """Signatures on this machine's disk, one file a project; losing them costs time only."""

    def __init__(self, directory: Path, store_identity: str) -> None:
        self._directory = directory
        self._store_identity = store_identity

    def read(self, project_id: str, tree_digest: str) -> Signatures:
        """What was remembered with this tree; empty if nothing was, or if it is damaged."""
        remembered, signatures = self.last(project_id)
        return signatures if remembered == tree_digest else Signatures()

    def last(self, project_id: str) -> tuple[str | None, Signatures]:
        """The tree that this machine last loaded or saved, and what was remembered with it."""
        try:
            data = self._path(project_id).read_bytes()
            fields = unpack_fields(open_sealed(data, 64 * PAGES_MAX * PAGE_MAX_ENTRIES))
            return str(fields["tree"]), Signatures.unpack(fields)
        except FileNotFoundError:
            return None, Signatures()
        except (OSError, ValueError, KeyError, TypeError) as error:
            _log.debug("the stat cache of project %r is unusable: %s", project_id, error)
            return None, Signatures()

    def write(self, project_id: str, tree_digest: str, signatures: Signatures) -> None:
        """Remember; a failure is logged, since the work itself is saved."""
        try:
            data = seal(pack_fields({"tree": tree_digest, **signatures.pack()}))
            path = self._path(project_id)
            self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            temporary = path.with_name(f"{path.name}.{secrets.token_hex(4)}")
            try:
                with open(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
                    file.write(data)
                temporary.rename(path)
            finally:
                temporary.unlink(missing_ok=True)
        except OSError as error:
            _log.warning("could not write the stat cache of project %r, so more is read later: %s", project_id, error)

    def forget(self, project_id: str) -> None:
        with contextlib.suppress(OSError):
            self._path(project_id).unlink()

    def _path(self, project_id: str) -> Path:
        key = f"{self._store_identity}\0{project_id}".encode()
        return self._directory / f"{hashlib.sha256(key).hexdigest()}.stat"
