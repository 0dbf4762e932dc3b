"""Which files ``read_many_files`` was asked for: by name, by directory, by glob."""

from __future__ import annotations

import os
import re
from typing import Any, Callable, Dict, Iterator, List, NamedTuple, Sequence, Set, Tuple

from .context import Context
from .failure import GuestFailure
from .globbing import Glob, anchored, expand, include_filter
from .hints import quoted, shown
from .ignore import Patterns, Rules, byte_string
from .media import EXTENSIONS
from .naming import resolve_shown
from .similar import not_found
from .walk import Skipped, prefix_of, rules_for, stopper, target_kind, walk

__all__ = ["NO_ROOM", "Chosen", "Selection", "select"]

NO_ROOM = "without room"

# Far more than one result can show; beyond it files are only counted.
_MAX_FILES = 20_000
_MAX_NOTED = 50_000
_WILDCARDS = re.compile(r"[*?\[{]")


class Chosen(NamedTuple):
    """Attributes: ``path`` as it is shown; ``is_named`` if the caller named the very file."""

    path: str
    is_named: bool


class Selection:
    """What was asked for.

    Attributes:
        skipped: What was found and passed over.
        problems: For each thing the caller named that cannot be had, the refusal.
    """

    def __init__(self) -> None:
        self.skipped = Skipped()
        self.problems: List[GuestFailure] = []
        self._files: Dict[str, Chosen] = {}
        self._noted: Set[Tuple[str, str]] = set()

    def files(self) -> List[Chosen]:
        """Each file once, by code point of its path."""
        return sorted(self._files.values())

    def add(self, resolved: str, chosen: Chosen) -> None:
        """Choose a file; of several names for one file the named one is kept, else its own, else the first."""
        known = self._files.get(resolved)
        if known is None and len(self._files) >= _MAX_FILES:
            self.skip(NO_ROOM, chosen.path)
        elif known is None or _rank(chosen, resolved) < _rank(known, resolved):
            self._files[resolved] = chosen

    def skip(self, reason: str, path: str) -> None:
        """Count a path, once."""
        if (reason, path) not in self._noted:
            self.skipped.add(reason, path)
            if len(self._noted) < _MAX_NOTED:
                self._noted.add((reason, path))


def _rank(chosen: Chosen, resolved: str) -> Tuple[bool, bool, str]:
    return not chosen.is_named, not resolved.endswith("/" + chosen.path), chosen.path


def select(context: Context, arguments: Dict[str, Any]) -> Tuple[Selection, Callable[[str], bool]]:
    """Find the files, and how to tell whether an image or PDF among them was asked for.

    Args:
        arguments: ``paths``; ``include``, ``exclude``, ``recursive`` and ``use_default_excludes``.

    Raises:
        GuestFailure: ``PATTERN_TOO_BROAD``, ``INVALID_ARGUMENTS`` or ``PATH_OUTSIDE_WORKSPACE`` for a pattern in
            ``include`` or ``exclude``. What is wrong with one of ``paths`` is a problem of the selection.
        CallCancelled: The host gave the call up.
    """
    search = _Search(context, arguments)
    paths = list(dict.fromkeys(arguments["paths"]))
    for path in paths:
        try:
            search.take(path)
        except GuestFailure as failure:
            search.selection.problems.append(failure)
    return search.selection, _asks_for_media([*paths, *(arguments.get("include") or ())])


