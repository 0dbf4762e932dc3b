"""What a tree may say. Both a tree read from a store and a scan from an environment are hostile until checked here."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from omniagents_snapshot.limits import PATH_MAX_BYTES
from omniagents_snapshot.model import Entry, encode_path, path_order

__all__ = ["checked", "path_problem"]

_IMPOSSIBLE = frozenset((b"", b".", b".."))


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
    if not _IMPOSSIBLE.isdisjoint(raw.split(b"/")):
        return "has an empty, '.' or '..' component"
    return None


def checked(entries: Iterable[Entry]) -> Iterator[Entry]:
    """The same entries, each checked before it is passed on, as far as that needs no chunk table.

    Raises:
        ValueError: A path leaves the workspace, comes twice or out of order, or is not below a directory listed
            before it; a mode, size or link target is impossible.
    """
    above: list[str] = []
    previous = b""
    for entry in entries:
        problem = path_problem(entry.path)
        if problem is None:
            order = path_order(entry.path)
            problem = _order_problem(order, previous) or _parent_problem(entry.path, above) or _entry_problem(entry)
            previous = order
        if problem:
            raise ValueError(f"the path {entry.path!r:.300} {problem}")
        if entry.kind == "directory":
            above.append(entry.path)
        yield entry


def _order_problem(order: bytes, previous: bytes) -> str | None:
    if order > previous:
        return None
    return "comes twice" if order == previous else "is out of order"


def _parent_problem(path: str, above: list[str]) -> str | None:
    """``above`` has the directories that lead to where the tree walk is; it is brought up to date."""
    parent = path.rpartition("/")[0]
    while above and above[-1] != parent:
        above.pop()
    return "is not below a directory" if parent and not above else None


def _entry_problem(entry: Entry) -> str | None:
    if not 0 <= entry.mode <= 0o7777:
        return f"has the impossible mode {entry.mode}"
    if not -(1 << 63) <= entry.mtime_ns < 1 << 63:
        return f"has the impossible time {entry.mtime_ns}"
    if entry.kind == "link":
        if entry.content or entry.size:
            return "is a link with the parts of another kind"
        return None if entry.target and "\0" not in entry.target else "is a link to an impossible target"
    if entry.target or (entry.kind == "directory" and (entry.content or entry.size)):
        return f"is a {entry.kind} with the parts of another kind"
    return f"has the impossible size {entry.size}" if entry.size < 0 else None
