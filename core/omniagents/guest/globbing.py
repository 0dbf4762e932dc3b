"""Glob patterns, and the operation ``glob``.

``*`` and ``?`` never cross a slash; ``**`` does where it stands alone between slashes; ``{a,b}``
are alternatives; ``[!a]`` and ``[^a]`` are the same; a backslash takes the next character as it is.
"""

from __future__ import annotations

import heapq
import itertools
import os
import re
import time
from typing import Any, Dict, Iterator, List, Sequence, Tuple

from .context import Context, Reply
from .failure import GuestFailure
from .ignore import Rules
from .root import Root, display
from .walk import Skipped, directory_to_walk, prefix_of, rules_for, stopper, target_kind, walk
from .wildcards import DEEP, REST, STAR, expression, literal, parse_class

__all__ = ["Glob", "anchored", "expand", "glob", "include_filter"]

_MAX_ALTERNATIVES = 1_000
_MAX_NESTING = 20
_MAX_PATTERN = 4_096
_MAX_PATHS = 500
_RECENT_NS = 24 * 3600 * 10**9
_SPECIAL = re.compile(r"([*?\[{\\])")


class Glob:
    """Compiled alternatives, to be matched against paths without a leading slash."""

    def __init__(self, patterns: Sequence[str], case_sensitive: bool) -> None:
        self._alternatives = [_tokens(pattern) for pattern in patterns]
        self._flags = re.DOTALL if case_sensitive else re.DOTALL | re.IGNORECASE
        self.matches = self._joined(self._alternatives)
        self._entering: Dict[int, Any] = {}

    def may_match_below(self, directory: str) -> bool:
        """Whether a path that begins with ``directory`` (``""``, or ends with a slash) can match."""
        depth = directory.count("/")
        if depth not in self._entering:
            starts = [start for start in (_first(tokens, depth) for tokens in self._alternatives) if start is not None]
            self._entering[depth] = self._joined(starts)
        return bool(self._entering[depth](directory))

    def _joined(self, alternatives: Sequence[Sequence[str]]) -> Any:
        groups = itertools.count()
        joined = "|".join(expression(tokens, groups) for tokens in alternatives) or "(?!)"
        return re.compile(joined, self._flags).match


def _first(tokens: Sequence[str], depth: int) -> List[str] | None:
    """The tokens of the first ``depth`` directories; None if the pattern has fewer."""
    taken: List[str] = []
    for token in tokens:
        if depth == 0:
            return taken
        if token in (DEEP, REST):
            return [*taken, REST]
        taken.append(token)
        depth -= token == "/"
    return None


def _tokens(pattern: str) -> List[str]:
    tokens: List[str] = []
    at = 0
    while at < len(pattern):
        character = pattern[at]
        if character == "*":
            end = at + len(pattern[at:]) - len(pattern[at:].lstrip("*"))
            alone = end - at > 1 and pattern[at - 1 : at] in ("", "/") and pattern[end : end + 1] in ("", "/")
            tokens.append(STAR if not alone else DEEP if end < len(pattern) else REST)
            at = end + (alone and end < len(pattern))
            continue
        parsed = parse_class(pattern, at) if character == "[" else None
        if parsed is not None:
            tokens.append(parsed.token)
            at = parsed.end
            continue
        if character == "\\" and at + 1 < len(pattern):
            at += 1
            tokens.append(literal(pattern[at]))
        else:
            tokens.append("[^/]" if character == "?" else literal(character))
        at += 1
    return tokens


def expand(pattern: str) -> List[str]:
    """The alternatives of a pattern with braces, in order and each once. Braces without a comma are text.

    Raises:
        GuestFailure: ``PATTERN_TOO_BROAD`` for more than 1,000 alternatives or 20 levels.
    """
    if len(pattern) > _MAX_PATTERN:
        raise _too_broad("the pattern is longer than %s characters" % format(_MAX_PATTERN, ","))
    return list(dict.fromkeys(_expanded(pattern, 0)))


