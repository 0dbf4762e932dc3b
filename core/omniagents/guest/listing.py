"""What ``list_directory`` does inside."""

from __future__ import annotations

import errno
import heapq
import os
import stat
from typing import Any, Callable, Dict, Iterator, List, Sequence, Tuple

from .context import Context, Reply
from .failure import GuestFailure, failure_of_os_error
from .globbing import include_filter
from .hints import shell_word, shown, tool_call
from .ignore import Rules
from .naming import resolve_shown
from .opening import kind_of
from .root import Root
from .similar import not_found
from .walk import prefix_of, rules_for, stopper

__all__ = ["MAX_ENTRIES", "list_directory", "require_directory"]

MAX_ENTRIES = 1_000
_NAMES_KEPT = 5


def list_directory(context: Context, arguments: Dict[str, Any]) -> Reply:
    """Operation: what one directory holds, directories first, then by code point.

    Args:
        arguments: ``path`` (default ``.``); ``ignore``, globs on names; ``respect_git_ignore`` (true).

    Returns:
        ``path``; ``entries``, at most 1,000, each ``name``, ``kind`` (see ``opening.kind_of``), ``bytes`` (of
        files), ``target`` and ``is_broken`` (of links), null where it does not apply; ``total``; ``skipped`` by
        reason (``ignored`` by ``.gitignore``, ``excluded`` by ``ignore``).

    Raises:
        GuestFailure: As ``require_directory``; ``PATTERN_TOO_BROAD`` or ``INVALID_ARGUMENTS`` for a glob.
        CallCancelled: The host gave the call up.
    """
    root, path = context.root, arguments.get("path") or "."
    absolute = require_directory(root, path)
    respects_git_ignore = bool(arguments.get("respect_git_ignore", True))
    sieve = _Sieve(root, absolute, arguments.get("ignore") or (), respects_git_ignore)
    # However many entries there are, never more than those that are shown are held.
    first = heapq.nsmallest(MAX_ENTRIES, sieve.kept(_scanned(absolute, path), stopper(context)))
    entries = [_described(absolute, name) for _, name in first]
    reply = {"path": root.relative(absolute), "entries": entries, "total": sieve.total, "skipped": sieve.skipped}
    return reply, b""


def require_directory(root: Root, path: str) -> str:
    """Resolve what a caller named as a directory to list.

    Raises:
        GuestFailure: ``FILE_NOT_FOUND`` (names similar directories), ``NOT_A_DIRECTORY``, ``PERMISSION_DENIED``,
            ``PATH_OUTSIDE_WORKSPACE``.
    """
    absolute = resolve_shown(root, path)
    try:
        mode = os.lstat(absolute).st_mode
    except FileNotFoundError:
        raise not_found(root, path, absolute, directories=True) from None
    except OSError as error:
        raise failure_of_os_error(error, path) from error
    relative = root.relative(absolute)
    if not stat.S_ISDIR(mode):
        cure = ". Read it with " + tool_call("read_file", absolute_path=relative) if stat.S_ISREG(mode) else ""
        message = "%s is a %s, not a directory%s" % (shown(relative), kind_of(mode), cure)
        raise GuestFailure("NOT_A_DIRECTORY", message, path=path, error_number=errno.ENOTDIR)
    # As for files: what nobody may read is refused to root as well.
    if not mode & 0o444 or not os.access(absolute, os.R_OK | os.X_OK):
        command = tool_call("run_shell_command", command="ls -ld " + shell_word(relative))
        message = "%s cannot be listed: permission denied. See its owner and mode with %s" % (shown(relative), command)
        raise GuestFailure("PERMISSION_DENIED", message, path=path, error_number=errno.EACCES)
    return absolute


def _scanned(absolute: str, path: str) -> Iterator[Tuple[str, bool]]:
    """Name of every entry, and whether it is a directory."""
    try:
        with os.scandir(absolute) as entries:
            for entry in entries:
                yield entry.name, entry.is_dir(follow_symlinks=False)
    except OSError as error:
        raise failure_of_os_error(error, path) from error


class _Sieve:
    """Tells entries that are listed from those passed over, and counts both."""

    def __init__(self, root: Root, absolute: str, ignore: Sequence[str], respects_git_ignore: bool) -> None:
        self._prefix = prefix_of(root, absolute)
        rules = rules_for(root, absolute, ignore=respects_git_ignore).entering(self._prefix, absolute)
        # A listing shows .git, node_modules and the like: it says what is there, and does not go in.
        self._rules = Rules(rules.levels)
        self._excludes: List[Callable[[str], bool]] = [
            include_filter(root, pattern.rstrip("/") or pattern, self._prefix, True) for pattern in ignore
        ]
        self.total = 0
        self.skipped: Dict[str, Dict[str, Any]] = {}

    def kept(self, entries: Iterator[Tuple[str, bool]], check: Callable[[], None]) -> Iterator[Tuple[bool, str]]:
        """The listed entries as keys of their order."""
        for name, is_directory in entries:
            check()
            reason = self._reason(name, is_directory)
            if reason is None:
                self.total += 1
                yield not is_directory, name
            else:
                self._skip(reason, name + "/" if is_directory else name)

    def _reason(self, name: str, is_directory: bool) -> str | None:
        path = self._prefix + name
        if any(excludes(path) for excludes in self._excludes):
            return "excluded"
        return "ignored" if self._rules.ignores(name, path, is_directory) else None

    def _skip(self, reason: str, name: str) -> None:
        tally = self.skipped.setdefault(reason, {"count": 0, "names": []})
        tally["count"] += 1
        # The system's order of entries is no order: the first five by code point.
        tally["names"] = sorted([*tally["names"], name])[:_NAMES_KEPT]


def _described(directory: str, name: str) -> Dict[str, Any]:
    absolute = directory.rstrip("/") + "/" + name
    entry: Dict[str, Any] = {"name": name, "kind": "unreadable", "bytes": None, "target": None, "is_broken": None}
    try:
        status = os.lstat(absolute)
        entry["kind"] = kind_of(status.st_mode)
        if stat.S_ISREG(status.st_mode):
            entry["bytes"] = status.st_size
        elif stat.S_ISLNK(status.st_mode):
            entry.update(target=os.readlink(absolute), is_broken=not os.path.exists(absolute))
    except OSError:
        # Gone since, or not ours to look at: it is listed by its name, and the kind says so.
        return entry
    return entry
