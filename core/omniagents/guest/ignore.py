"""Git's ignore rules, from ``.gitignore`` files or from plain lists of patterns.

Source: gitignore(5), and dir.c and wildmatch.c of git where the manual is silent. Git compares
bytes, so names are handed around here as *byte strings*: text in which every character stands for
one byte (``byte_string``). For an ASCII name that is the name itself.

``Patterns`` is one compiled list. ``Rules`` stacks the lists that hold in one directory; a walk
asks it about every entry and never descends into an ignored directory, which is why nothing below
one can be included again.
"""

from __future__ import annotations

import functools
import itertools
import os
import re
import stat
from typing import Any, Callable, Dict, Iterable, List, NamedTuple, Sequence, Tuple

from .wildcards import DEEP, DEEPER, REST, STAR, depth_of, expression, literal, parse_class

__all__ = ["DEFAULT_NAMES", "Patterns", "Rules", "byte_string", "load_patterns", "parse_lines"]

#: Left out by name in any directory, unless the caller asks for everything.
DEFAULT_NAMES = frozenset(
    (".git", "node_modules", "__pycache__", ".venv", ".mypy_cache", ".pytest_cache", ".ruff_cache", ".tox")
)

_SPECIAL = re.compile(r"[*?\[\\]")
_MAX_FILE_BYTES = 4 << 20


def byte_string(name: str) -> str:
    """``name`` with one character for each of its bytes."""
    return name if name.isascii() else os.fsencode(name).decode("latin-1")


class _Pattern(NamedTuple):
    """One line: ``tokens`` match the name (``is_name``) or the path below the list's directory."""

    text: str
    is_negated: bool
    is_directory_only: bool
    is_name: bool
    tokens: Tuple[str, ...]


def parse_lines(content: bytes) -> List[str]:
    """The pattern lines of a gitignore file, as byte strings, without comments and trailing spaces."""
    if content.startswith(b"\xef\xbb\xbf"):
        content = content[3:]
    lines = []
    for line in content.decode("latin-1").split("\n"):
        if line and not line.startswith("#"):
            lines.append(_without_trailing_spaces((line[:-1] if line.endswith("\r") else line).split("\0")[0]))
    return [line for line in lines if line]


def _without_trailing_spaces(line: str) -> str:
    kept, at = 0, 0
    while at < len(line):
        if line[at] == "\\":
            at += 1
            if at >= len(line):
                return line
            kept = at + 1
        elif line[at] != " ":
            kept = at + 1
        at += 1
    return line[:kept]


def _parse(line: str) -> _Pattern | None:
    """None for a pattern that can match nothing."""
    body = line[1:] if line.startswith("!") else line
    is_directory_only = body.endswith("/")
    if is_directory_only:
        body = body[:-1]
    is_name = "/" not in body
    tokens = _tokens(body[1:] if body.startswith("/") else body, is_name)
    if not tokens:
        return None
    return _Pattern(line, line.startswith("!"), is_directory_only, is_name, tuple(tokens))


def _tokens(body: str, is_name: bool) -> List[str] | None:
    # Git compares the text before the first special character by itself and matches the rest as a
    # pattern of its own, so that two stars there count as standing at the beginning.
    special = _SPECIAL.search(body)
    beginning = special.start() if special else 0
    tokens: List[str] = []
    at = 0
    while at < len(body):
        character = body[at]
        if character == "*":
            token, at = _stars(body, at, is_name, beginning)
            tokens.append(token)
            continue
        if character == "[":
            parsed = parse_class(body, at)
            if parsed is None:
                return None
            tokens.append(parsed.token)
            at = parsed.end
            continue
        if character == "\\":
            at += 1
            if at >= len(body):
                return None
            character = body[at]
            tokens.append(literal(character))
        else:
            tokens.append("[^/]" if character == "?" else literal(character))
        at += 1
    return tokens


def _stars(body: str, at: int, is_name: bool, beginning: int) -> Tuple[str, int]:
    end = at
    while body[end : end + 1] == "*":
        end += 1
    if is_name or end - at == 1 or not (at == beginning or body[at - 1 : at] in ("", "/")):
        return STAR, end
    if end == len(body):
        return REST, end
    if body[end] == "/":
        return DEEP, end + 1
    return (DEEPER, end + 2) if body[end : end + 2] == "\\/" else (STAR, end)


_Matcher = Callable[[str], Any]


def _nothing(_text: str) -> None:
    return None


class _Run:
    """Consecutive patterns of one polarity, for directories or for everything else."""

    def __init__(self, patterns: Sequence[_Pattern], is_negated: bool) -> None:
        self.is_negated = is_negated
        suffixes: List[str] = []
        names: List[str] = []
        hard_names: List[_Pattern] = []
        by_depth: Dict[int | None, List[_Pattern]] = {}
        for pattern in patterns:
            if not pattern.is_name:
                by_depth.setdefault(depth_of(pattern.tokens), []).append(pattern)
            elif _is_plain(pattern.tokens):
                names.append(_plain(pattern.tokens))
            elif pattern.tokens[0] == STAR and _is_plain(pattern.tokens[1:]):
                suffixes.append(_plain(pattern.tokens[1:]))
            else:
                hard_names.append(pattern)
        self.names = frozenset(names)
        self.suffixes = tuple(suffixes)
        self.hard_name = _joined(hard_names)
        self.any_depth = _joined(by_depth.pop(None, []))
        self.at_depth = {depth: _joined(group) for depth, group in by_depth.items()}

    def matches(self, name: str, path: str) -> bool:
        return bool(
            name in self.names
            or name.endswith(self.suffixes)
            or self.hard_name(name)
            or self.any_depth(path)
            or (self.at_depth and self.at_depth.get(path.count("/"), _nothing)(path))
        )