def _expanded(pattern: str, depth: int) -> List[str]:
    if depth > _MAX_NESTING:
        raise _too_broad("the braces are nested more than %d deep" % _MAX_NESTING)
    results = [""]
    at = 0
    while at < len(pattern):
        choices, end = _choices(pattern, at, depth)
        if len(results) * len(choices) > _MAX_ALTERNATIVES:
            raise _too_broad("its braces stand for more than %s patterns" % format(_MAX_ALTERNATIVES, ","))
        results = [head + tail for head in results for tail in choices]
        at = end
    return results


def _choices(pattern: str, at: int, depth: int) -> Tuple[List[str], int]:
    """What stands at ``at``: a group in braces, or the text up to the next one."""
    if pattern[at] == "{":
        parts, end = _parts(pattern, at)
        if len(parts) > 1:
            return [choice for part in parts for choice in _expanded(part, depth + 1)], end
        return ["{"], at + 1
    end = at
    while end < len(pattern) and pattern[end] != "{":
        end += 2 if pattern[end] == "\\" else 1
    return [pattern[at:end]], min(end, len(pattern))


def _parts(pattern: str, start: int) -> Tuple[List[str], int]:
    """The comma-separated parts of the group that opens at ``start``; none if it is never closed."""
    parts, begin, level, at = [], start + 1, 0, start + 1
    while at < len(pattern):
        character = pattern[at]
        if character == "\\":
            at += 1
        elif character == "{":
            level += 1
        elif character == "}" and level:
            level -= 1
        elif character in ",}" and not level:
            parts.append(pattern[begin:at])
            begin = at + 1
            if character == "}":
                return parts, at + 1
        at += 1
    return [], start


def _too_broad(reason: str) -> GuestFailure:
    message = "this glob pattern is too broad: %s. Use fewer alternatives, or * in their place." % reason
    return GuestFailure("PATTERN_TOO_BROAD", message)


def anchored(root: Root, pattern: str, prefix: str) -> str:
    """The pattern relative to the workspace, without ``.`` and ``..``.

    Args:
        prefix: The directory a relative pattern starts in: ``""``, or ends with a slash.

    Raises:
        GuestFailure: ``PATH_OUTSIDE_WORKSPACE`` if it leads above the workspace; ``INVALID_ARGUMENTS`` if empty.
    """
    if not pattern.strip("/") or "\0" in pattern:
        message = "%r is no glob pattern; '**' finds every file, '*.py' those of one directory." % pattern
        raise GuestFailure("INVALID_ARGUMENTS", message)
    if pattern.startswith("/"):
        return _normal(root.strip_alias(pattern), "", pattern)
    return _normal(pattern, _escaped(prefix), pattern)


def _escaped(path: str) -> str:
    return _SPECIAL.sub(r"\\\1", path)


def _normal(pattern: str, prefix: str, named: str) -> str:
    kept: List[str] = []
    for part in (prefix + pattern).split("/"):
        if part == "..":
            if not kept:
                message = "the pattern %s leads outside the workspace; patterns start at the workspace."
                message %= display(named)
                raise GuestFailure("PATH_OUTSIDE_WORKSPACE", message, path=named)
            kept.pop()
        elif part not in ("", "."):
            kept.append(part)
    return "/".join(kept)


def include_filter(root: Root, pattern: str, prefix: str, case_sensitive: bool = False) -> Any:
    """A function of a path that tells whether an ``include`` pattern names it.

    A pattern without a slash is matched against names; one with a slash against the path from the
    workspace, and against the path from the searched directory (``prefix``).
    """
    if "/" not in pattern:
        by_name = Glob(expand(pattern), case_sensitive).matches
        return lambda path: bool(by_name(path.rpartition("/")[2]))
    bases = dict.fromkeys(("",) if pattern.startswith("/") else ("", prefix))
    expanded = [one for base in bases for one in expand(anchored(root, pattern, base))]
    by_path = Glob(expanded, case_sensitive).matches
    return lambda path: bool(by_path(path))


