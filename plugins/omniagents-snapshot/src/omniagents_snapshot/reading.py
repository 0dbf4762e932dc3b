"""Reading files out of a workspace into chunks: one request a round, as few bytes as the scan allows."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

from omniagents.errors import StateError, StateQuotaError
from omniagents.records import ExportedEntry, FileInfo, LeftOut
from omniagents_snapshot.chunking import split
from omniagents_snapshot.model import Entry, EntryKind
from omniagents_snapshot.progress import Reporter
from omniagents_snapshot.sealing import CHUNK_ID_BYTES
from omniagents_snapshot.statcache import Signature, Signatures, signature_if_settled

if TYPE_CHECKING:
    from omniagents.workspace import Workspace

__all__ = ["FileReader", "ReadFiles", "entry_of", "kept_mode"]

# How often a file that changes under the reader is read again before it is saved as last read.
_ROUNDS = 3


class ReadFiles:
    """What became of the files that had to be read, by their number among them; about 60 bytes each.

    Attributes:
        left_out: What could not be saved, or not as one moment's content.
    """

    def __init__(self) -> None:
        self.left_out: list[LeftOut] = []
        self._entries: dict[int, Entry] = {}  # what turned out to be no file
        self._modes = array("H")
        self._numbers = array("q")  # mtime and size; a negative size where there is nothing
        self._content = array("Q")  # start and end in ``_ids``
        self._ids = bytearray()
        self._signatures = Signatures()

    def entry(self, number: int, path: str) -> Entry | None:
        """What to save; None for a file that vanished or could not be read."""
        if number in self._entries:
            return self._entries[number]
        mtime_ns, size = self._numbers[2 * number : 2 * number + 2]
        if size < 0:
            return None
        start, end = self._content[2 * number : 2 * number + 2]
        content = tuple(bytes(self._ids[at : at + CHUNK_ID_BYTES]) for at in range(start, end, CHUNK_ID_BYTES))
        return Entry(path, "file", self._modes[number], mtime_ns, size, content)

    def signature(self, number: int) -> Signature | None:
        """What to remember of it; None if it must be read again next time."""
        return self._signatures.get(number)

    def size(self, number: int) -> int:
        """Its bytes, as last read."""
        return max(0, self._numbers[2 * number + 1]) if number < len(self._modes) else 0

    def put(self, number: int, entry: Entry | None, settled: Signature | None = None) -> None:
        """Note the next file, or one before it again."""
        if number == len(self._modes):
            self._modes.append(0)
            self._numbers.extend((0, -1))
            self._content.extend((0, 0))
            self._signatures.append(None)
        self._entries.pop(number, None)
        self._numbers[2 * number + 1] = -1
        self._signatures.put(number, settled)
        if entry is not None and entry.kind != "file":
            self._entries[number] = entry
        elif entry is not None:
            self._modes[number] = entry.mode
            self._numbers[2 * number : 2 * number + 2] = array("q", (entry.mtime_ns, entry.size))
            start = len(self._ids)
            self._ids += b"".join(entry.content)
            self._content[2 * number : 2 * number + 2] = array("Q", (start, len(self._ids)))


class FileReader:
    """Reads files once, and those that change meanwhile again.

    Args:
        take: Given each chunk, answers with its id.
        started_ns: When the scan began that named the files, by the environment's clock.
        max_bytes: Of content, altogether; a scan's sizes are the environment's word only.
    """

    def __init__(
        self,
        workspace: Workspace,
        take: Callable[[bytes], bytes],
        *,
        started_ns: int,
        max_bytes: int | None,
        reporter: Reporter,
    ) -> None:
        self._workspace = workspace
        self._take = take
        self._started_ns = started_ns
        self._max_bytes = max_bytes
        self._reporter = reporter
        self._size = 0
        self.result = ReadFiles()

    def read(self, paths: Sequence[str]) -> ReadFiles:
        """Read these files.

        Raises:
            StateQuotaError: They hold more than ``max_bytes``.
            StateError: The environment answered with something else than what was asked for.
        """
        rest: Sequence[int] = range(len(paths))
        for _ in range(_ROUNDS):
            rest = self._read_once(paths, rest)
            if not rest:
                return self.result
        self.result.left_out += [
            LeftOut(paths[number], "kept changing while it was read: saved as last read, which may mix two versions")
            for number in rest
        ]
        return self.result

    def _read_once(self, paths: Sequence[str], numbers: Sequence[int]) -> list[int]:
        """Read each of these files; those whose content changed meanwhile."""
        expected = iter(numbers)
        changed = []
        wanted = paths if len(numbers) == len(paths) else [paths[number] for number in numbers]
        for exported in self._workspace.export(wanted):
            number = next(expected, None)
            if number is None or exported.info.path != paths[number]:
                asked = "nothing more" if number is None else f"the file {paths[number]!r}"
                raise StateError(f"asked for {asked}, the environment sent {exported.info.path!r:.300}")
            if self._read_one(number, exported):
                changed.append(number)
            else:
                self._reporter.add(1)
        missing = next(expected, None)
        if missing is not None:
            raise StateError(f"asked for the file {paths[missing]!r}, the environment sent nothing")
        return changed

    def _read_one(self, number: int, exported: ExportedEntry) -> bool:
        """Read one file; whether it changed meanwhile."""
        info = exported.info
        self._size -= self.result.size(number)
        if info.kind != "file":
            self.result.put(number, entry_of(info) if info.kind == "link" else None)
            if info.kind != "link":
                self.result.left_out.append(LeftOut(info.path, f"became {info.kind} while it was saved"))
            return False
        before = self._size
        content = tuple(self._take(chunk) for chunk in split(self._counted(exported.chunks)))
        size = self._size - before
        problem = exported.problem
        if problem in ("vanished", "unreadable"):
            self._size = before
            self.result.put(number, None)
            if problem == "unreadable":
                self.result.left_out.append(LeftOut(info.path, "could not be read"))
            return False
        whole = problem is None and size == info.size
        settled = signature_if_settled(info, self._started_ns) if whole else None
        self.result.put(number, entry_of(info)._replace(size=size, content=content), settled)
        return not whole

    def _counted(self, chunks: Iterator[bytes]) -> Iterator[bytes]:
        for chunk in self._reporter.counted(chunks):
            self._size += len(chunk)
            if self._max_bytes is not None and self._size > self._max_bytes:
                raise StateQuotaError(
                    f"the files of the workspace hold more than the limit of {self._max_bytes:,} bytes; "
                    "remove some, list them in .omniagentsignore, or raise max_bytes"
                )
            yield chunk


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
