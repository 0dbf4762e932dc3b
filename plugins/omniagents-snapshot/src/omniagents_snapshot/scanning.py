"""Looking at a workspace: one scan, with what is not worth keeping passed over inside the environment."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from omniagents.listing import Listing
from omniagents.records import FileInfo, LeftOut, Scan
from omniagents_snapshot.base import Base
from omniagents_snapshot.exclusion import IGNORE_FILE, keeping, venvs_without_lock
from omniagents_snapshot.model import path_order
from omniagents_snapshot.validation import path_problem

if TYPE_CHECKING:
    from omniagents.workspace import Workspace

__all__ = ["scan_workspace"]


def scan_workspace(workspace: Workspace, base: Base, leave_out: Sequence[str]) -> Scan:
    """The workspace as it is, without what is left out; entries in the order of a tree.

    One request. A second one where a virtual environment turns out to have no lock file, and so
    must be kept, or to have one now; ``base`` remembers it for the next time.
    """
    scan = workspace.scan(exclude=[*leave_out, *keeping(base.kept_venvs)], exclude_file=IGNORE_FILE)
    venvs = [item.path for item in scan.left_out] + list(base.kept_venvs)
    kept = venvs_without_lock(venvs, (entry.path for entry in scan.entries))
    if kept != base.kept_venvs:
        base.kept_venvs = kept
        scan = workspace.scan(exclude=[*leave_out, *keeping(kept)], exclude_file=IGNORE_FILE)
    return _ordered(scan)


def _ordered(scan: Scan) -> Scan:
    """Entries in the order of a tree, so that equal workspaces make equal trees; impossible ones left out."""
    if _is_sound(scan):
        return scan
    left_out = list(scan.left_out)
    entries: list[FileInfo] = []
    for entry in scan.entries:
        problem = path_problem(entry.path)
        if problem is None:
            entries.append(entry)
        else:
            left_out.append(LeftOut(entry.path, f"its path {problem}"))
    entries.sort(key=lambda entry: path_order(entry.path))
    return Scan(Listing(entries), left_out, scan.started_ns)


def _is_sound(scan: Scan) -> bool:
    """Whether it is in order and has no impossible path, as every scan of an honest environment."""
    previous = b""
    for entry in scan.entries:
        if path_problem(entry.path):
            return False
        order = path_order(entry.path)
        if order < previous:
            return False
        previous = order
    return True
