"""The operation ``grep``: lines that match a regular expression, in the order of their paths."""

from __future__ import annotations

import contextlib
import errno
import itertools
import os
import re
import stat
import time
from typing import Any, Callable, Dict, Generator, Iterator, List, NamedTuple

from .context import Context, Reply
from .failure import GuestFailure
from .globbing import include_filter
from .root import display
from .search_files import ChunkResult, Searcher, TooLarge, read_content
from .search_lines import Limits, Query, around, compile_query, read_text
from .search_workers import CannotFork, Chunk, in_workers, worker_count
from .walk import Skipped, directory_to_walk, iter_files, prefix_of, stopper

__all__ = ["grep"]

_MAX_MATCHES = 100
_TOTAL_SECONDS = 30.0
_FILE_SECONDS = 2.0
_WIDE_CONTEXT = 20
_MAX_CONTEXT = 50
_MAX_WIDENED_BYTES = 4 << 20  # it is read in the guest itself, which stays small
# Three times what a result shows; and however it is written as JSON, it fits into one reply.
_MAX_CHARACTERS = 150_000
_CHARACTERS_AROUND = 8  # of each line and path: its number, and what stands between them
_CHUNK_FILES = (8, 16, 32, 64)  # small ones first, so that a common word is found at once
_CHUNK_BYTES = 24 << 10
# About 100 files and 2 MB: what is searched sooner than two workers are forked.
_FEW_CHUNKS = 4
_FEW_BYTES = 2 << 20
_UNFINISHED_NAMES = 5
# Hardly meant as plain text, so a second search for it would be wasted time.
_REGEX_ONLY = re.compile(r"\\[a-zA-Z]|\(\?")
# Without a process to kill, lines are kept so short that even quadratic time is little.
_MAX_LINE_IN_PROCESS = 5_000


def grep(context: Context, arguments: Dict[str, Any]) -> Reply:
    """Operation: search the contents of files, line by line.

    Args:
        arguments: ``pattern``; ``path`` (``.``), a directory or one file; ``include``, a glob; ``case_sensitive``,
            ``fixed_strings``, ``names_only``, ``no_ignore`` (all false); ``context``, lines on each side, or None;
            ``max_matches_per_file``, or None; ``max_matches`` (100); ``total_seconds`` (30), ``file_seconds`` (2, of
            processor time) and ``workers`` (one a core).

    Returns:
        ``files``: ``{"path", "lines", "matches", "more"}`` by path, each line ``[number, 1 if it matches, text, whole
        length, characters cut before the text]``; ``matches``; ``more`` (the limit was reached, and there are more);
        ``searched`` (files); ``skipped`` by reason; ``unfinished``: ``{"count", "names"}`` of files the time did not
        suffice for; ``stopped`` (the total time passed); ``searched_path``; ``literal_in`` (nothing matched, but the
        pattern taken as text is found in this file); ``spans_lines`` (the pattern asks for a line feed).

    Raises:
        GuestFailure: ``INVALID_REGEX``, ``SEARCH_TIMEOUT``, ``FILE_NOT_FOUND``, ``PATH_OUTSIDE_WORKSPACE``,
            ``PATTERN_TOO_BROAD``, or ``COMMAND_FAILED`` where no process can be started.
    """
    fixed, pattern = bool(arguments.get("fixed_strings")), arguments["pattern"]
    case_sensitive = bool(arguments.get("case_sensitive"))
    query = compile_query(pattern, fixed_strings=fixed, case_sensitive=case_sensitive)
    scope = _scope(context, arguments)
    deadline = time.monotonic() + arguments.get("total_seconds", _TOTAL_SECONDS)
    found = _search(context, query, scope, arguments, deadline)
    if not found.matches and (found.unfinished or found.stopped):
        raise _timeout(pattern, found)
    if found.matches == 1 and not found.more and arguments.get("context") is None and not arguments.get("names_only"):
        _widen(context, found.files[0])
    reply = found.as_json()
    reply.update(searched_path=scope.shown, literal_in=None, spans_lines=query.analysis.has_newline)
    if not found.matches and not fixed and not query.analysis.is_literal and not _REGEX_ONLY.search(pattern):
        literally = compile_query(pattern, fixed_strings=True, case_sensitive=case_sensitive)
        once = {**arguments, "max_matches": 1, "names_only": True}
        hit = _search(context, literally, scope, once, deadline)
        reply["literal_in"] = hit.files[0]["path"] if hit.files else None
    return reply, b""


class _Scope(NamedTuple):
    """Where to search: ``start``, an absolute directory, or the one ``file``; ``wants`` tells included paths."""

    shown: str
    start: str
    file: str | None
    wants: Callable[[str], bool]