def _is_plain(tokens: Sequence[str]) -> bool:
    return all((len(token) == 1 and token != STAR) or (len(token) == 2 and token[0] == "\\") for token in tokens)


def _plain(tokens: Sequence[str]) -> str:
    return "".join(token[-1] for token in tokens)


def _joined(patterns: Sequence[_Pattern]) -> _Matcher:
    if not patterns:
        return _nothing
    groups = itertools.count()
    return re.compile("|".join(expression(pattern.tokens, groups) for pattern in patterns), re.DOTALL).match


class Patterns:
    """A compiled list of gitignore patterns; the last one that matches decides.

    Args:
        lines: Patterns as byte strings. Take them from ``parse_lines``, or see ``Patterns.of``.
    """

    def __init__(self, lines: Iterable[str]) -> None:
        self._patterns = [pattern for pattern in map(_parse, lines) if pattern is not None]
        self._for_directories = _runs(self._patterns)
        self._for_files = _runs([pattern for pattern in self._patterns if not pattern.is_directory_only])

    @classmethod
    def of(cls, patterns: Iterable[str]) -> Patterns:
        """Compile patterns written as ordinary text; comments and blank ones count for nothing."""
        return cls(line for pattern in patterns for line in parse_lines(os.fsencode(pattern)))

    def decide(self, name: str, path: str, is_directory: bool) -> bool | None:
        """True if the entry is ignored, False if it is included again, None if no pattern matches.

        Args:
            name: The last part of ``path``; a byte string.
            path: Relative to the directory these patterns belong to; a byte string.
            is_directory: A link to a directory is none.
        """
        for run in self._for_directories if is_directory else self._for_files:
            if run.matches(name, path):
                return not run.is_negated
        return None

    def explain(self, name: str, path: str, is_directory: bool) -> str | None:
        """The text of the pattern that decided; slower than ``decide``."""
        for pattern in reversed(self._patterns):
            if is_directory or not pattern.is_directory_only:
                subject = name if pattern.is_name else path
                if re.compile(expression(pattern.tokens, itertools.count()), re.DOTALL).match(subject):
                    return pattern.text.encode("latin-1").decode("utf-8", "replace")
        return None


def _runs(patterns: Sequence[_Pattern]) -> List[_Run]:
    grouped = itertools.groupby(reversed(patterns), key=lambda pattern: pattern.is_negated)
    return [_Run(list(group), is_negated) for is_negated, group in grouped]


@functools.lru_cache(maxsize=256)
def _compiled(content: bytes) -> Patterns:
    return Patterns(parse_lines(content))


def load_patterns(path: str) -> Patterns | None:
    """The patterns of a gitignore file; None if it cannot be read, is empty, a link (as in git) or over 4 MiB."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        # Git too goes on without a file it cannot open.
        return None
    with open(descriptor, "rb") as file:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode) or not 0 < status.st_size <= _MAX_FILE_BYTES:
            return None
        return _compiled(file.read(_MAX_FILE_BYTES))


class Rules:
    """The ignore rules that hold in one directory of the workspace.

    Args:
        levels: Deepest first: a list, and how many characters of a path lie above its directory.
        default_names: Names ignored in any directory, whatever the patterns say.
        reads_gitignore: Whether directories below add their own ``.gitignore``.
        first: Levels that are asked before all others.
    """

    __slots__ = ("_all", "default_names", "first", "levels", "reads_gitignore")

    def __init__(
        self,
        levels: Tuple[Tuple[Patterns, int], ...] = (),
        default_names: frozenset[str] = frozenset(),
        reads_gitignore: bool = False,
        first: Tuple[Tuple[Patterns, int], ...] = (),
    ) -> None:
        self.levels = levels
        self.default_names = default_names
        self.reads_gitignore = reads_gitignore
        self.first = first
        self._all = first + levels

    def entering(self, directory: str, absolute: str) -> Rules:
        """The rules for the entries of a directory that may hold a ``.gitignore``.

        Args:
            directory: Relative to the workspace: ``""``, or ends with a slash.
            absolute: The same directory's absolute path.
        """
        if not self.reads_gitignore:
            return self
        patterns = load_patterns(absolute.rstrip("/") + "/.gitignore")
        if patterns is None:
            return self
        level = (patterns, len(byte_string(directory)))
        return Rules((level, *self.levels), self.default_names, self.reads_gitignore, self.first)

    def ignores(self, name: str, path: str, is_directory: bool) -> bool:
        """Whether an entry is left out; ``path`` is relative to the workspace."""
        if name in self.default_names:
            return True
        if not self._all:
            return False
        name, path = byte_string(name), byte_string(path)
        for patterns, above in self._all:
            verdict = patterns.decide(name, path[above:], is_directory)
            if verdict is not None:
                return verdict
        return False

    def reason(self, name: str, path: str, is_directory: bool) -> str:
        """The pattern or the default name that leaves an entry out."""
        if name not in self.default_names:
            bytes_name, bytes_path = byte_string(name), byte_string(path)
            for patterns, above in self._all:
                text = patterns.explain(bytes_name, bytes_path[above:], is_directory)
                if text is not None:
                    return text
        return name
