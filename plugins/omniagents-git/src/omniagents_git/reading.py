"""Reading files out of a workspace into blobs: one request a round, small files whole, large ones in parts."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from omniagents.errors import StateError
from omniagents.records import ExportedEntry, LeftOut
from omniagents_git.seen import Signature, signature_if_settled
from omniagents_git.tree import Entry, Quota, entry_of
from omniagents_snapshot.chunking import split
from omniagents_snapshot.progress import Reporter

if TYPE_CHECKING:
    from omniagents.workspace import Workspace

__all__ = ["ReadFiles", "read_files"]

#: Larger files are stored in parts, so that a small change stays small and a forge's limit is kept.
WHOLE_FILE_MAX_BYTES = 8 << 20
_ROUNDS = 3


@dataclass
class ReadFiles:
    """What became of the files that had to be read; one that is in none of these vanished.

    Attributes:
        entries: By path.
        signatures: Of those that need not be read next time if they still look like this.
        problems: By path, why it is not saved, or not as one moment's content.
    """

    entries: dict[str, Entry] = field(default_factory=dict)
    signatures: dict[str, Signature] = field(default_factory=dict)
    problems: dict[str, str] = field(default_factory=dict)

    def left_out(self) -> list[LeftOut]:
        return [LeftOut(path, problem) for path, problem in self.problems.items()]


def read_files(
    workspace: Workspace,
    paths: Sequence[str],
    take: Callable[[bytes], bytes],
    *,
    project_id: str,
    started_ns: int,
    quota: Quota,
    reporter: Reporter,
) -> ReadFiles:
    """Read these files, and those that change meanwhile again.

    Args:
        take: Given each blob, answers with its id.
        started_ns: When the scan began that named them, by the environment's clock.

    Raises:
        StateQuotaError: They hold more than the limit.
        StateError: The environment answered with something else than what was asked for.
    """
    result = ReadFiles()
    for _ in range(_ROUNDS if paths else 0):
        done = sum(entry.size for entry in result.entries.values())
        meter = _Meter(done, lambda size: quota.check(project_id, size, 0), reporter)
        asked = list(paths)
        expected = iter(asked)
        for exported in workspace.export(asked):
            wanted = next(expected, None)
            if exported.info.path != wanted:
                raise StateError(f"asked for the file {wanted!r}, the environment sent {exported.info.path!r:.300}")
            _read_one(exported, take, meter, started_ns, result)
        if next(expected, None) is not None:
            raise StateError(f"asked for {len(asked)} files, the environment sent fewer")
        paths = [path for path in asked if path in result.problems and path in result.entries]
        if not paths:
            break
    return result


class _Meter:
    """Adds up what is read: a scan's sizes are the environment's word only."""

    def __init__(self, start: int, check: Callable[[int], None], reporter: Reporter) -> None:
        self.total = start
        self._check = check
        self._reporter = reporter

    def passing(self, chunks: Iterator[bytes]) -> Iterator[bytes]:
        self._reporter.add(1)
        for chunk in self._reporter.counted(chunks):
            self.total += len(chunk)
            self._check(self.total)
            yield chunk


def _read_one(
    exported: ExportedEntry, take: Callable[[bytes], bytes], meter: _Meter, started_ns: int, result: ReadFiles
) -> None:
    info = exported.info
    for known in (result.entries, result.signatures, result.problems):
        known.pop(info.path, None)
    if info.kind == "link":
        result.entries[info.path] = entry_of(info)
        return
    if info.kind != "file":
        result.problems[info.path] = f"became {info.kind} while it was saved"
        return
    before = meter.total
    content = tuple(take(blob) for blob in _blobs(meter.passing(exported.chunks)))
    size = meter.total - before
    if exported.problem in ("vanished", "unreadable"):
        if exported.problem == "unreadable":
            result.problems[info.path] = "could not be read"
        return
    result.entries[info.path] = entry_of(info)._replace(size=size, content=content)
    if exported.problem is not None or size != info.size:
        result.problems[info.path] = "kept changing while it was read: saved as last read, which may mix two versions"
        return
    settled = signature_if_settled(info, started_ns)
    if settled is not None:
        result.signatures[info.path] = settled


def _blobs(chunks: Iterator[bytes]) -> Iterator[bytes]:
    """The content as it is stored; nothing for an empty file. Holds one blob in memory."""
    start: list[bytes] = []
    held = 0
    for chunk in chunks:
        start.append(chunk)
        held += len(chunk)
        if held > WHOLE_FILE_MAX_BYTES:
            yield from split(itertools.chain(start, chunks))
            return
    if held:
        yield b"".join(start)