class _Search:
    def __init__(self, context: Context, arguments: Dict[str, Any]) -> None:
        self._context = context
        self._root = context.root
        self._base = context.root.path.rstrip("/") + "/"
        self._is_recursive = bool(arguments.get("recursive", True))
        self._ignores = bool(arguments.get("use_default_excludes", True))
        self._includes = [include_filter(self._root, pattern, "") for pattern in arguments.get("include") or ()]
        self._exclude = [one for pattern in arguments.get("exclude") or () for one in expand(pattern)]
        self._excluded = Patterns.of(self._exclude)
        self.selection = Selection()

    def take(self, path: str) -> None:
        """Choose what one of the caller's paths means."""
        try:
            resolved = resolve_shown(self._root, path)
        except GuestFailure as failure:
            # A pattern such as a.txt/* or */../.. is judged as a pattern.
            if not _WILDCARDS.search(path) or failure.code == "PATH_OUTSIDE_WORKSPACE":
                raise
            return self._take_glob(path)
        if os.path.isdir(resolved):
            return self._take_directory(resolved)
        if os.path.lexists(resolved):
            return self._take_file(resolved)
        if _WILDCARDS.search(path):
            return self._take_glob(path)
        raise not_found(self._root, path, resolved)

    def _take_file(self, resolved: str) -> None:
        path = self._root.relative(resolved)
        if self._is_excluded(path):
            self.selection.skip("excluded", path)
        else:
            self.selection.add(resolved, Chosen(path, True))

    def _take_directory(self, resolved: str) -> None:
        if not os.access(resolved, os.R_OK | os.X_OK):
            message = "%s cannot be listed: permission denied" % shown(self._root.relative(resolved))
            raise GuestFailure("PERMISSION_DENIED", message)
        prefix = prefix_of(self._root, resolved)
        for path, kind in self._walk(prefix, lambda directory: self._is_recursive, lambda path: True):
            if kind != "directory":
                self._found(path, kind)
            elif not self._is_recursive:
                self.selection.skip("directories not entered", path + "/")

    def _take_glob(self, pattern: str) -> None:
        compiled = Glob(expand(anchored(self._root, pattern, "")), False)
        found = 0
        for path, kind in self._walk("", compiled.may_match_below, compiled.matches):
            if kind != "directory" and compiled.matches(path):
                found += 1
                self._found(path, kind)
        if not found:
            raise GuestFailure("FILE_NOT_FOUND", "No file matches the pattern %s" % quoted(pattern))

    def _walk(
        self, prefix: str, enters: Callable[[str], bool], matches: Callable[[str], Any]
    ) -> Iterator[Tuple[str, str]]:
        def left_out(path: str, kind: str, reason: str, _rules: Rules) -> None:
            is_directory = kind == "directory"
            shown_path = path.rstrip("/") + "/" if is_directory else path
            if enters(shown_path) if is_directory else matches(path):
                is_ours = reason == "ignored" and self._is_excluded(shown_path)
                self.selection.skip("excluded" if is_ours else reason, shown_path)

        top = (self._base + prefix).rstrip("/") or "/"
        rules = rules_for(self._root, top, ignore=self._ignores, extra_exclude=self._exclude)
        return walk(top, prefix, rules, left_out, stopper(self._context), enters)

    def _found(self, path: str, kind: str) -> None:
        if self._includes and not any(includes(path) for includes in self._includes):
            self.selection.skip("not included", path)
            return
        reason = "special files" if kind == "other" else target_kind(self._base + path) if kind == "link" else "file"
        if reason != "file":
            self.selection.skip(reason, path)
            return
        try:
            resolved = self._root.resolve(path) if kind == "link" else self._base + path
        except GuestFailure as failure:
            self.selection.skip(reason_of(failure), path)
            return
        self.selection.add(resolved, Chosen(path, False))

    def _is_excluded(self, path: str) -> bool:
        """Whether ``exclude`` names a path, or a directory above it."""
        parts = path.rstrip("/").split("/")
        for count in range(1, len(parts) + 1):
            above = byte_string("/".join(parts[:count]))
            is_directory = count < len(parts) or path.endswith("/")
            if self._excluded.decide(above.rpartition("/")[2], above, is_directory):
                return True
        return False


def reason_of(failure: GuestFailure) -> str:
    """The reason under which a found file that could not be read is counted."""
    return {
        "PATH_OUTSIDE_WORKSPACE": "outside the workspace",
        "BINARY_FILE": "binary",
        "FILE_TOO_LARGE": "too large",
        "FILE_NOT_FOUND": "gone since",
        "NOT_A_REGULAR_FILE": "special files",
    }.get(failure.code, "unreadable")


def _asks_for_media(patterns: Sequence[str]) -> Callable[[str], bool]:
    """Whether a found image or PDF is asked for: by its extension, or by its name without one."""
    stems: Set[str] = set()
    extensions: Set[str] = set()
    for pattern in patterns:
        try:
            alternatives = expand(pattern.lower())
        except GuestFailure:
            # It is reported where it is used.
            continue
        for stem, extension in (os.path.splitext(os.path.basename(one)) for one in alternatives):
            stems.add(stem)
            extensions.add(extension)

    def asked(path: str) -> bool:
        stem, extension = os.path.splitext(os.path.basename(path).lower())
        return stem in stems or (extension in EXTENSIONS and extension in extensions)

    return asked
