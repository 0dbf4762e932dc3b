"""What a file has that comes closest to a text that is not in it, for the message about a missed edit."""

from __future__ import annotations

import re
from bisect import bisect_right
from itertools import accumulate
from typing import Dict, List, NamedTuple, Tuple

__all__ = ["Region", "nearest_region"]

_MAX_ANCHORS = 24
_MAX_POSITIONS = 40  # of each anchor
_MAX_COMPARED_LINES = 60
_MAX_SHOWN_LINES = 20
_MAX_READ_CHARACTERS = 1 << 20
_MAX_SHOWN_CHARACTERS = 200
_WORD = re.compile(r"\w{3,}")


class Region(NamedTuple):
    """Attributes: ``first`` and ``last`` line numbers, from 1; ``shown`` those lines as ``L12: text``;
    ``difference`` a sentence about the first line that differs."""

    first: int
    last: int
    shown: str
    difference: str


def nearest_region(text: str, old: str) -> Region | None:
    """The lines of ``text`` most like those of ``old``; None where neither a word nor many letters are shared.

    Places are tried only where one of the longest lines or rarest words of ``old`` stands, so the effort is
    a few searches through the text, however long both are. Where there is none, one line is looked for whose
    pairs of letters are those of the longest line of ``old``, whatever their case, in the first megabyte.
    """
    lines = text.split("\n")
    if len(lines) > 1 and not lines[-1]:
        lines.pop()
    wanted = old.strip("\r\n").split("\n")[:_MAX_COMPARED_LINES]
    candidates = _candidates(text, lines, wanted)
    scored = [(_score(lines, start, wanted), -start) for start in sorted(candidates)]
    if scored and max(scored)[0] > 0:
        return _region(lines, -max(scored)[1], wanted)
    start = _resembling(lines, wanted)
    return None if start is None else _region(lines, start, wanted)


def _resembling(lines: List[str], wanted: List[str]) -> int | None:
    """Where the region begins whose line shares at least half of its pairs of letters with the longest one wanted."""
    index = max(range(len(wanted)), key=lambda number: len(wanted[number].strip()))
    if not wanted[index].strip():
        return None
    sought = _pairs(wanted[index])
    most, found, read = 0.5, None, 0
    for number, line in enumerate(lines):
        read += len(line)
        if read > _MAX_READ_CHARACTERS:
            break
        pairs = _pairs(line)
        # Dice's coefficient: twice what is shared, of all.
        share = 2 * len(pairs & sought) / (len(pairs) + len(sought))
        if share > most or (share == most and found is None):
            most, found = share, max(0, number - index)
    return found


def _pairs(line: str) -> "set[str]":
    # The ends count, so that a line of one letter has pairs, too.
    letters = "\n%s\n" % line.strip()[:500].casefold()
    return {letters[at : at + 2] for at in range(len(letters) - 1)}


def _candidates(text: str, lines: List[str], wanted: List[str]) -> "set[int]":
    starts = [0, *accumulate(len(line) + 1 for line in lines)]
    found = set()
    for anchor, index in _anchors(text, wanted):
        position = text.find(anchor)
        for _ in range(_MAX_POSITIONS):
            if position < 0:
                break
            line = bisect_right(starts, position) - 1
            found.add(max(0, line - index))
            position = text.find(anchor, starts[min(line + 1, len(lines))])
    return found


def _anchors(text: str, wanted: List[str]) -> List[Tuple[str, int]]:
    """Whole lines and words of the wanted text that the file has, the rarest first, with their line's index."""
    known: Dict[str, int] = {}
    for index, line in enumerate(wanted):
        for piece in (line.strip()[:500], *_WORD.findall(line[:500])):
            if piece:
                known.setdefault(piece, index)
    longest = sorted(known, key=len, reverse=True)[: 2 * _MAX_ANCHORS]
    counted = sorted((text.count(piece), -len(piece), piece) for piece in longest)
    return [(piece, known[piece]) for count, _, piece in counted if count][:_MAX_ANCHORS]


def _score(lines: List[str], start: int, wanted: List[str]) -> int:
    score = 0
    for there, sought in zip(lines[start : start + len(wanted)], wanted):
        there, sought = there.strip()[:500], sought.strip()[:500]
        if there == sought:
            score += 2 * len(sought)
        elif sought:
            score += sum(map(len, set(_WORD.findall(there)) & set(_WORD.findall(sought))))
    return score


def _region(lines: List[str], start: int, wanted: List[str]) -> Region:
    end = min(len(lines), start + len(wanted))
    last = min(end, start + _MAX_SHOWN_LINES)
    shown = "\n".join("L%d: %s" % (number + 1, _cut(lines[number])) for number in range(start, last))
    return Region(start + 1, end, shown, _first_difference(lines, start, wanted))


def _first_difference(lines: List[str], start: int, wanted: List[str]) -> str:
    for offset, sought in enumerate(wanted):
        if start + offset >= len(lines):
            return "The file ends before line %d of old_string: %r" % (offset + 1, _cut(sought))
        there = lines[start + offset].rstrip("\r")
        if there != sought.rstrip("\r"):
            cut = _cut_around(there, sought.rstrip("\r"))
            return "First difference: line %d has %r where old_string has %r" % (start + offset + 1, *cut)
    return "These lines agree; old_string goes on differently after them"


def _cut(line: str) -> str:
    line = line.rstrip("\r")
    return line if len(line) <= _MAX_SHOWN_CHARACTERS else line[:_MAX_SHOWN_CHARACTERS] + "\u2026"


def _cut_around(first: str, second: str) -> Tuple[str, str]:
    """Both lines cut to the part where they begin to differ."""
    same = 0
    while same < min(len(first), len(second)) and first[same] == second[same]:
        same += 1
    offset = max(0, same - _MAX_SHOWN_CHARACTERS // 2) if max(len(first), len(second)) > _MAX_SHOWN_CHARACTERS else 0
    lead = "\u2026" if offset else ""
    return lead + _cut(first[offset:]), lead + _cut(second[offset:])
