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
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from omniagents.records import FileInfo
from omniagents_snapshot.columns import pack_fields, pack_ints, pack_names, unpack_fields, unpack_ints, unpack_names
from omniagents_snapshot.limits import TREE_MAX_RAW_BYTES
from omniagents_snapshot.model import decode_path, encode_path
from omniagents_snapshot.sealing import open_sealed, seal

__all__ = ["RACY_NS", "Signature", "StatCache", "signature", "signature_if_settled"]

RACY_NS = 2_000_000_000

_log = logging.getLogger(__name__)
_COLUMNS = ("Q", "q", "q", "Q")


class Signature(NamedTuple):
    """What must be equal for a file to count as unchanged."""

    size: int
    mtime_ns: int
    ctime_ns: int
    inode: int


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

    def read(self, project_id: str, tree_digest: str) -> dict[str, Signature]:
        """What was remembered with this tree; empty if nothing was, or if it is damaged."""
        try:
            fields = unpack_fields(open_sealed(self._path(project_id).read_bytes(), TREE_MAX_RAW_BYTES))
            if fields["tree"] != tree_digest:
                return {}
            paths = [decode_path(raw) for raw in unpack_names(fields["paths"])]
            columns = [unpack_ints(code, fields[str(number)], len(paths)) for number, code in enumerate(_COLUMNS)]
        except FileNotFoundError:
            return {}
        except (OSError, ValueError, KeyError, TypeError) as error:
            _log.debug("the stat cache of project %r is unusable: %s", project_id, error)
            return {}
        return dict(zip(paths, map(Signature, *columns), strict=True))

    def write(self, project_id: str, tree_digest: str, signatures: Mapping[str, Signature]) -> None:
        """Remember; a failure is logged, since the work itself is saved."""
        try:
            data = seal(pack_fields(_fields(tree_digest, signatures)))
            path = self._path(project_id)
            self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            temporary = path.with_name(f"{path.name}.{secrets.token_hex(4)}")
            try:
                with open(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
                    file.write(data)
                temporary.rename(path)
            finally:
                temporary.unlink(missing_ok=True)
        except (OSError, OverflowError) as error:
            _log.warning("could not write the stat cache of project %r, so more is read later: %s", project_id, error)

    def forget(self, project_id: str) -> None:
        with contextlib.suppress(OSError):
            self._path(project_id).unlink()

    def _path(self, project_id: str) -> Path:
        key = f"{self._store_identity}\0{project_id}".encode()
        return self._directory / f"{hashlib.sha256(key).hexdigest()}.stat"


def _fields(tree_digest: str, signatures: Mapping[str, Signature]) -> dict[str, object]:
    columns = {
        str(number): pack_ints(code, (found[number] for found in signatures.values()))
        for number, code in enumerate(_COLUMNS)
    }
    return {"tree": tree_digest, "paths": pack_names(map(encode_path, signatures)), **columns}
