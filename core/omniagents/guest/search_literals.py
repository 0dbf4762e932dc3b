"""What a regular expression's syntax tree tells before it is run: texts that every match contains,
and a looser expression that finds lines worth a closer look in a whole file at once."""

from __future__ import annotations

import importlib
import re
import sys
import warnings
from typing import Any, Iterator, List, NamedTuple, Tuple

__all__ = ["Analysis", "analyse"]

_IS_PACKAGE = sys.version_info >= (3, 11)
sre_parse: Any = importlib.import_module("re._parser" if _IS_PACKAGE else "sre_parse")
sre_compile: Any = importlib.import_module("re._compiler" if _IS_PACKAGE else "sre_compile")

_MAX_LITERALS = 16
_NEWLINE = 10
_BOUNDARIES = ("AT_BOUNDARY", "AT_NON_BOUNDARY")
_REPEATS = ("MAX_REPEAT", "MIN_REPEAT")
_NOT_EVERYWHERE = frozenset(("POSSESSIVE_REPEAT", "ATOMIC_GROUP"))


class Analysis(NamedTuple):
    """What is known of a pattern.

    Attributes:
        literals: A line that matches contains one of them, in any case if the search ignores it; None if unknown.
        is_literal: The pattern is one text and nothing else.
        is_short: It cannot backtrack for long: at most one repetition, and that of a single character.
        sweep: Applied to a whole text, finds the start of every match there is within a line (and others); or None.
        has_newline: It asks for a line feed, which no line contains.
    """

    literals: Tuple[str, ...] | None
    is_literal: bool
    is_short: bool
    sweep: re.Pattern[str] | None
    has_newline: bool


