"""One page of a text file of any size, cut on line boundaries, in flat memory.

Lines end at ``\\n`` and nowhere else. The whole file is always looked at, in blocks: only that tells how
many lines there are, and whether it is UTF-8, so every page of one file is decoded alike.
"""

from __future__ import annotations

import codecs
from typing import Iterator, List, NamedTuple, Tuple

from .context import Call
from .failure import GuestFailure
from .hints import shell_word, tool_call
from .opening import Opened
from .root import display
from .text import MARKS, is_binary

__all__ = ["MAX_CHARACTERS", "MAX_LINES", "MAX_LINE_CHARACTERS", "Cut", "Page", "cut_note", "read_page"]

MAX_LINES = 2_000
MAX_LINE_CHARACTERS = 2_000
MAX_CHARACTERS = 50_000


class Cut(NamedTuple):
    """A line that is not shown whole.

    Attributes:
        line: Counted from 1.
        characters: How long it is, without its end.
        shown: Its beginning that is shown.
    """

    line: int
    characters: int
    shown: str


class Page:
    """Takes the text of a file piece by piece and keeps the lines of one page.

    Args:
        offset: How many lines come before the page.
        limit: How many lines it has at most; 1 or more.
        numbered: Put line numbers before the lines, as ``cat -n`` does.

    Attributes:
        lines: As shown, ends included; together at most 50,000 characters.
        cuts: Lines that were cut at 2,000 characters.
        total_lines: Of the whole text, once ``finish`` was called.
        encoding: A Python codec name; ``is_guess`` if the bytes are not UTF-8 and were read as Latin-1.
        mark: The byte-order mark, which is not part of the text.
    """

    def __init__(self, offset: int = 0, limit: int = MAX_LINES, numbered: bool = False) -> None:
        self.offset = offset
        self.limit = limit
        self.numbered = numbered
        self.lines: List[str] = []
        self.cuts: List[Cut] = []
        self.total_lines = 0
        self.encoding = "utf-8"
        self.is_guess = False
        self.mark = b""
        self._characters = 0
        self._is_full = False
        self._is_open = False
        self._line = _Line()

    @property
    def text(self) -> str:
        """What the page shows."""
        return "".join(self.lines)

    @property
    def next_offset(self) -> int | None:
        """Where the next page begins; None at the end of the file."""
        after = self.offset + len(self.lines)
        return after if after < self.total_lines else None

    def feed(self, text: str) -> None:
        """Take the next piece of the text."""
        position = self._skip(text) if self.total_lines < self.offset else 0
        while position < len(text) and not self._is_full:
            end = text.find("\n", position)
            self._line.extend(text, position, len(text) if end < 0 else end)
            if end < 0:
                position = len(text)
            else:
                self._close("\n")
                position = end + 1
        self.total_lines += text.count("\n", position)
        self._is_open = not text.endswith("\n") if text else self._is_open

    def finish(self) -> None:
        """Say that there is no more text."""
        if not self._is_open:
            return
        if self._is_full or self.total_lines < self.offset:
            self.total_lines += 1
        else:
            self._close("")

    def _skip(self, text: str) -> int:
        """Pass over lines before the page; the position after them."""
        wanted = self.offset - self.total_lines
        available = text.count("\n")
        if available < wanted:
            self.total_lines += available
            return len(text)
        position = 0
        for _ in range(wanted):
            position = text.index("\n", position) + 1
        self.total_lines = self.offset
        return position

    def _close(self, end: str) -> None:
        body, end, length = self._line.closed(end)
        self._line = _Line()
        self.total_lines += 1
        shown = "%6d\t%s" % (self.total_lines, body) if self.numbered else body
        if length > len(body):
            shown += cut_note(length - len(body))
        shown += end
        if self._characters + len(shown) > MAX_CHARACTERS:
            self._is_full = True
            return
        self.lines.append(shown)
        self._characters += len(shown)
        self._is_full = len(self.lines) == self.limit
        if length > len(body):
            self.cuts.append(Cut(self.total_lines, length, body))


class _Line:
    """The line being read: its length, and as much of its beginning as is shown."""

    def __init__(self) -> None:
        self._pieces: List[str] = []
        self._kept = 0
        self._length = 0
        self._last = ""

    def extend(self, text: str, start: int, stop: int) -> None:
        """The line goes on with ``text[start:stop]``."""
        if start == stop:
            return
        # One more than is shown: a carriage return there belongs to the line's end.
        piece = text[start : min(stop, start + MAX_LINE_CHARACTERS + 1 - self._kept)]
        self._pieces.append(piece)
        self._kept += len(piece)
        self._length += stop - start
        self._last = text[stop - 1]

    def closed(self, end: str) -> Tuple[str, str, int]:
        """What is shown of the line, its end, and its length without the end."""
        if end and self._last == "\r":
            end = "\r" + end
            self._length -= 1
        return "".join(self._pieces)[: min(self._length, MAX_LINE_CHARACTERS)], end, self._length


def cut_note(left: int) -> str:
    """What stands in place of the rest of a line."""
    return " [... %s more characters]" % format(left, ",")


def read_page(opened: Opened, call: Call, offset: int = 0, limit: int = MAX_LINES, numbered: bool = False) -> Page:
    """Read the whole file and keep one page of it.

    Decoded by byte-order mark, else as UTF-8, else as Latin-1: the rules of ``text.decode``.

    Raises:
        GuestFailure: ``BINARY_FILE``.
        CallCancelled: The host gave the call up.
    """
    _refuse_binary(opened, is_binary(opened.head))
    for mark, encoding in _encodings(opened.head):
        page = Page(offset, limit, numbered)
        try:
            for text in _decoded(opened.blocks(call, len(mark)), encoding):
                page.feed(text)
        except UnicodeDecodeError:
            # The mark was a coincidence; without it NUL bytes mean what they mean elsewhere.
            _refuse_binary(opened, b"\0" in opened.head)
            continue
        page.finish()
        page.encoding, page.is_guess, page.mark = encoding, encoding == "latin-1", mark
        return page
    raise AssertionError("every byte is Latin-1")


def _encodings(head: bytes) -> List[Tuple[bytes, str]]:
    marked = [(mark, encoding) for mark, encoding in MARKS if head.startswith(mark)][:1]
    return [*marked, (b"", "utf-8"), (b"", "latin-1")]


def _decoded(blocks: Iterator[bytes], encoding: str) -> Iterator[str]:
    decoder = codecs.getincrementaldecoder(encoding)("strict")
    for block in blocks:
        yield decoder.decode(block)
    yield decoder.decode(b"", True)


def _refuse_binary(opened: Opened, is_it: bool) -> None:
    if is_it:
        raise GuestFailure(
            "BINARY_FILE",
            "%s is a binary file (%s bytes; it holds NUL bytes) and cannot be shown as text. Look into it with %s"
            % (
                display(opened.path),
                format(opened.size, ","),
                tool_call("run_shell_command", command="head -c 512 %s | od -c" % shell_word(opened.path)),
            ),
            path=opened.path,
        )
