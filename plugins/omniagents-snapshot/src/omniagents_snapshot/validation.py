"""What a tree may say. Both a tree read from a store and a scan from an environment are hostile until checked here."""

from __future__ import annotations

from collections.abc import Iterable

from omniagents_snapshot.limits import PATH_MAX_BYTES, PATHS_MAX_BYTES
from omniagents_snapshot.model import Entry, encode_path

__all__ = ["check_entries", "path_problem"]


def path_problem(path: str) -> str | None:
    """Why this cannot be the path of an entry; None if it can."""
    try:
        raw = encode_path(path)
    except UnicodeEncodeError:
        return "is not a name a file can have"
    if len(raw) > PATH_MAX_BYTES:
        return f"is longer than {PATH_MAX_BYTES} bytes"
    if b"\0" in raw:
        return "has a NUL byte"
    if raw.startswith(b"/"):
        return "is absolute"
    if any(component in (b"", b".", b"..") for component in raw.split(b"/")):
        return "has an empty, '.' or '..' component"
    return None


def check_entries(entries: Iterable[Entry]) -> None:
    """Check what can be checked without the chunk table.

    Raises:
        ValueError: A path leaves the workspace, comes twice, or is not below a directory listed before it;
            a mode, size or link target is impossible.
    """
    kinds: dict[str, str] = {}
    total = 0
    for entry in entries:
        problem = path_problem(entry.path) or _entry_problem(entry, kinds)
        if problem:
            raise ValueError(f"the path {entry.path!r:.300} {problem}")
        total += len(entry.path)
        if total > PATHS_MAX_BYTES:
            raise ValueError(f"the paths add up to more than {PATHS_MAX_BYTES} bytes")
        kinds[entry.path] = entry.kind


def _entry_problem(entry: Entry, kinds: dict[str, str]) -> str | None:
    parent = entry.path.rpartition("/")[0]
    if entry.path in kinds:
        return "comes twice"
    if parent and kinds.get(parent) != "directory":
        return "is not below a directory"
    if not 0 <= entry.mode <= 0o7777:
        return f"has the impossible mode {entry.mode}"
    if not -(1 << 63) <= entry.mtime_ns < 1 << 63:
        return f"has the impossible time {entry.mtime_ns}"
    if entry.kind == "link":
        return None if entry.target and "\0" not in entry.target else "is a link to an impossible target"
    if entry.target or (entry.kind == "directory" and (entry.content or entry.size)):
        return f"is a {entry.kind} with the parts of another kind"
    return f"has the impossible size {entry.size}" if entry.size < 0 else None