def analyse(pattern: str, flags: int) -> Analysis:
    """Look at a pattern.

    Raises:
        re.error, OverflowError, RecursionError, ValueError, DeprecationWarning: It is no valid pattern.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        # Flags that do not stand first are an error from Python 3.11 on, so they are one everywhere.
        warnings.filterwarnings("error", message="Flags not at the start", category=DeprecationWarning)
        tree = sre_parse.parse(pattern, flags)
        literals = _required(tree)
        is_literal = all(op.name == "LITERAL" for op, _ in tree) and len(tree) > 0
        names = [op.name for op, _ in _every(tree)]
        # Python before 3.11 has neither, so that they are an error everywhere.
        if not _NOT_EVERYWHERE.isdisjoint(names):
            raise ValueError("possessive quantifiers and atomic groups are not supported")
        is_short = _is_short(tree)
        has_newline = any(op.name == "LITERAL" and value == _NEWLINE for op, value in _plain_path(tree))
        return Analysis(literals, is_literal, is_short, _sweep(tree, names), has_newline)


def _every(tree: Any) -> Iterator[Tuple[Any, Any]]:
    """Every node, the inner ones of groups, branches, repetitions and assertions too."""
    for op, value in tree:
        yield op, value
        for inner in _inner(op.name, value):
            yield from _every(inner)


def _inner(name: str, value: Any) -> List[Any]:
    if name == "SUBPATTERN":
        return [value[3]]
    if name in _REPEATS:
        return [value[2]]
    if name == "BRANCH":
        return list(value[1])
    if name in ("ASSERT", "ASSERT_NOT"):
        return [value[1]]
    if name == "GROUPREF_EXISTS":
        return [branch for branch in value[1:] if branch is not None]
    return []


def _plain_path(tree: Any) -> Iterator[Tuple[Any, Any]]:
    """The nodes every match goes through, as far as they lie in a row or in plain groups."""
    for op, value in tree:
        if op.name == "SUBPATTERN" and not value[1] and not value[2]:
            yield from _plain_path(value[3])
        else:
            yield op, value


def _required(tree: Any) -> Tuple[str, ...] | None:
    """The best set of texts of which every match contains one; None if there is none."""
    candidates: List[Tuple[str, ...]] = []
    run: List[str] = []
    for op, value in _plain_path(tree):
        name = op.name
        if name == "LITERAL" and _is_findable(value):
            run.append(chr(value))
            continue
        if name in ("AT", "ASSERT", "ASSERT_NOT"):
            continue
        candidates.append(("".join(run),))
        run = []
        found = _required_of(name, value)
        if found is not None:
            candidates.append(found)
    candidates.append(("".join(run),))
    usable = [literals for literals in candidates if all(literals) and len(literals) <= _MAX_LITERALS]
    return max(usable, key=lambda literals: (min(map(len, literals)), -len(literals)), default=None)


def _required_of(name: str, value: Any) -> Tuple[str, ...] | None:
    if name in _REPEATS:
        return _required(value[2]) if value[0] else None
    if name != "BRANCH":
        return None
    branches = [_required(branch) for branch in value[1]]
    found = [branch for branch in branches if branch is not None]
    if len(found) < len(branches):
        return None
    return tuple(dict.fromkeys(text for branch in found for text in branch))


def _is_findable(code: int) -> bool:
    # A line has no line feed; U+FFFD may stand for any bytes; surrogates are in no decoded text.
    return code not in (_NEWLINE, 0xFFFD) and not 0xD800 <= code <= 0xDFFF


def _is_short(tree: Any) -> bool:
    repeats = 0
    for op, value in _every(tree):
        if op.name in _REPEATS:
            repeats += 1
            if len(value[2]) != 1 or value[2][0][0].name not in ("LITERAL", "NOT_LITERAL", "IN", "ANY"):
                return False
        elif op.name in ("GROUPREF", "GROUPREF_EXISTS"):
            return False
    return repeats <= 1


def _sweep(tree: Any, names: List[str]) -> re.Pattern[str] | None:
    """The pattern for a whole text: dots and sets stop at line ends; negative assertions and a word boundary at the
    beginning are dropped."""
    if "GROUPREF_EXISTS" in names or ("GROUPREF" in names and "ASSERT_NOT" in names):
        return None
    for op, value in _every(tree):
        if op.name == "SUBPATTERN" and (value[1] | value[2]) & (re.MULTILINE | re.DOTALL):
            return None
        if op.name == "IN" and _crosses_lines(value):
            return None
    _loosen(tree)
    # Behind it sre would try every character; without it, only those a match can begin with.
    while tree.data and tree.data[0][0].name == "AT" and tree.data[0][1].name in _BOUNDARIES:
        del tree.data[0]
    tree.state.flags = (tree.state.flags & ~re.DOTALL) | re.MULTILINE
    compiled: re.Pattern[str] = sre_compile.compile(tree, 0)
    return compiled


def _crosses_lines(members: Any) -> bool:
    """Whether a set without ``^`` takes line feeds among much else, so that a repetition would run on through them."""
    if members[0][0].name == "NEGATE":
        return False
    return any(
        (op.name == "CATEGORY" and value.name in ("CATEGORY_NOT_DIGIT", "CATEGORY_NOT_WORD"))
        or (op.name == "RANGE" and value[0] <= _NEWLINE <= value[1])
        for op, value in members
    )


def _loosen(tree: Any) -> None:
    kept = []
    for op, value in tree:
        name = op.name
        for inner in _inner(name, value):
            _loosen(inner)
        if name == "ASSERT_NOT":
            continue
        if name == "NOT_LITERAL":
            op = sre_parse.IN
            value = [(sre_parse.NEGATE, None), (sre_parse.LITERAL, value), (sre_parse.LITERAL, _NEWLINE)]
        elif name == "IN" and value[0][0].name == "NEGATE":
            value = [*value, (sre_parse.LITERAL, _NEWLINE)]
        elif name == "AT" and value.name in ("AT_BEGINNING_STRING", "AT_END_STRING"):
            value = sre_parse.AT_BEGINNING if value.name == "AT_BEGINNING_STRING" else sre_parse.AT_END
        kept.append((op, value))
    tree.data[:] = kept
    tree.width = None
