"""Wildcard patterns as regular expressions that never backtrack without end.

``ignore`` and ``globbing`` cut their patterns into tokens; ``expression`` joins tokens. A token is
a regular expression that matches exactly one character, or one of the four marks below.

Between two stars stands a chunk of fixed length, so that its leftmost match is as good as any
later one: every star but the last is made atomic, and a match takes at most quadratic time.
"""

from __future__ import annotations

import re
from typing import Iterator, List, NamedTuple, Sequence, Tuple

__all__ = ["DEEP", "DEEPER", "REST", "STAR", "Class", "depth_of", "expression", "parse_class"]

STAR = "*"  # any characters but the slash
DEEP = "**/"  # nothing, or any directories and the slash after them
DEEPER = "**\\/"  # at least one slash
REST = "**"  # everything to the end

_POSIX = {  # ASCII only, as in git's wildmatch.c; its own isspace knows neither \v nor \f
    "alnum": "0-9A-Za-z",
    "alpha": "A-Za-z",
    "blank": r"\x20\t",
    "cntrl": r"\x00-\x1f\x7f",
    "digit": "0-9",
    "graph": "!-~",
    "lower": "a-z",
    "print": r"\x20-~",
    "punct": r"!-/:-@\[-`{-~",
    "space": r"\x20\t\n\r",
    "upper": "A-Z",
    "xdigit": "0-9A-Fa-f",
}


class Class(NamedTuple):
    """A bracket expression: the ``token`` it means, and the index after its ``]``."""

    token: str
    end: int


def parse_class(pattern: str, start: int) -> Class | None:
    """Read the bracket expression whose ``[`` is at ``start``; None if it has no end or an unknown ``[:name:]``.

    Source: git's wildmatch.c, quirks included.
    """
    at = start + 1
    negated = pattern[at : at + 1] in ("!", "^") and at < len(pattern)
    if negated:
        at += 1
    members: List[str] = []
    previous, is_first = "", True
    while True:
        if at >= len(pattern):
            return None
        character = pattern[at]
        if character == "]" and not is_first:
            return Class(_set(members, negated), at + 1)
        is_first = False
        if character == "-" and previous and pattern[at + 1 : at + 2] not in ("", "]"):
            at += 2 if pattern[at + 1] == "\\" else 1
            if at >= len(pattern):
                return None
            if previous <= pattern[at]:
                members.append(_escaped(previous) + "-" + _escaped(pattern[at]))
            previous = ""
        elif character == "[" and pattern[at + 1 : at + 2] == ":":
            closing = pattern.find("]", at + 2)
            if closing < 0:
                return None
            if closing == at + 2 or pattern[closing - 1] != ":":
                members.append(_escaped("["))
                previous = "["
            else:
                name = pattern[at + 2 : closing - 1]
                if name not in _POSIX:
                    return None
                members.append(_POSIX[name])
                previous, at = "", closing
        else:
            if character == "\\":
                at += 1
                if at >= len(pattern):
                    return None
            previous = pattern[at]
            members.append(_escaped(previous))
        at += 1


def _escaped(character: str) -> str:
    return "\\" + character if character in "\\]^-[&~|" else character


def _set(members: Sequence[str], negated: bool) -> str:
    if not members:
        return "[^/]" if negated else "(?!)"
    return "(?!/)[%s%s]" % ("^" if negated else "", "".join(members))


def expression(tokens: Sequence[str], groups: Iterator[int]) -> str:
    """The regular expression (to be used with ``re.DOTALL``) that matches what ``tokens`` mean, up to the end.

    ``groups`` numbers its named groups, so that several expressions can be joined by ``|``.
    """
    deeps = [index for index, token in enumerate(tokens) if token in (DEEP, DEEPER)]
    ends = [*deeps[1:], len(tokens)]
    written = [_chunks(tokens[: deeps[0] if deeps else len(tokens)], groups, not deeps)]
    for start, end in zip(deeps, ends):
        is_last = end == len(tokens)
        step = "(?:[^/]*/)" + ("*?" if tokens[start] == DEEP else "+?")
        below = step + _chunks(tokens[start + 1 : end], groups, is_last)
        written.append(below if is_last else _atomic(below, groups))
    return "".join(written) + r"\Z"


def depth_of(tokens: Sequence[str]) -> int | None:
    """How many slashes every match has; None if that varies."""
    if any(token in (DEEP, DEEPER, REST) for token in tokens):
        return None
    return sum(token == "/" for token in tokens)


def _chunks(tokens: Sequence[str], groups: Iterator[int], is_last: bool) -> str:
    head, rest = _split(tokens)
    written = [head]
    for index, chunk in enumerate(rest):
        if is_last and index == len(rest) - 1:
            written.append("[^/]*" + chunk)
        else:
            written.append(_atomic("[^/]*?" + chunk, groups))
    return "".join(written)


def _split(tokens: Sequence[str]) -> Tuple[str, List[str]]:
    """The text before the first star, and after each."""
    chunks: List[List[str]] = [[]]
    for token in tokens:
        if token == STAR:
            chunks.append([])
        else:
            chunks[-1].append(".*" if token == REST else token)
    joined = ["".join(chunk) for chunk in chunks]
    return joined[0], joined[1:]


def _atomic(inner: str, groups: Iterator[int]) -> str:
    # Python before 3.11 has no atomic groups; a lookahead is never re-entered.
    name = "g%d" % next(groups)
    return "(?=(?P<%s>%s))(?P=%s)" % (name, inner, name)


def literal(character: str) -> str:
    """The token for one character taken as it is."""
    return re.escape(character)
