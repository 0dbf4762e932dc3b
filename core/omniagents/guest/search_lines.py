"""One pattern applied to one file: which lines match, and the lines around them.

What counts is defined by plain Python: the content is decoded (byte-order mark, else UTF-8 with
U+FFFD for what is none), cut at line feeds, a carriage return before a line feed is no part of the
line, and a line matches if ``re.search(pattern, line)`` does. Everything here only gets there faster.
"""

from __future__ import annotations

import codecs
import re
from typing import Any, Callable, Iterator, List, NamedTuple, Sequence, Tuple

from .failure import GuestFailure
from .root import display
from .search_literals import Analysis, analyse
from .search_needles import Needles

__all__ = [
    "MAX_LINE",
    "FileHits",
    "Limits",
    "Line",
    "Query",
    "around",
    "compile_query",
    "is_binary",
    "read_text",
    "wide_encoding",
]

#: Characters of one line that are shown.
MAX_LINE = 2_000
_MAX_PATTERN = 10_000
_SNIFFED_BYTES = 8_192
_MOST_FOUND = 8  # texts looked for one by one; for more, one expression is faster
_WIDE_MARKS = (
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
# What Python's IGNORECASE takes for i, k and s besides their ASCII forms (CPython's re/_casefix.py).
_CASE_VARIANTS = ("\u0130".encode(), "\u0131".encode(), "\u212a".encode(), "\u017f".encode())

# A shown line: its number, 1 if it matches, its text, its whole length, and how much was cut before the text.
Line = Tuple[int, int, str, int, int]
_Next = Callable[[int], int]


class Limits(NamedTuple):
    """How much of one file is wanted: matching lines, and lines of context on each side."""

    matches: int
    context: int


class FileHits(NamedTuple):
    """Attributes: ``lines`` to show, in order; ``matches``, how many of them match; ``more`` were left out."""

    lines: List[Line]
    matches: int
    more: bool


class Query:
    """A compiled search. ``may_match`` looks at raw bytes, ``hits`` at text."""

    def __init__(self, expression: re.Pattern[str], analysis: Analysis) -> None:
        self.expression = expression
        self.analysis = analysis
        self._ignores_case = bool(expression.flags & re.IGNORECASE)
        self._literals = self._usable(analysis)
        self._needles = Needles(self._literals, self._ignores_case) if self._literals else None
        self._locator = self._compiled_locator()

    def _folded(self, text: str) -> str:
        return text.lower() if self._ignores_case else text

    def _usable(self, analysis: Analysis) -> Tuple[str, ...]:
        """The literals to look for first; none where sweeping over the text is the better way."""
        literals = analysis.literals or ()
        if self._ignores_case and not all(text.isascii() for text in literals):
            return ()
        if literals and min(map(len, literals)) < 2 and analysis.sweep is not None and not analysis.is_literal:
            return ()
        return literals

    def _compiled_locator(self) -> re.Pattern[str] | None:
        if self._literals:
            return re.compile("|".join(map(re.escape, self._literals)), self.expression.flags & re.IGNORECASE)
        return self.analysis.sweep

    def may_match(self, content: Any) -> bool:
        """False only if no line of this content (bytes, UTF-8 or nearly so) can match."""
        if self._needles is None or self._needles.any_in(content):
            return True
        if not self._ignores_case or content.isascii():
            return False
        return any(content.find(variant) >= 0 for variant in _CASE_VARIANTS)

    def spans(self, text: str) -> Iterator[Tuple[int, int, int, int]]:
        """Yield ``(line start, line end, match start, match end)`` of every matching line, as offsets in ``text``."""
        following = self._following(text)
        search, end = self.expression.search, len(text)
        at = following(0)
        while at >= 0:
            start = text.rfind("\n", 0, at) + 1
            if start >= end:
                return  # behind the last line feed there is no line
            stop = text.find("\n", at)
            if stop < 0:
                stop = end
            found = search(text[start:stop])
            if found is not None:
                yield start, stop, start + found.start(), start + found.end()
            at = following(stop + 1) if stop < end else -1

    def _following(self, text: str) -> _Next:
        """A function that gives the first place at or after an offset where a line may match, or -1."""
        if 0 < len(self._literals) <= _MOST_FOUND and (not self._ignores_case or text.isascii()):
            literals, subject = [self._folded(literal) for literal in self._literals], self._folded(text)
            if len(literals) > 1:
                return _Earliest(subject, literals)
            return lambda at: subject.find(literals[0], at)
        if self._locator is not None:
            search = self._locator.search

            def located(at: int) -> int:
                found = search(text, at)
                return -1 if found is None else found.start()

            return located
        return lambda at: at if at < len(text) else -1

    def hits(self, text: str, limits: Limits) -> FileHits:
        """The matching lines of a text and their context."""
        collected = _Collected(text, limits.context)
        more = False
        for span in self.spans(text):
            if collected.matches >= limits.matches:
                more = True
                break
            collected.add(span)
        collected.finish()
        return FileHits(collected.lines, collected.matches, more)


class _Earliest:
    """Gives the first place at or after an offset, which never goes back, where one of some texts begins, or -1."""

    def __init__(self, subject: str, literals: Sequence[str]) -> None:
        self._subject = subject
        self._next = {literal: subject.find(literal) for literal in literals}

    def __call__(self, at: int) -> int:
        for literal, place in list(self._next.items()):
            if place < at:
                place = self._subject.find(literal, at) if place >= 0 else -1
                self._next[literal] = place
            if place < 0:
                del self._next[literal]
        return min(self._next.values(), default=-1)


class _Collected:
    """Lines to show, gathered from the first line of a text to its last."""

    def __init__(self, text: str, context: int) -> None:
        self.lines: List[Line] = []
        self.matches = 0
        self._text = text
        self._context = context
        self._number, self._offset = 1, 0  # of the line that begins at the offset
        self._shown_to = 0  # where the last shown line ends, line feed included
        self._open: Tuple[int, int] | None = None  # number and offset of the line after the last match

    def add(self, span: Tuple[int, int, int, int]) -> None:
        start, stop, first, last = span
        self._close(start)
        number = self._number + self._text.count("\n", self._offset, start)
        self._number, self._offset = number, start
        self._before(number, start)
        self.lines.append(_cut(self._text[start:stop], number, 1, first - start, last - start))
        self.matches += 1
        self._shown_to = stop + 1
        self._open = (number + 1, stop + 1)

    def finish(self) -> None:
        self._close(len(self._text))

    def _close(self, limit: int) -> None:
        """Add the context after the last match, up to ``limit``."""
        if self._open is None:
            return
        number, offset = self._open
        for _ in range(self._context):
            if offset >= limit or offset >= len(self._text):
                break
            offset = self._show(number, offset)
            number += 1
        self._open = None

    def _before(self, number: int, start: int) -> None:
        starts: List[int] = []
        while len(starts) < self._context and start > self._shown_to:
            start = self._text.rfind("\n", 0, start - 1) + 1
            starts.append(start)
        for index, offset in enumerate(reversed(starts)):
            self._show(number - len(starts) + index, offset)

    def _show(self, number: int, offset: int) -> int:
        stop = self._text.find("\n", offset)
        stop = len(self._text) if stop < 0 else stop
        self.lines.append(_cut(self._text[offset : min(stop, offset + MAX_LINE)], number, 0, 0, 0, stop - offset))
        self._shown_to = stop + 1
        return stop + 1


def _cut(line: str, number: int, is_match: int, first: int, last: int, length: int = -1) -> Line:
    """A line, or the 2,000 characters around its match."""
    length = len(line) if length < 0 else length
    if len(line) <= MAX_LINE:
        return number, is_match, line, length, 0
    middle = first + min(last - first, MAX_LINE) // 2
    begin = max(0, min(middle - MAX_LINE // 2, len(line) - MAX_LINE))
    return number, is_match, line[begin : begin + MAX_LINE], length, begin


def around(text: str, number: int, context: int) -> List[Line]:
    """The lines around line ``number`` of a text, it included, all as context."""
    lines = text.split("\n")
    if lines and not lines[-1]:
        lines.pop()
    first = max(1, number - context)
    chosen = lines[first - 1 : number + context]
    return [_cut(line[:MAX_LINE], first + index, 0, 0, 0, len(line)) for index, line in enumerate(chosen)]


def compile_query(pattern: str, *, fixed_strings: bool, case_sensitive: bool) -> Query:
    """Compile a search.

    Raises:
        GuestFailure: ``INVALID_REGEX`` with the position, and how to search for the text as it is.
    """
    if len(pattern) > _MAX_PATTERN:
        message = "the pattern has %s characters; at most %s are searched for."
        raise GuestFailure("INVALID_REGEX", message % (format(len(pattern), ","), format(_MAX_PATTERN, ",")))
    flags = 0 if case_sensitive else re.IGNORECASE
    source = re.escape(pattern) if fixed_strings else pattern
    try:
        analysis = analyse(source, int(flags))
        return Query(re.compile(source, flags), analysis)
    except (re.error, OverflowError, RecursionError, ValueError, DeprecationWarning) as error:
        raise _invalid(pattern, error) from error


def _invalid(pattern: str, error: Exception) -> GuestFailure:
    reason, position = getattr(error, "msg", None) or str(error), getattr(error, "pos", None)
    if isinstance(error, RecursionError):
        reason = "too many nested groups"
    where = "" if position is None else " at position %d" % position
    message = (
        "invalid regular expression '%s': %s%s. Patterns are Python regular expressions; "
        "escape special characters with a backslash, or set fixed_strings to true to search for the text as it is."
    ) % (display(pattern[:200]), reason, where)
    return GuestFailure("INVALID_REGEX", message, position=position)


def is_binary(content: Any) -> bool:
    """Whether the first 8 KiB hold a NUL byte and no byte-order mark explains it."""
    return content.find(0, 0, _SNIFFED_BYTES) >= 0 and wide_encoding(content) is None


def wide_encoding(content: Any) -> str | None:
    """The codec of content that begins with a UTF-16 or UTF-32 byte-order mark."""
    for mark, encoding in _WIDE_MARKS:
        if content.startswith(mark):
            return encoding
    return None


def read_text(content: Any) -> str:
    """Content as text whose lines end with a line feed alone."""
    encoding = wide_encoding(content)
    if encoding is not None:
        text = codecs.decode(content, encoding, "replace")
    else:
        text = codecs.decode(content, "utf-8", "replace")
    text = text[1:] if text.startswith("\ufeff") else text
    return text.replace("\r\n", "\n") if "\r" in text else text
