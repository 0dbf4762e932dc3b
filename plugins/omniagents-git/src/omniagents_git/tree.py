"""A tree as a value: how two differ, and what one may hold. An entry's ``content`` has the ids of its blobs."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from omniagents.errors import StateQuotaError
from omniagents.records import FileInfo
from omniagents_snapshot.model import Entry, EntryKind, decode_path, encode_path
from omniagents_snapshot.validation import path_problem

__all__ = [
    "Entry",
    "EntryKind",
    "Quota",
    "check_entries",
    "count_changed",
    "decode_path",
    "encode_path",
    "entry_of",
    "kept_mode",
    "order_of",
]


def order_of(path: str) -> list[bytes]:
    """What paths are sorted by: parents before children, names by their bytes."""
    return encode_path(path).split(b"/")


def kept_mode(info: FileInfo) -> int:
    """The permission bits that are kept: no set-id bits, which a workspace must not get from a store."""
    return info.mode & (0o3777 if info.kind == "directory" else 0o1777)


def entry_of(info: FileInfo) -> Entry:
    """The entry of what a scan saw; of a file, still without content."""
    if info.kind == "link":
        return Entry(info.path, "link", 0, info.mtime_ns, target=info.target or "")
    return Entry(info.path, "directory" if info.kind == "directory" else "file", kept_mode(info), info.mtime_ns)


def count_changed(before: Iterable[Entry], after: Iterable[Entry]) -> int:
    """How many paths were added, changed or removed; the time of a directory alone is no change."""
    old, new = set(map(_comparable, before)), set(map(_comparable, after))
    return len({entry.path for entry in old ^ new})


def _comparable(entry: Entry) -> Entry:
    return entry._replace(mtime_ns=0) if entry.kind == "directory" else entry


@dataclass(frozen=True)
class Quota:
    """Limits of one project: bytes of file content, and number of entries; None for no limit."""

    max_bytes: int | None
    max_files: int | None

    def check(self, project_id: str, size: int, entries: int) -> None:
        """Raises StateQuotaError if this is over a limit."""
        if self.max_bytes is not None and size > self.max_bytes:
            raise _over(project_id, f"{size:,} bytes", f"{self.max_bytes:,} (max_bytes)")
        if self.max_files is not None and entries > self.max_files:
            raise _over(project_id, f"{entries:,} files, directories and links", f"{self.max_files:,} (max_files)")


def _over(project_id: str, what: str, limit: str) -> StateQuotaError:
    return StateQuotaError(
        f"project {project_id!r} holds at least {what}, more than the limit of {limit}; remove some, list them in "
        ".omniagentsignore, or raise the limit"
    )


def check_entries(entries: Sequence[Entry]) -> None:
    """Check a tree that anybody may have written; parents come before children.

    Raises:
        ValueError: A path leaves the workspace, comes twice, or is not below a directory; a mode, time or target
            is impossible.
    """
    kinds: dict[str, str] = {}
    for entry in entries:
        parent = entry.path.rpartition("/")[0]
        problem = path_problem(entry.path)
        if problem is None and entry.path in kinds:
            problem = "comes twice"
        elif problem is None and parent and kinds.get(parent) != "directory":
            problem = "is not below a directory"
        elif problem is None and not -(1 << 63) <= entry.mtime_ns < 1 << 63:
            problem = f"has the impossible time {entry.mtime_ns}"
        elif problem is None and entry.kind == "link" and (not entry.target or "\0" in entry.target):
            problem = "is a link to an impossible target"
        if problem is not None:
            raise ValueError(f"the path {entry.path!r:.300} {problem}")
        kinds[entry.path] = entry.kind
