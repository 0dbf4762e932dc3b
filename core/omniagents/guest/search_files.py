"""A search applied to a chunk of files; runs in a forked worker, or in the guest where none can be forked."""

from __future__ import annotations

import errno
import os
import time
from typing import Any, Callable, Dict, List, NamedTuple, Sequence

from .long_paths import open_path
from .search_lines import Limits, Query, is_binary, read_text, wide_encoding
from .walk import Skipped

__all__ = ["MAX_FILE_BYTES", "ChunkResult", "Searcher", "read_content"]

MAX_FILE_BYTES = 50 << 20
_IS_ROOT = os.geteuid() == 0
_FIRST_READ = 1 << 16  # malloc serves this without mmap, which more than halves the time of a read
_FLAGS = os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC
_MAX_CHUNK_CHARACTERS = 200_000

# {"files": [[path, lines, matches, more]], "searched": n, "skipped": Skipped.as_json(), "unfinished": [paths],
#  "is_full": whether the chunk was given up because its result is long enough}
ChunkResult = Dict[str, Any]


class TooLarge(Exception):
    """A file has more than ``MAX_FILE_BYTES``."""


class Searcher(NamedTuple):
    """What to look for.

    Attributes:
        query: The compiled pattern.
        base: The workspace, with a slash at the end.
        limits: For each file.
        max_matches: After so many a chunk is given up, if there is one more.
        names_only: Leave out the lines.
        deadline: Where ``time.monotonic`` stands when the whole search must end.
        max_line: Files with longer lines count as unfinished; None for no limit.
    """

    query: Query
    base: str
    limits: Limits
    max_matches: int
    names_only: bool
    deadline: float
    max_line: int | None = None

    def chunk(self, paths: Sequence[str], timed: Callable[[Callable[[], Any]], Any]) -> ChunkResult:
        """Search files, in order.

        Args:
            timed: Runs a function; raises ``TimeoutError`` if that takes longer than one file may.
        """
        skipped = Skipped()
        result: ChunkResult = {"files": [], "searched": 0, "unfinished": [], "is_full": False}
        matches = characters = 0
        for index, path in enumerate(paths):
            if time.monotonic() > self.deadline:
                result["unfinished"].extend(paths[index:])
                break
            try:
                found = self._file(path, skipped, timed)
            except (TimeoutError, MemoryError):
                result["unfinished"].append(path)
                continue
            result["searched"] += 1
            if found is None:
                continue
            if matches >= self.max_matches or characters > _MAX_CHUNK_CHARACTERS:
                result["is_full"] = True
                break
            result["files"].append(found)
            matches += found[2]
            characters += sum(len(line[2]) for line in found[1])
        result["searched"] -= skipped.total()
        result["skipped"] = skipped.as_json()
        return result

    def _file(self, path: str, skipped: Skipped, timed: Callable[[Callable[[], Any]], Any]) -> List[Any] | None:
        try:
            content = read_content(self.base + path)
        except TooLarge:
            skipped.add("larger than 50 MiB", path)
            return None
        except OSError:
            skipped.add("unreadable", path)
            return None
        if is_binary(content):
            skipped.add("binary", path)
            return None
        if not self.query.may_match(content) and wide_encoding(content) is None:
            return None
        text = read_text(content)
        if self.max_line is not None and any(len(line) > self.max_line for line in text.split("\n")):
            raise TimeoutError
        found = timed(lambda: self.query.hits(text, self.limits))
        if not found.matches:
            return None
        return [path, [] if self.names_only else found.lines, found.matches, found.more]


def read_content(absolute: str) -> bytes:
    """A file's bytes.

    Raises:
        TooLarge: It has more than 50 MiB.
        OSError: It cannot be read.
    """
    try:
        descriptor = os.open(absolute, _FLAGS)
    except OSError as error:
        if error.errno != errno.ENAMETOOLONG:
            raise
        descriptor = open_path(absolute, _FLAGS)
    try:
        if _IS_ROOT and not os.fstat(descriptor).st_mode & 0o444:
            # Root reads anything; what nobody may read is not searched for root either, as everywhere else.
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        content = os.read(descriptor, _FIRST_READ)
        # Only a read that finds nothing proves the end: some file systems answer in pieces.
        following = os.read(descriptor, 512)
        return content if not following else _rest(descriptor, [content, following])
    finally:
        os.close(descriptor)


def _rest(descriptor: int, pieces: List[bytes]) -> bytes:
    size = os.fstat(descriptor).st_size
    total = sum(map(len, pieces))
    while size <= MAX_FILE_BYTES and total <= MAX_FILE_BYTES:
        piece = os.read(descriptor, max(size - total + 1, 4096))
        if not piece:
            return b"".join(pieces)
        pieces.append(piece)
        total += len(piece)
    raise TooLarge
