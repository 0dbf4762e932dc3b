"""Looking at a workspace, and what makes it equal to a tree."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from omniagents.records import FileInfo, LeftOut, Scan
from omniagents_git.base import Base
from omniagents_git.tree import Entry, kept_mode, order_of
from omniagents_snapshot.exclusion import IGNORE_FILE, keeping, venvs_without_lock
from omniagents_snapshot.validation import path_problem

if TYPE_CHECKING:
    from omniagents.workspace import Workspace

__all__ = ["Plan", "look", "make_plan"]

# A scan lists at most so many left-out paths; with more there may be one below any directory.
_LEFT_OUT_LISTED = 10_000
# An environment may make and remove lock files for as long as it likes.
_LOOKS = 3


def look(workspace: Workspace, base: Base, leave_out: Sequence[str]) -> Scan:
    """The workspace without what is left out, in the order of a tree.

    One request; another one where a virtual environment turns out to have a lock file to rebuild it, or no more.
    ``base`` remembers which have none.
    """
    for _ in range(_LOOKS):
        kept = base.kept_venvs
        found = workspace.scan(exclude=[*leave_out, *keeping(kept)], exclude_file=IGNORE_FILE)
        candidates = [left.path for left in found.left_out] + sorted(kept)
        base.kept_venvs = venvs_without_lock(candidates, (info.path for info in found.entries))
        if base.kept_venvs == kept:
            break
    problems = {info.path: problem for info in found.entries if (problem := path_problem(info.path))}
    entries = sorted(
        (info for info in found.entries if info.path not in problems), key=lambda info: order_of(info.path)
    )
    impossible = [LeftOut(path, f"its path {problem}") for path, problem in problems.items()]
    return Scan(entries, [*found.left_out, *impossible], found.started_ns)


@dataclass(frozen=True)
class Plan:
    """What to do.

    Attributes:
        remove: Paths; nothing below one of them is listed.
        write: Entries to create or replace, parents first.
        keep: Paths of files that are as they should be.
    """

    remove: list[str]
    write: list[Entry]
    keep: list[str]


def make_plan(found: Scan, entries: Sequence[Entry], has_content: Callable[[FileInfo, Entry], bool]) -> Plan:
    """Compare a workspace with a tree; what a look left out stays unless the tree has something in its place.

    Args:
        has_content: Whether a file is known to hold what it should.
    """
    wanted = {entry.path: entry for entry in entries}
    current = {info.path: info for info in found.entries}
    remove = _surplus(found, wanted)
    write = {entry.path for entry in entries if not _is_same(current.get(entry.path), entry, has_content)}
    # Writing and removing move the time of the directory it happens in.
    moved = {path.rpartition("/")[0] for path in remove} | {
        path.rpartition("/")[0] for path in write if not _stays_directory(current.get(path), wanted[path])
    }
    write |= {path for path in moved if path in wanted}
    return Plan(
        remove,
        [entry for entry in entries if entry.path in write],
        [entry.path for entry in entries if entry.kind == "file" and entry.path not in write],
    )


def _surplus(found: Scan, wanted: dict[str, Entry]) -> list[str]:
    """What goes: what the tree has not, and directories in whose place it has something else."""
    stays = [left.path for left in found.left_out] + [info.path for info in found.entries if info.kind == "other"]
    leading = _above(stays)
    surplus: list[str] = []
    below = "/"  # no path begins with this
    for info in found.entries:
        if info.path.startswith(below):
            continue
        target = wanted.get(info.path)
        if target is not None and (info.kind != "directory" or target.kind == "directory"):
            continue
        if target is None and info.kind == "other":
            continue
        is_directory = info.kind == "directory"
        if target is None and is_directory and (info.path in leading or len(found.left_out) >= _LEFT_OUT_LISTED):
            continue
        surplus.append(info.path)
        below = f"{info.path}/" if is_directory else below
    return surplus


def _above(paths: Iterable[str]) -> set[str]:
    leading: set[str] = set()
    for path in paths:
        parts = path.split("/")
        leading.update("/".join(parts[:count]) for count in range(1, len(parts)))
    return leading


def _stays_directory(info: FileInfo | None, entry: Entry) -> bool:
    return info is not None and info.kind == entry.kind == "directory"


def _is_same(info: FileInfo | None, entry: Entry, has_content: Callable[[FileInfo, Entry], bool]) -> bool:
    if info is None or info.kind != entry.kind or info.mtime_ns != entry.mtime_ns:
        return False
    if entry.kind == "link":
        return info.target == entry.target
    is_same_mode = kept_mode(info) == entry.mode
    return is_same_mode and (entry.kind == "directory" or (info.size == entry.size and has_content(info, entry)))
