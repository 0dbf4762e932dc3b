"""Where an edit's old text stands in a file: exactly, or with differences that cannot change its meaning.

Three kinds of difference are looked past, one after the other, and reported: line endings, white space at
the end of lines, and one indentation that all lines share. Every line must agree in everything else;
nothing here measures similarity.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from itertools import accumulate
from typing import Callable, Iterator, List, NamedTuple, Sequence, Tuple

from .diffing import Edit, split_lines

__all__ = ["MAX_LOOSE_CHARACTERS", "Ambiguous", "Match", "find_match", "has_only_crlf"]

#: Above this only exact text and line endings are tried: the other rules need a list of all lines.
MAX_LOOSE_CHARACTERS = 8 << 20

_BLANK = " \t\r\f\v"
_MAX_LISTED = 200  # edits and positions handed on for diffs and messages
_MAX_LINE_COMPARISONS = 2_000_000

LINE_ENDINGS = "line endings"
TRAILING = "trailing white space"
INDENTATION = "indentation"


class Match(NamedTuple):
    """Attributes: ``result`` is the whole text afterwards; ``edits`` the first 200 of the ``places``;
    ``differences`` what was looked past, empty for exact text; ``wrote_crlf`` that line feeds of the
    new text became CRLF."""

    result: str
    edits: List[Edit]
    places: int
    differences: Tuple[str, ...] = ()
    wrote_crlf: bool = False


class Ambiguous(NamedTuple):
    """Attributes: ``positions`` of the first in the text; ``places`` in all; ``differences`` as in ``Match``."""

    positions: List[int]
    places: int
    differences: Tuple[str, ...] = ()


class _Hit(NamedTuple):
    start: int
    end: int
    shift: Callable[[str], str | None] | None = None


def find_match(text: str, old: str, new: str, expected: int | None) -> Match | Ambiguous | None:
    """Find ``old``, which is not empty, and what the text becomes with ``new`` in its place.

    Args:
        text: The file without its byte-order mark, line endings as they are.
        expected: How many places there must be; None for all there are, at least one.

    Returns:
        None when it is nowhere. White space and indentation are looked past only for one single place.
    """
    return (
        _exact(text, old, new, expected)
        or _with_other_line_endings(text, old, new, expected)
        or (_loose(text, old, new) if expected in (None, 1) and len(text) <= MAX_LOOSE_CHARACTERS else None)
    )


def has_only_crlf(text: str) -> bool:
    """Whether the text has line endings and each is a carriage return with a line feed."""
    count = text.count("\r\n")
    return count > 0 and count == text.count("\n") == text.count("\r")


def _exact(text: str, old: str, new: str, expected: int | None) -> Match | Ambiguous | None:
    if old.startswith("\n") and "\r" + old in text:
        return None  # it would begin in the middle of a line ending
    count = text.count(old)
    if not count:
        return None
    positions = list(_occurrences(text, old, len(old)))
    if expected not in (None, count):
        return Ambiguous(positions, count)
    to_crlf = "\n" in new and "\r" not in new and has_only_crlf(text)
    written = new.replace("\n", "\r\n") if to_crlf else new
    edits = [Edit(start, start + len(old), written) for start in positions]
    return Match(text.replace(old, written), edits, count, wrote_crlf=to_crlf)


def _occurrences(text: str, sought: str, step: int) -> Iterator[int]:
    position = text.find(sought)
    for _ in range(_MAX_LISTED):
        if position < 0:
            return
        yield position
        position = text.find(sought, position + step)


def _with_other_line_endings(text: str, old: str, new: str, expected: int | None) -> Match | Ambiguous | None:
    if "\n" not in old or ("\r\n" not in text and "\r\n" not in old):
        return None
    pieces = text.split("\r\n")
    # Where, in the text with line feeds alone, each carriage return was taken away.
    taken = [end + index for index, end in enumerate(accumulate(map(len, pieces[:-1])))]
    plain, sought = "\n".join(pieces), old.replace("\r\n", "\n")
    count = plain.count(sought)
    if not count:
        return None
    hits: List[_Hit] = []
    position = plain.find(sought)
    while position >= 0 and (len(hits) < _MAX_LISTED or expected in (None, count)):
        end = position + len(sought)
        hits.append(_Hit(position + bisect_left(taken, position), end + bisect_left(taken, end)))
        position = plain.find(sought, end)
    if expected not in (None, count):
        return Ambiguous([hit.start for hit in hits], count, (LINE_ENDINGS,))
    return _spliced(text, old, new, hits, ())


def _loose(text: str, old: str, new: str) -> Match | Ambiguous | None:
    if not old.strip():
        return None
    lines = text.split("\n")
    starts = [0, *accumulate(len(line) + 1 for line in lines)]
    for find, label in ((_ignoring_trailing_space, TRAILING), (_ignoring_indentation, INDENTATION)):
        hits = find(lines, starts, old)
        if len(hits) > 1:
            return Ambiguous([hit.start for hit in hits], len(hits), (label,))
        if hits:
            hit = hits[0]._replace(end=min(hits[0].end, len(text)))
            return _spliced(text, old, new, [hit], (label,) if label == INDENTATION else ())
    return None


def _ignoring_trailing_space(lines: List[str], starts: List[int], old: str) -> List[_Hit]:
    stripped = [line.rstrip(_BLANK) for line in lines]
    if stripped[-1]:
        stripped.append("")  # a missing final newline counts as a difference of white space
    plain = "\n".join(stripped)
    plain_starts = [0, *accumulate(len(line) + 1 for line in stripped)]
    *whole, last = old.split("\n")
    # White space after the last words asks for the end of the line there; alone it is the next line's indent.
    to_line_end = bool(last.strip()) and last != last.rstrip(_BLANK)
    sought = "\n".join([line.rstrip(_BLANK) for line in whole] + [last.rstrip(_BLANK) if to_line_end else last])
    hits = []
    for position in _occurrences(plain, sought + "\n" if to_line_end else sought, 1):
        first = bisect_right(plain_starts, position) - 1
        start = starts[first] + position - plain_starts[first]
        end = position + len(sought)
        final = bisect_right(plain_starts, end) - 1
        if to_line_end:
            hits.append(_Hit(start, starts[final] + len(lines[final].rstrip("\r"))))
        else:
            hits.append(_Hit(start, starts[final] + end - plain_starts[final]))
    return hits


def _ignoring_indentation(lines: List[str], starts: List[int], old: str) -> List[_Hit]:
    old_lines = old.split("\n")
    ends_line = not old_lines[-1] and len(old_lines) > 1
    if ends_line:
        old_lines.pop()
    # What follows a final line feed is no line.
    keys = [line.strip(_BLANK) for line in (lines if lines[-1] else lines[:-1])]
    plain = "\n" + "\n".join(keys) + "\n"
    plain_starts = list(accumulate([1, *(len(key) + 1 for key in keys)]))
    sought = "\n" + "\n".join(line.strip(_BLANK) for line in old_lines) + "\n"
    outer = _common_indent(old_lines)
    hits: List[_Hit] = []
    position, budget = plain.find(sought), _MAX_LINE_COMPARISONS
    while position >= 0 and len(hits) < _MAX_LISTED and budget > 0:
        first = bisect_left(plain_starts, position + 1)
        found = lines[first : first + len(old_lines)]
        there = _common_indent(found)
        if _same_inner_indents(old_lines, outer, found, there):
            past = first + len(old_lines)
            end = starts[past] if ends_line else starts[past - 1] + len(found[-1].rstrip("\r"))
            hits.append(_Hit(starts[first], end, _shifter(outer, there)))
        budget -= len(old_lines)
        position = plain.find(sought, position + 1)
    return hits


def _indent(line: str) -> str:
    return line[: len(line) - len(line.lstrip(" \t"))]


def _common_indent(lines: Sequence[str]) -> str:
    indents = [_indent(line) for line in lines if line.strip(_BLANK)]
    first, last = min(indents), max(indents)
    agreed = 0
    while agreed < len(first) and first[agreed] == last[agreed]:
        agreed += 1
    return first[:agreed]


def _same_inner_indents(old: Sequence[str], outer: str, found: Sequence[str], there: str) -> bool:
    return all(
        _indent(one)[len(outer) :] == _indent(other)[len(there) :]
        for one, other in zip(old, found)
        if one.strip(_BLANK)
    )


def _shifter(outer: str, there: str) -> Callable[[str], str | None]:
    def shift(line: str) -> str | None:
        """The line moved as the old text was; None for one that stands further left than that allows."""
        if not line.strip():
            return line
        if line.startswith(outer):
            return there + line[len(outer) :]
        return there[: len(there) - len(outer)] + line if there.endswith(outer) else None

    return shift


def _spliced(text: str, old: str, new: str, hits: List[_Hit], differences: Tuple[str, ...]) -> Match | None:
    edits, noted, wrote_crlf = [], set(differences), False
    is_crlf = has_only_crlf(text)
    for hit in hits:
        span = text[hit.start : hit.end]
        ending = "\r\n" if (2 * span.count("\r\n") > span.count("\n") if "\n" in span else is_crlf) else "\n"
        written = _adapted(span, old.replace("\r\n", "\n"), new.replace("\r\n", "\n"), ending, hit.shift)
        if written is None:
            return None
        noted.update(_differences(span, old))
        wrote_crlf = wrote_crlf or (ending == "\r\n" and "\n" in new and "\r\n" not in new)
        edits.append(Edit(hit.start, hit.end, written))
    pieces: List[str] = []
    position = 0
    for edit in edits:
        pieces.extend((text[position : edit.start], edit.text))
        position = edit.end
    result = "".join([*pieces, text[position:]])
    ordered = tuple(kind for kind in (LINE_ENDINGS, TRAILING, INDENTATION) if kind in noted)
    return Match(result, edits[:_MAX_LISTED], len(edits), ordered, wrote_crlf)


def _adapted(span: str, old: str, new: str, ending: str, shift: Callable[[str], str | None] | None) -> str | None:
    """``new`` as the file would have it; lines that ``old`` and ``new`` share at either end keep the file's bytes."""
    there, before, after = split_lines(span), split_lines(old), split_lines(new)
    shared = min(len(before), len(after))
    head = 0
    while head < shared and before[head] == after[head]:
        head += 1
    tail = 0
    while tail < shared - head and before[-1 - tail] == after[-1 - tail]:
        tail += 1
    written = there[:head]
    for line in after[head : len(after) - tail]:
        moved = shift(line) if shift is not None else line
        if moved is None:
            return None
        written.append(moved[:-1] + ending if moved.endswith("\n") else moved)
    if not tail and old.endswith("\n") and not span.endswith("\n") and written and written[-1].endswith("\n"):
        written[-1] = written[-1].rstrip("\r\n")  # the file's last line still has no end
    return "".join(written + there[len(there) - tail :] if tail else written)


def _differences(span: str, old: str) -> Iterator[str]:
    for there, sought in zip(split_lines(span), split_lines(old)):
        if there.endswith("\r\n") != sought.endswith("\r\n") and there.endswith("\n") and sought.endswith("\n"):
            yield LINE_ENDINGS
        there_line, sought_line = there.rstrip("\r\n"), sought.rstrip("\r\n")
        is_trailing = len(there_line) - len(there_line.rstrip()) != len(sought_line) - len(sought_line.rstrip())
        if is_trailing or there.endswith("\n") != sought.endswith("\n"):
            yield TRAILING