def _scope(context: Context, arguments: Dict[str, Any]) -> _Scope:
    root, path, include = context.root, arguments.get("path", "."), arguments.get("include")
    absolute = root.resolve(path)
    try:
        mode = os.stat(absolute).st_mode
    except OSError:
        mode = 0  # directory_to_walk explains what is wrong
    if stat.S_ISREG(mode):
        return _Scope(root.relative(absolute), os.path.dirname(absolute), root.relative(absolute), lambda path: True)
    if mode and not stat.S_ISDIR(mode):
        message = "%s is neither a file nor a directory; only those can be searched." % display(path)
        raise GuestFailure("NOT_A_REGULAR_FILE", message, path=path, error_number=errno.ENXIO)
    start = directory_to_walk(root, path)
    wants = include_filter(root, include, prefix_of(root, start)) if include else lambda path: True
    return _Scope(root.relative(start), start, None, wants)


class _Found:
    """What the search has collected so far, in the order of paths."""

    def __init__(self, max_matches: int, context: int) -> None:
        self.files: List[Dict[str, Any]] = []
        self.matches = 0
        self.searched = 0
        self.more = False
        self.stopped = False
        self.skipped: Dict[str, Dict[str, Any]] = {}
        self.unfinished = 0
        self._unfinished_names: List[str] = []
        self._content_skipped = Skipped()
        self._room = max_matches
        self._context = context
        self._characters = 0

    def add(self, result: ChunkResult) -> None:
        """Take in the next chunk's result."""
        self.searched += result["searched"]
        self.unfinished += len(result["unfinished"])
        self._unfinished_names.extend(result["unfinished"][: _UNFINISHED_NAMES - len(self._unfinished_names)])
        for reason, entry in result["skipped"].items():
            self._content_skipped.add_many(reason, entry["count"], entry["names"])
        self.skipped = {**self._content_skipped.as_json(), **result["passed_over"]}
        for path, lines, matches, more in result["files"]:
            self._add_file(path, lines, matches, more)
            if self.more:
                return
        self.more = result["is_full"]

    def _add_file(self, path: str, lines: List[Any], matches: int, more: bool) -> None:
        if self._room == 0:
            self.more = True
            return
        if matches > self._room:
            self.more = True
            lines, matches = _first(lines, self._room, self._context), self._room
        self._characters += len(path) + _CHARACTERS_AROUND
        fitting = list(itertools.takewhile(self._fits, lines))
        if len(fitting) < len(lines):
            lines, matches = fitting, sum(line[1] for line in fitting)
        self.more = self.more or self._characters > _MAX_CHARACTERS
        if matches:
            self._room -= matches
            self.matches += matches
            self.files.append({"path": path, "lines": lines, "matches": matches, "more": more})

    def _fits(self, line: List[Any]) -> bool:
        self._characters += len(line[2]) + _CHARACTERS_AROUND
        return self._characters <= _MAX_CHARACTERS

    def as_json(self) -> Dict[str, Any]:
        return {
            "files": self.files,
            "matches": self.matches,
            "more": self.more,
            "searched": self.searched,
            "skipped": {reason: self.skipped[reason] for reason in sorted(self.skipped)},
            "unfinished": {"count": self.unfinished, "names": self._unfinished_names},
            "stopped": self.stopped,
        }


def _first(lines: List[Any], matches: int, context: int) -> List[Any]:
    """The lines of the first matches and their context; a later match among them becomes context."""
    kept: List[Any] = []
    last = 0
    for line in lines:
        if line[1] and matches:
            matches, last = matches - 1, line[0]
        elif not matches:
            if line[0] > last + context:
                break
            line = [line[0], 0, *line[2:]]
        kept.append(line)
    return kept


def _search(context: Context, query: Query, scope: _Scope, arguments: Dict[str, Any], deadline: float) -> _Found:
    names_only = bool(arguments.get("names_only"))
    max_matches = arguments.get("max_matches") or _MAX_MATCHES
    of_file = 1 if names_only else min(arguments.get("max_matches_per_file") or max_matches + 1, max_matches + 1)
    around_lines = 0 if names_only else min(arguments.get("context") or 0, _MAX_CONTEXT)
    searcher = Searcher(
        query, context.root.path.rstrip("/") + "/", Limits(of_file, around_lines), max_matches, names_only, deadline
    )
    found = _Found(max_matches, around_lines)
    skipped = Skipped()
    chunks = _chunks(context, scope, arguments, skipped)
    with contextlib.closing(_results(context, searcher, chunks, arguments)) as results:
        for result in results:
            found.add(result)
            if found.more:
                return found
    found.stopped = time.monotonic() > deadline and next(chunks, None) is not None
    return found


