"""The workspace as the guest sees it: every path a caller names passes through ``Root.resolve``."""

from __future__ import annotations

import errno
import os
import stat
from typing import Tuple

from .failure import GuestFailure, failure_of_os_error

__all__ = [
    "LOGS_DIRECTORY",
    "PRIVATE_DIRECTORY",
    "TEMPORARY_PREFIX",
    "TEMPORARY_SUFFIX",
    "Root",
    "display",
    "is_passing",
]

# Where Omniagents keeps what belongs to the workspace: memory.json (kept in snapshots) and logs/ (not).
PRIVATE_DIRECTORY = ".omniagents"
LOGS_DIRECTORY = ".omniagents/logs"

# A guest that is killed in the middle of a write leaves a file with such a name behind.
TEMPORARY_PREFIX = ".omniagents-"
TEMPORARY_SUFFIX = ".tmp"

_MAX_LINKS = 40  # what Linux follows before ELOOP (path_resolution(7))


class Root:
    """A workspace directory.

    Attributes:
        path: Its absolute path with every link resolved.
        aliases: Other absolute prefixes that mean the same directory (``/workspace``, and the path as configured).
    """

    def __init__(self, path: str, aliases: Tuple[str, ...] = ("/workspace",)) -> None:
        self.path = os.path.realpath(path)
        configured = os.path.abspath(path)
        self.aliases = tuple(alias for alias in (configured, *aliases) if alias != self.path)

    def resolve(self, path: str, outside: bool = False, follow_last: bool = True) -> str:
        """Return the absolute path with every link resolved; the last parts need not exist.

        Args:
            path: Relative to the workspace, or absolute. Taken literally: no ``~``, no ``%20``, no globs.
            outside: Allow a result outside the workspace.
            follow_last: When false, a link in the last position is not followed (to remove or describe it).

        Raises:
            GuestFailure: ``PATH_OUTSIDE_WORKSPACE``; ``NOT_A_REGULAR_FILE`` for a loop of links;
                ``NOT_A_DIRECTORY`` where a file is used as a directory; ``INVALID_ARGUMENTS``.
        """
        if "\0" in path:
            raise GuestFailure("INVALID_ARGUMENTS", "a path cannot contain a NUL character: %r" % path, path=path)
        try:
            os.fsencode(path)
        except UnicodeEncodeError:
            raise GuestFailure("INVALID_ARGUMENTS", "no file can have the name %r" % path) from None
        resolved = self._walk(self._absolute(path), path, follow_last)
        if not outside and not self.contains(resolved):
            raise GuestFailure(
                "PATH_OUTSIDE_WORKSPACE",
                "%s is outside the workspace; use a path relative to the workspace, such as %r"
                % (display(path), os.path.basename(path.rstrip("/")) or "."),
                path=path,
            )
        return resolved

    def contains(self, resolved: str) -> bool:
        """Whether a resolved absolute path is the workspace or inside it, compared by path segments."""
        return resolved == self.path or resolved.startswith(self.path.rstrip("/") + "/")

    def relative(self, resolved: str) -> str:
        """The name shown to callers: relative to the workspace (``.`` for itself), absolute outside it."""
        if resolved == self.path:
            return "."
        return resolved[len(self.path.rstrip("/")) + 1 :] if self.contains(resolved) else resolved

    def strip_alias(self, path: str) -> str:
        """Turn an absolute path under the workspace's own name, or an alias of it, into a relative one."""
        for prefix in (self.path, *self.aliases):
            if path == prefix:
                return "."
            if path.startswith(prefix.rstrip("/") + "/"):
                return path[len(prefix.rstrip("/")) + 1 :].lstrip("/") or "."
        return path

    def _absolute(self, path: str) -> str:
        return os.path.join(self.path, self.strip_alias(path))

    def _walk(self, absolute: str, named: str, follow_last: bool) -> str:
        pending = [part for part in absolute.split("/") if part not in ("", ".")][::-1]
        current, links, missing = "/", 0, False
        while pending:
            part = pending.pop()
            if part == ".":
                continue
            if part == "..":
                # Parents of a resolved path hold no links, so the textual parent is the real one.
                current, missing = os.path.dirname(current), False
                continue
            candidate = current.rstrip("/") + "/" + part
            if missing or (not pending and not follow_last):
                current = candidate
                continue
            try:
                status = os.lstat(candidate)
            except FileNotFoundError:
                current, missing = candidate, True
                continue
            except OSError as error:
                raise failure_of_os_error(error, named) from error
            if stat.S_ISLNK(status.st_mode):
                links += 1
                if links > _MAX_LINKS:
                    raise GuestFailure(
                        "NOT_A_REGULAR_FILE",
                        "%s goes through a loop of symbolic links" % display(named),
                        path=named,
                        error_number=errno.ELOOP,
                    )
                target = os.readlink(candidate)
                if target.startswith("/"):
                    current = "/"
                pending.extend(piece for piece in reversed(target.split("/")) if piece)
                continue
            if pending and not stat.S_ISDIR(status.st_mode):
                raise GuestFailure(
                    "NOT_A_DIRECTORY",
                    "%s: %s is not a directory" % (display(named), display(self.relative(candidate))),
                    path=named,
                    error_number=errno.ENOTDIR,
                )
            current = candidate
        return current


def is_passing(path: str, name: str) -> bool:
    """Whether a path (relative to the workspace, with its last part) is Omniagents' own and not worth keeping."""
    if name.startswith(TEMPORARY_PREFIX):
        return name.endswith(TEMPORARY_SUFFIX)
    return path == LOGS_DIRECTORY


def display(path: str) -> str:
    """A path as one printable line: control characters and undecodable bytes as backslash escapes."""
    if path.isprintable():
        return path
    shown = []
    for character in path:
        code = ord(character)
        if 0xDC80 <= code <= 0xDCFF:  # surrogateescape: the byte itself
            shown.append("\\x%02x" % (code - 0xDC00))
        elif character.isprintable():
            shown.append(character)
        else:
            shown.append(character.encode("unicode_escape", "backslashreplace").decode("ascii"))
    return "".join(shown)
