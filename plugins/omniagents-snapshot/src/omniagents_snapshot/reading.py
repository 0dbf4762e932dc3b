"""Reading files out of a workspace into chunks: one request a round, as few bytes as the scan allows."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from omniagents.errors import StateError, StateQuotaError
from omniagents.records import ExportedEntry, FileInfo, LeftOut
from omniagents_snapshot.chunking import split
from omniagents_snapshot.model import Entry, EntryKind
from omniagents_snapshot.statcache import Signature, signature_if_settled

if TYPE_CHECKING:
    from omniagents.workspace import Workspace

__all__ = ["FileReader", "ReadFiles", "entry_of", "kept_mode"]

# How often a file that changes under the reader is read again before it is saved as last read.
_ROUNDS = 3


@dataclass
class ReadFiles:
    """What became of the files that had to be read.

    Attributes:
        entries: By path; a file that vanished or could not be read has none.
        signatures: Of those that need not be read next time if they still look like this.
        left_out: What could not be saved, or not as one moment's content.
    """

    entries: dict[str, Entry] = field(default_factory=dict)
    signatures: dict[str, Signature] = field(default_factory=dict)
    left_out: list[LeftOut] = field(default_factory=list)


class FileReader:
    """Reads files once, and those that change meanwhile again.

    Args:
        take: Given each chunk, answers with its id.
        started_ns: When the scan began that named the files, by the environment's clock.
        max_bytes: Of content, altogether; a scan's sizes are the environment's word only.
    """

    def __init__(
        self, workspace: Workspace, take: Callable[[bytes], bytes], *, started_ns: int, max_bytes: int | None
    ) -> None:
        self._workspace = workspace
        self._take = take
        self._started_ns = started_ns
        self._max_bytes = max_bytes
        self._size = 0
        self.result = ReadFiles()

    def read(self, paths: Sequence[str]) -> ReadFiles:
        """Read these files.

        Raises:
            StateQuotaError: They hold more than ``max_bytes``.
            StateError: The environment answered with something else than what was asked for.
        """
        rest = list(paths)
        for _ in range(_ROUNDS):
            rest = self._read_once(rest)
            if not rest:
                return self.result
        self.result.left_out += [
            LeftOut(path, "kept changing while it was read: saved as last read, which may mix two versions")
            for path in rest
        ]
        return self.result

    def _read_once(self, paths: Sequence[str]) -> list[str]:
        """Read each file; those whose content changed meanwhile."""
        self._size = sum(entry.size for entry in self.result.entries.values())
        expected = iter(paths)
        changed = []
        for exported in self._workspace.export(paths):
            path = next(expected, None)
            if exported.info.path != path:
                raise StateError(f"asked for the file {path!r}, the environment sent {exported.info.path!r:.300}")
            if self._read_one(path, exported):
                changed.append(path)
        missing = next(expected, None)
        if missing is not None:
            raise StateError(f"asked for the file {missing!r}, the environment sent nothing")
        return changed

    def _read_one(self, path: str, exported: ExportedEntry) -> bool:
        """Read one file; whether it changed meanwhile."""
        known = self.result.entries.pop(path, None)
        self._size -= known.size if known else 0
        if exported.info.kind != "file":
            self._keep_other(path, exported.info)
            return False
        before = self._size
        content = tuple(self._take(chunk) for chunk in split(self._counted(exported.chunks)))
        size = self._size - before
        problem = exported.problem
        if problem in ("vanished", "unreadable"):
            self._size = before
            if problem == "unreadable":
                self.result.left_out.append(LeftOut(path, "could not be read"))
            return False
        self.result.entries[path] = entry_of(exported.info)._replace(size=size, content=content)
        settled = signature_if_settled(exported.info, self._started_ns)
        whole = problem is None and size == exported.info.size
        if whole and settled is not None:
            self.result.signatures[path] = settled
        return not whole

    def _counted(self, chunks: Iterator[bytes]) -> Iterator[bytes]:
        for chunk in chunks:
            self._size += len(chunk)
            if self._max_bytes is not None and self._size > self._max_bytes:
                raise StateQuotaError(
                    f"the files of the workspace hold more than the limit of {self._max_bytes:,} bytes; "
                    "remove some, list them in .omniagentsignore, or raise max_bytes"
                )
            yield chunk

    def _keep_other(self, path: str, info: FileInfo) -> None:
        """What was a file when the workspace was scanned became something else."""
        if info.kind == "link":
            self.result.entries[path] = entry_of(info)
        else:
            self.result.left_out.append(LeftOut(path, f"became {info.kind} while it was saved"))


def entry_of(info: FileInfo) -> Entry:
    """The entry of what a scan saw; of a file, still without content.

    Set-id bits are not kept: a workspace must not get them from a store.
    """
    if info.kind == "link":
        return Entry(info.path, "link", 0, info.mtime_ns, target=info.target or "")
    kind: EntryKind = "directory" if info.kind == "directory" else "file"
    return Entry(info.path, kind, kept_mode(info), info.mtime_ns)


def kept_mode(info: FileInfo) -> int:
    """The permission bits that a snapshot keeps."""
    return info.mode & (0o3777 if info.kind == "directory" else 0o1777)