def glob(context: Context, arguments: Dict[str, Any]) -> Reply:
    """Operation: the files whose paths match a pattern.

    Args:
        arguments: ``pattern``; ``path`` (default ``.``), the directory it starts in; ``case_sensitive`` (false);
            ``respect_git_ignore`` (true).

    Returns:
        ``paths`` (at most 500: changed in the last 24 hours first, newest first, then by path), ``total``,
        ``skipped`` by reason, ``searched`` (the directory), ``directory`` (set where the pattern names one) and
        ``deeper`` (where nothing matched: how many files the pattern finds behind ``**/``).

    Raises:
        GuestFailure: ``PATTERN_TOO_BROAD``, ``PATH_OUTSIDE_WORKSPACE``, ``FILE_NOT_FOUND``, ``NOT_A_DIRECTORY``.
    """
    root, pattern = context.root, arguments["pattern"]
    start = directory_to_walk(root, arguments.get("path", "."))
    prefix = prefix_of(root, start)
    wanted = anchored(root, pattern, prefix)
    reply: Dict[str, Any] = {"searched": root.relative(start), "directory": None, "deeper": None, "skipped": {}}
    existing = _existing(root, pattern, prefix)
    if existing is not None:
        path, is_file = existing
        reply.update(paths=[path] if is_file else [], total=int(is_file), directory=None if is_file else path)
        return reply, b""
    # A pattern may lead out of the directory it starts in: then the walk starts at the top.
    named = prefix if wanted.startswith(_escaped(prefix)) else ""
    search = _Search(context, named, arguments)
    reply["paths"], reply["total"] = search.newest(expand(wanted))
    reply["skipped"] = search.skipped.as_json()
    inner = wanted[len(_escaped(named)) :]
    if not reply["total"] and not inner.startswith("**"):
        reply["deeper"] = _Search(context, named, arguments).count(expand(_escaped(named) + "**/" + inner))
    return reply, b""


def _existing(root: Root, pattern: str, prefix: str) -> Tuple[str, bool] | None:
    """The path a pattern names literally, and whether that is a file."""
    literally = _normal(root.strip_alias(pattern), "" if pattern.startswith("/") else prefix, pattern)
    try:
        resolved = root.resolve(literally)
    except GuestFailure as failure:
        if failure.code == "PATH_OUTSIDE_WORKSPACE":
            raise
        return None
    if os.path.isfile(resolved):
        return literally, True
    return (literally or ".", False) if os.path.isdir(resolved) else None


class _Search:
    """One pattern on its way through the tree."""

    def __init__(self, context: Context, prefix: str, arguments: Dict[str, Any]) -> None:
        self._context = context
        self._base = context.root.path.rstrip("/") + "/"
        self._prefix = prefix
        self._ignore = arguments.get("respect_git_ignore", True)
        self._case_sensitive = arguments.get("case_sensitive", False)
        self._recent_after = time.time_ns() - _RECENT_NS
        self.skipped = Skipped()

    def newest(self, patterns: Sequence[str]) -> Tuple[List[str], int]:
        """The first 500 paths in the order of the result, and how many there are."""
        count = itertools.count()
        keys = (self._key(path) for path in self._found(patterns) if next(count) >= 0)
        first = heapq.nsmallest(_MAX_PATHS, keys)
        return [key[2] for key in first], next(count)

    def count(self, patterns: Sequence[str]) -> int:
        return sum(1 for _ in self._found(patterns))

    def _found(self, patterns: Sequence[str]) -> Iterator[str]:
        compiled = Glob(patterns, self._case_sensitive)
        skipped = self.skipped

        def left_out(path: str, kind: str, reason: str, _rules: Rules) -> None:
            directory = path.rstrip("/") + "/"
            if kind != "directory":
                if compiled.matches(path):
                    skipped.add(reason, path)
            elif compiled.may_match_below(directory):
                skipped.add(reason, directory)

        start = self._base + self._prefix
        rules = rules_for(self._context.root, start.rstrip("/"), ignore=self._ignore)
        check = stopper(self._context)
        for path, kind in walk(start, self._prefix, rules, left_out, check, compiled.may_match_below):
            if kind in ("file", "link") and compiled.matches(path):
                reason = "file" if kind == "file" else target_kind(self._base + path)
                if reason == "file":
                    yield path
                else:
                    skipped.add(reason, path)

    def _key(self, path: str) -> Tuple[int, int, str]:
        try:
            changed = os.stat(self._base + path).st_mtime_ns
        except OSError:
            changed = 0  # gone since, or too long a path: then by path
        if changed > self._recent_after:
            return 0, -changed, path
        return 1, 0, path
