"""What this plugin takes from ``omniagents-snapshot``: how a tree is described, compared and checked."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Protocol, cast

from omniagents.records import FileInfo, Scan
from omniagents.state import Snapshot
from omniagents_snapshot.chunking import split
from omniagents_snapshot.comparing import count_changed
from omniagents_snapshot.exclusion import DEFAULT_LEAVE_OUT
from omniagents_snapshot.model import Entry, EntryKind, Tree, decode_path, encode_path
from omniagents_snapshot.reading import entry_of, kept_mode
from omniagents_snapshot.restoring import Plan, make_plan, signature_if_imported
from omniagents_snapshot.saving import Quota
from omniagents_snapshot.scanning import scan_workspace
from omniagents_snapshot.statcache import Signature, StatCache, signature, signature_if_settled
from omniagents_snapshot.validation import check_entries, path_problem

if TYPE_CHECKING:
    from omniagents.workspace import Workspace

__all__ = [
    "DEFAULT_LEAVE_OUT",
    "Entry",
    "EntryKind",
    "KeptVenvs",
    "Plan",
    "Quota",
    "Signature",
    "StatCache",
    "check_entries",
    "count_changed",
    "decode_path",
    "encode_path",
    "entry_of",
    "kept_mode",
    "path_problem",
    "plan_for",
    "scan",
    "signature",
    "signature_if_imported",
    "signature_if_settled",
    "split",
]


class KeptVenvs(Protocol):
    """What a scan remembers for the next one."""

    kept_venvs: frozenset[str]


def scan(workspace: Workspace, memory: KeptVenvs, leave_out: Sequence[str]) -> Scan:
    """The workspace as it is, without what is left out; entries in the order of a tree."""
    return scan_workspace(workspace, cast(Any, memory), leave_out)


def plan_for(
    found: Scan, snapshot: Snapshot, entries: Sequence[Entry], has_content: Callable[[FileInfo, Entry], bool]
) -> Plan:
    """What makes a workspace equal to these entries."""
    return make_plan(found, Tree(snapshot, tuple(entries), {}), has_content)
