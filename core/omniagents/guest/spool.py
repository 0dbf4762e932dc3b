"""Bounded keeping of a command's output, and the log files that hold the whole of it."""

from __future__ import annotations

import io
import os
import time
from typing import IO, Iterator, List, Tuple

from .root import LOGS_DIRECTORY, Root

__all__ = ["MAX_LOGS_BYTES", "MAX_LOG_BYTES", "Log", "Spool"]

_MEMORY_BYTES = 1 << 20
MAX_LOG_BYTES = 64 << 20
MAX_LOGS_BYTES = 256 << 20


class Spool:
    """Keeps the first fifth and the last four fifths of ``limit`` bytes of a stream of any length.

    In memory up to 1 MiB, then in an unnamed file. Byte ``i`` of the stream lies at ``i`` for the
    first fifth and behind it in a ring, so what is dropped is always the middle.
    """

    def __init__(self, limit: int) -> None:
        self._stored = 0
        self._lost = 0
        self._file: IO[bytes] = io.BytesIO()
        self._in_memory = True
        self._set_limit(limit)

    @property
    def total(self) -> int:
        """How many bytes were written."""
        return self._stored + self._lost

    @property
    def is_truncated(self) -> bool:
        return self._lost > 0 or self._stored > self._limit

    @property
    def kept(self) -> int:
        return min(self._stored, self._limit)

    @property
    def head(self) -> int:
        """How many of the kept bytes come before the gap."""
        return min(self._head, self._stored) if self.is_truncated else self._stored

    def write(self, data: bytes) -> None:
        if self._in_memory and min(self._stored + len(data), self._limit) > _MEMORY_BYTES:
            self._move_to_disk()
        view = memoryview(data)
        while view:
            place, room = self._place(self._stored)
            self._file.seek(place)
            try:
                written = self._file.write(view[:room])
            except OSError:
                # The environment's disk is full: go on with what memory can hold.
                self._move_to_memory()
                continue
            self._stored += written
            view = view[written:]

    def read(self) -> Iterator[bytes]:
        """What was kept, in order, in pieces of at most 256 KiB."""
        if self._stored <= self._limit:
            yield from self._span(0, self._stored)
            return
        split = self._place(self._stored)[0]
        yield from self._span(0, self._head)
        yield from self._span(split, self._limit)
        yield from self._span(self._head, split)

    def close(self) -> None:
        self._file.close()

    def _set_limit(self, limit: int) -> None:
        self._limit = max(limit, 2)
        self._head = self._limit // 5
        self._ring = self._limit - self._head

    def _place(self, position: int) -> Tuple[int, int]:
        """Where a position of the stream lies, and how many bytes fit there before the next jump."""
        if position < self._head:
            return position, self._head - position
        offset = (position - self._head) % self._ring
        return self._head + offset, self._ring - offset

    def _span(self, start: int, end: int) -> Iterator[bytes]:
        self._file.seek(start)
        while start < end:
            piece = self._file.read(min(end - start, 1 << 18))
            if not piece:
                return
            start += len(piece)
            yield piece

    def _move_to_disk(self) -> None:
        import tempfile  # slow to import, rarely needed

        try:
            disk = tempfile.TemporaryFile(buffering=0)  # noqa: SIM115 - closed by close()
        except OSError:
            self._move_to_memory()
            return
        kept = b"".join(self.read())
        self._file, self._in_memory = disk, False
        self._rewrite(kept)

    def _move_to_memory(self) -> None:
        kept = b"".join(self.read())
        self._file.close()
        self._file, self._in_memory = io.BytesIO(), True
        self._set_limit(_MEMORY_BYTES)
        self._rewrite(kept)

    def _rewrite(self, kept: bytes) -> None:
        self._lost += self._stored - len(kept)
        self._stored = 0
        self.write(kept)


class Log:
    """The whole output of one command in ``.omniagents/logs``, at most 64 MiB; the oldest logs make room.

    Created when first written to. A workspace whose disk is full or read-only has no log: ``path`` stays None.
    """

    def __init__(self, root: Root) -> None:
        self._root = root
        self._fd = -1
        self._written = 0
        self._failed = False
        self.path: str | None = None

    @property
    def has_begun(self) -> bool:
        return self._written > 0

    def write(self, data: bytes) -> None:
        if self._failed or self._written >= MAX_LOG_BYTES:
            return
        try:
            if self._fd < 0:
                self._create()
            self._written += os.write(self._fd, data[: MAX_LOG_BYTES - self._written])
            if self._written >= MAX_LOG_BYTES:
                os.write(self._fd, b"\n[log ends here: %d bytes is the most one log holds]\n" % MAX_LOG_BYTES)
        except OSError:
            self._failed = True

    def close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def _create(self) -> None:
        directory = self._root.path
        for part in LOGS_DIRECTORY.split("/"):
            directory = os.path.join(directory, part)
            try:
                os.mkdir(directory)
            except FileExistsError:
                if os.path.islink(directory):
                    raise
        _make_room(directory, MAX_LOGS_BYTES - MAX_LOG_BYTES)
        name = "%s-%s.log" % (time.strftime("%Y%m%d-%H%M%S", time.gmtime()), os.urandom(3).hex())
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        self._fd = os.open(os.path.join(directory, name), flags, 0o600)
        self.path = LOGS_DIRECTORY + "/" + name


def _make_room(directory: str, most_bytes: int) -> None:
    logs: List[Tuple[int, str, int]] = []
    with os.scandir(directory) as entries:
        for entry in entries:
            status = entry.stat(follow_symlinks=False)
            logs.append((status.st_mtime_ns, entry.path, status.st_size))
    total = sum(size for _, _, size in logs)
    for _, path, size in sorted(logs):
        if total <= most_bytes:
            return
        os.unlink(path)
        total -= size
