"""The values a workspace answers with: plain, immutable facts."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

__all__ = ["CommandResult", "ExportedEntry", "FileInfo", "FileKind", "ImportEntry", "LeftOut", "Match", "Reply", "Scan"]

FileKind = Literal["file", "directory", "link", "other"]


class Reply(NamedTuple):
    """The guest's answer to one request: its JSON object and its raw bytes."""

    value: dict[str, Any]
    payload: bytes


class FileInfo(NamedTuple):
    """What ``lstat`` says of one path.

    Attributes:
        path: Relative to the workspace, ``/``-separated; undecodable bytes as surrogate escapes.
        kind: ``other`` is a FIFO, socket or device.
        size: Bytes.
        mode: Permission bits, ``0o7777`` at most.
        mtime_ns: Last change of the content, nanoseconds since the epoch, by the environment's clock; at most
            2**63 - 1, in the year 2262, which stands for all later times.
        ctime_ns: Last change of content or attributes; cannot be set by programs.
        inode: The inode number.
        target: Where a link points, as stored; None for other kinds.
    """

    path: str
    kind: FileKind
    size: int
    mode: int
    mtime_ns: int
    ctime_ns: int
    inode: int
    target: str | None = None


class LeftOut(NamedTuple):
    """A path that was passed over, with everything below it, and the rule that said so."""

    path: str
    reason: str


@dataclass(frozen=True)
class Scan:
    """A tree at one moment.

    Attributes:
        entries: Everything below the scanned directory, parents before children, otherwise by code point.
        left_out: What an exclusion passed over, or what could not be read.
        started_ns: The environment's clock when the scan began; a file changed within 2 s before it may
            change again without a visible trace.
    """

    entries: Sequence[FileInfo]
    left_out: list[LeftOut]
    started_ns: int

    def __iter__(self) -> Iterator[FileInfo]:
        return iter(self.entries)

    def __len__(self) -> int:
        return len(self.entries)


@dataclass
class ExportedEntry:
    """One entry of an export; ``chunks`` must be consumed before the next entry is asked for.

    Attributes:
        info: As found when the entry was opened.
        chunks: The content in pieces of at most 1 MiB; nothing for other kinds than files.
        problem: Set once the chunks are consumed: None if the content is a consistent copy, else
            ``changed`` (size or times moved while it was read), ``vanished`` or ``unreadable``.
    """

    info: FileInfo
    chunks: Iterator[bytes]
    problem: str | None = None


@dataclass(frozen=True)
class ImportEntry:
    """One entry to create: its kind, mode, mtime and target are taken from ``info``.

    ``chunks`` must add up to ``info.size`` bytes for a file.
    """

    info: FileInfo
    chunks: Iterable[bytes] = ()


class Match(NamedTuple):
    """One matching line: ``line`` counts from 1; ``text`` has U+FFFD for undecodable bytes and no line end."""

    path: str
    line: int
    text: str


@dataclass(frozen=True)
class CommandResult:
    """How a command ended. A non-zero exit is an answer, not an exception.

    Attributes:
        exit_code: 128 + N if signal N ended it.
        signal: N, else None.
        stdout: Raw bytes; with ``merge_streams`` both streams in arrival order.
        stderr: Raw bytes; empty with ``merge_streams``.
        timed_out: The limit passed and the whole process tree was killed; the output is what came until then.
        truncated: More was printed than ``max_output_bytes``: the first fifth and the last four fifths are kept.
        duration_seconds: Wall clock inside the environment.
        background_pids: Processes of this command that were left running.
    """

    exit_code: int
    signal: int | None
    stdout: bytes
    stderr: bytes
    timed_out: bool
    truncated: bool
    duration_seconds: float
    background_pids: tuple[int, ...] = field(default=())

    @property
    def stdout_text(self) -> str:
        """``stdout`` as UTF-8, undecodable bytes as U+FFFD."""
        return self.stdout.decode("utf-8", "replace")

    @property
    def stderr_text(self) -> str:
        """``stderr`` as UTF-8, undecodable bytes as U+FFFD."""
        return self.stderr.decode("utf-8", "replace")