def _results(
    context: Context, searcher: Searcher, chunks: Iterator[Chunk], arguments: Dict[str, Any]
) -> Generator[ChunkResult, None, None]:
    count = arguments.get("workers") or worker_count()
    seconds = arguments.get("file_seconds", _FILE_SECONDS)
    if searcher.query.analysis.is_short and not arguments.get("workers"):
        first = list(itertools.islice(chunks, _FEW_CHUNKS + 1))
        quick = _if_quick(context, searcher, first)
        if quick is not None:
            yield from quick
            return
        chunks = itertools.chain(first, chunks)
    try:
        yield from in_workers(searcher, chunks, count, seconds, stopper(context))
    except CannotFork as error:
        if not searcher.query.analysis.is_short:
            message = (
                "no process for the search can be started: the environment's process limit is reached. "
                "End background processes, or search for plain text with fixed_strings set to true."
            )
            raise GuestFailure("COMMAND_FAILED", message) from error
        yield from _in_process(context, searcher._replace(max_line=_MAX_LINE_IN_PROCESS), chunks)


def _if_quick(context: Context, searcher: Searcher, chunks: List[Chunk]) -> List[ChunkResult] | None:
    """The results of a search so small that forking would take most of its time; None if it is not."""
    if len(chunks) > _FEW_CHUNKS:
        return None
    size = 0
    for path in itertools.chain.from_iterable(chunk.paths for chunk in chunks):
        with contextlib.suppress(OSError):  # whoever reads it says so
            size += os.stat(searcher.base + path).st_size
        if size > _FEW_BYTES:
            return None
    results = list(_in_process(context, searcher._replace(max_line=_MAX_LINE_IN_PROCESS), iter(chunks)))
    return None if any(result["unfinished"] for result in results) else results


def _in_process(context: Context, searcher: Searcher, chunks: Iterator[Chunk]) -> Iterator[ChunkResult]:
    check = stopper(context)
    for chunk in chunks:
        check()
        result = searcher.chunk(chunk.paths, lambda function: function())
        result["passed_over"] = chunk.skipped
        yield result


def _chunks(context: Context, scope: _Scope, arguments: Dict[str, Any], skipped: Skipped) -> Iterator[Chunk]:
    """The files to search, cut into pieces that depend on nothing but the tree."""
    sizes = iter(_CHUNK_FILES)
    wanted = next(sizes)
    paths: List[str] = []
    size = 0
    for path in _paths(context, scope, arguments, skipped):
        paths.append(path)
        size += len(path)
        if len(paths) >= wanted or size >= _CHUNK_BYTES:
            yield Chunk(paths, skipped.as_json())
            paths, size, wanted = [], 0, next(sizes, wanted)
    if paths or skipped.total():
        yield Chunk(paths, skipped.as_json())


def _paths(context: Context, scope: _Scope, arguments: Dict[str, Any], skipped: Skipped) -> Iterator[str]:
    if scope.file is not None:
        yield scope.file
        return
    ignore = not arguments.get("no_ignore")
    for entry in iter_files(context.root, scope.start, ignore=ignore, skipped=skipped, check=stopper(context)):
        if scope.wants(entry.path):
            if entry.kind == "file":
                yield entry.path
            else:
                # What it points to is searched under its own name, or lies outside.
                skipped.add("symbolic links", entry.path)


def _widen(context: Context, file: Dict[str, Any]) -> None:
    """Put many lines of context around the only match there is."""
    absolute = context.root.path.rstrip("/") + "/" + file["path"]
    hit = file["lines"][0]
    try:
        if file["more"] or os.stat(absolute).st_size > _MAX_WIDENED_BYTES:
            return
        text = read_text(read_content(absolute))
    except (OSError, TooLarge):
        return  # it has changed since; the match stands by itself
    lines = around(text, hit[0], _WIDE_CONTEXT)
    file["lines"] = [hit if line[0] == hit[0] else list(line) for line in lines]


def _timeout(pattern: str, found: _Found) -> GuestFailure:
    reply = found.as_json()["unfinished"]
    names = ", ".join(display(name) for name in reply["names"])
    message = (
        "the search for '%s' took too long and found nothing%s. The pattern probably backtracks without end: avoid "
        "a repetition inside a repetition such as (a+)+, make it more specific, narrow path or include, or set "
        "fixed_strings to true."
    ) % (display(pattern[:200]), ": %d file(s) could not be finished (%s)" % (reply["count"], names) if names else "")
    return GuestFailure("SEARCH_TIMEOUT", message, unfinished=reply)
