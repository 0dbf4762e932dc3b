"""Which files need not be read again: those that look as they did when their content was last known.

A change that keeps size, mtime, ctime and inode cannot be seen. Two writes within one tick of a clock may be one, so a
file counts only if nothing had touched it for two seconds when it was looked at, as in git's own index.
"""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import json
import logging
import os
import secrets
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from omniagents.records import FileInfo, Scan
from omniagents_git.tree import Entry

__all__ = ["Seen", "SeenFiles", "Signature", "marks_of", "signature", "signature_if_imported", "signature_if_settled"]

_RACY_NS = 2_000_000_000
_MARKS = 1000
_log = logging.getLogger(__name__)


class Signature(NamedTuple):
    """What must be equal for a file to count as unchanged."""

    size: int
    mtime_ns: int
    ctime_ns: int
    inode: int


def signature(info: FileInfo) -> Signature:
    return Signature(info.size, info.mtime_ns, info.ctime_ns, info.inode)


def signature_if_settled(info: FileInfo, started_ns: int) -> Signature | None:
    """What to remember of a file read after a scan that began at ``started_ns``; None if it is too fresh."""
    is_settled = started_ns - max(info.mtime_ns, info.ctime_ns) > _RACY_NS
    return signature(info) if is_settled else None


def signature_if_imported(info: FileInfo, entry: Entry) -> Signature | None:
    """What to remember of a file just written: its own time was set to a past one, so any later write shows in it."""
    is_as_sent = info.kind == "file" and (info.size, info.mtime_ns) == (entry.size, entry.mtime_ns)
    return signature(info) if is_as_sent and info.ctime_ns - info.mtime_ns > _RACY_NS else None


@dataclass(frozen=True)
class Seen:
    """A workspace as it was when it was last saved or filled.

    Attributes:
        commit: What it was equal to.
        tip: Where the branch was then.
        is_merged: The branch had others' work that the workspace has not seen.
        files: Signatures of files that need not be read.
        marks: Signatures of some files, needed again or not: by these the workspace itself is known.
    """

    commit: str
    tip: str
    is_merged: bool
    files: Mapping[str, Signature]
    marks: Mapping[str, Signature]

    def is_of(self, scan: Scan) -> bool:
        """Whether this is the workspace that was seen: change time and inode of a file do not agree by accident."""
        return any(self.marks.get(info.path) == signature(info) for info in scan.entries)


def marks_of(infos: Iterable[FileInfo]) -> dict[str, Signature]:
    """By what a workspace with these is known."""
    files = (info for info in infos if info.kind == "file")
    return {info.path: signature(info) for info in itertools.islice(files, _MARKS)}


class SeenFiles:
    """What was seen, on this machine's disk, a file for each project; losing it costs time, not work."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def read(self, project_id: str) -> Seen | None:
        """What was remembered; None if nothing was, or if it is damaged."""
        try:
            found = json.loads(self._path(project_id).read_bytes())
            return Seen(
                str(found["commit"]),
                str(found["tip"]),
                found["is_merged"] is True,
                *(
                    {path: Signature(*map(int, numbers)) for path, numbers in found[key].items()}
                    for key in ("files", "marks")
                ),
            )
        except FileNotFoundError:
            return None
        except (OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
            _log.warning("what was remembered of project %r cannot be read, so more is read: %s", project_id, error)
            return None

    def write(self, project_id: str, seen: Seen) -> None:
        """Remember; a failure is logged, since the work itself is done."""
        path = self._path(project_id)
        temporary = path.with_suffix(f".{secrets.token_hex(4)}.tmp")
        try:
            self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            with open(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
                file.write(json.dumps(vars(seen)).encode())
            temporary.replace(path)
        except OSError as error:
            _log.warning("project %r: %s cannot be written, so more is read later: %s", project_id, path, error)
            with contextlib.suppress(OSError):
                temporary.unlink()

    def forget(self, project_id: str) -> None:
        with contextlib.suppress(OSError):
            self._path(project_id).unlink()

    def _path(self, project_id: str) -> Path:
        return self._directory / f"{hashlib.sha256(project_id.encode()).hexdigest()}.json"
