"""Bounded keeping of a command's output, and the log files that hold the whole of it."""

from __future__ import annotations

import contextlib
import io
import os
import stat
import time
from typing import IO, Iterator, List, Tuple

from .root import LOGS_DIRECTORY, Root

__all__ = ["MAX_LOGS", "MAX_LOGS_BYTES", "MAX_LOG_BYTES", "Log", "Spool"]

_MEMORY_BYTES = 1 << 20
MAX_LOG_BYTES = 64 << 20
MAX_LOGS_BYTES = 256 << 20
MAX_LOGS = 500
_LOG_PART_BYTES = 8 << 20  # room is looked for in steps of this
_REPLACEMENT = "\ufffd".encode()


class Spool:
    """Keeps the first fifth and the last four fifths of ``limit`` bytes of a stream of any length.

    In memory up to 1 MiB, then in an unnamed file. Byte ``i`` of the stream lies at ``i`` for the
    first fifth and behind it in a ring, so what is dropped is always the middle.

    Attributes:
        newlines: How many line feeds were written.
    """

    def __init__(self, limit: int) -> None:
        self._stored = 0
        self._lost = 0
        self.newlines = 0
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
        self.newlines += data.count(b"\n")
        self._store(data)

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

    def _store(self, data: bytes) -> None:
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
        self._store(kept)


class Log:
    """The whole output of one command in ``.omniagents/logs``, at most 64 MiB; the oldest logs make room.

    NUL bytes become U+FFFD, so that ``read_file`` takes it for a text.

    Attributes:
        path: Relative to the workspace. None before ``begin``, and where it could not be made: the disk is full or
            the workspace read-only.
        has_begun: ``begin`` was called.
        taken: How many bytes of output are in it; fewer than were given to ``write`` once the disk or the log is full,
            or newer logs needed the room.
    """

    def __init__(self, root: Root) -> None:
        self._root = root
        self._fd = -1
        self._room = 0
        self._size = 0
        self.path: str | None = None
        self.has_begun = False
        self.taken = 0

    def begin(self) -> None:
        """Create the file."""
        self.has_begun = True
        try:
            self._create()
        except OSError:
            self.close()

    def write(self, data: bytes) -> None:
        """Append, as long as there is a file and room."""
        if self._fd < 0:
            return
        text = data.replace(b"\0", _REPLACEMENT)
        try:
            if self._size + len(text) > self._room:
                self._extend()
            fits = text[: self._room - self._size]
            self._append(fits)
            self.taken += len(data) if len(fits) == len(text) else min(len(data), len(fits))
            if len(fits) < len(text):
                self._append(b"\n[log ends here: %d bytes is the most one log holds]\n" % MAX_LOG_BYTES)
                self.close()
        except OSError:
            self.close()

    def close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def _append(self, text: bytes) -> None:
        view = memoryview(text)
        while view:
            written = os.write(self._fd, view)
            self._size += written
            view = view[written:]

    def _extend(self) -> None:
        """Make room for the next part of the file, at the expense of older logs."""
        _make_room(os.path.join(self._root.path, LOGS_DIRECTORY), MAX_LOGS_BYTES - _LOG_PART_BYTES)
        if not os.fstat(self._fd).st_nlink:
            raise FileNotFoundError("this log was the oldest")
        self._room = min(self._room + _LOG_PART_BYTES, MAX_LOG_BYTES)

    def _create(self) -> None:
        directory = self._root.path
        for part in LOGS_DIRECTORY.split("/"):
            directory = os.path.join(directory, part)
            try:
                os.mkdir(directory)
            except FileExistsError:
                if os.path.islink(directory):
                    raise
        name = "%s-%s.log" % (time.strftime("%Y%m%d-%H%M%S", time.gmtime()), os.urandom(3).hex())
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        self._fd = os.open(os.path.join(directory, name), flags, 0o600)
        self._extend()
        self.path = LOGS_DIRECTORY + "/" + name


def _make_room(directory: str, most_bytes: int) -> None:
    """Remove the oldest logs until at most ``most_bytes`` and ``MAX_LOGS`` are left."""
    logs: List[Tuple[int, str, int]] = []
    with os.scandir(directory) as entries:
        for entry in entries:
            try:
                status = entry.stat(follow_symlinks=False)
            except FileNotFoundError:
                continue  # a command removed it
            if stat.S_ISREG(status.st_mode):
                logs.append((status.st_mtime_ns, entry.path, status.st_size))
    logs.sort(reverse=True)
    total = 0
    for count, (_, path, size) in enumerate(logs, 1):
        total += size
        if total > most_bytes or count > MAX_LOGS:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(path)
