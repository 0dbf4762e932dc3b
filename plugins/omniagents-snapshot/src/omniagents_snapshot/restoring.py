"""Making a workspace equal to a tree: decide what differs, then one request that removes and writes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

from omniagents.records import FileInfo, ImportEntry, Scan
from omniagents_snapshot.chunk_source import ChunkSource
from omniagents_snapshot.model import Entry, Tree
from omniagents_snapshot.reading import kept_mode
from omniagents_snapshot.repository import Repository
from omniagents_snapshot.statcache import RACY_NS, Signature, signature

if TYPE_CHECKING:
    from omniagents.workspace import Workspace

__all__ = ["Plan", "apply_plan", "make_plan", "signature_if_imported"]

# A scan lists at most so many left-out paths; with more there may be one below any directory.
_LEFT_OUT_LISTED = 10_000
_WORKERS = 4


@dataclass(frozen=True)
class Plan:
    """What to do.

    Attributes:
        remove: Paths; a directory goes with all that is in it, and nothing below it is listed.
        write: Entries to create or replace, parents first.
        keep: Paths of files that are as they should be.
    """

    remove: list[str]
    write: list[Entry]
    keep: list[str]


def make_plan(scan: Scan, tree: Tree, has_content: Callable[[FileInfo, Entry], bool]) -> Plan:
    """Compare a workspace with a tree. ``has_content`` says whether a file is known to hold what it should.

    What a scan left out stays, unless the tree itself has something in its place.
    """
    current = {info.path: info for info in scan.entries}
    wanted = {entry.path: entry for entry in tree.entries}
    remove = _removals(scan, wanted)
    differing = [entry for entry in tree.entries if not _is_same(current.get(entry.path), entry, has_content)]
    touched = _parents(remove) | _parents(entry.path for entry in differing if _makes_name(current, entry))
    to_write = {entry.path for entry in differing}
    write = [e for e in tree.entries if e.path in to_write or (e.kind == "directory" and e.path in touched)]
    keep = [entry.path for entry in tree.entries if entry.kind == "file" and entry.path not in to_write]
    return Plan(remove, write, keep)


def _removals(scan: Scan, wanted: dict[str, Entry]) -> list[str]:
    left_out = [item.path for item in scan.left_out] + [info.path for info in scan.entries if info.kind == "other"]
    protected = _ancestors(left_out)
    all_protected = len(scan.left_out) >= _LEFT_OUT_LISTED
    gone: set[str] = set()
    remove = []
    for info in scan.entries:
        target = wanted.get(info.path)
        is_replaced = target is not None and info.kind == "directory" and target.kind != "directory"
        if info.path.rpartition("/")[0] in gone:
            gone.add(info.path)
        elif is_replaced or (target is None and info.kind != "other"):
            if info.kind == "directory" and not is_replaced and (all_protected or info.path in protected):
                continue
            gone.add(info.path)
            remove.append(info.path)
    return remove


def _ancestors(paths: Sequence[str]) -> set[str]:
    found: set[str] = set()
    for path in paths:
        while (path := path.rpartition("/")[0]) and path not in found:
            found.add(path)
    return found


def _parents(paths: Sequence[str] | Iterator[str]) -> set[str]:
    return {path.rpartition("/")[0] for path in paths}


def _makes_name(current: dict[str, FileInfo], entry: Entry) -> bool:
    """Whether writing it changes the time of the directory it is in."""
    info = current.get(entry.path)
    return not (entry.kind == "directory" and info is not None and info.kind == "directory")


def _is_same(info: FileInfo | None, entry: Entry, has_content: Callable[[FileInfo, Entry], bool]) -> bool:
    if info is None or (info.kind, info.mtime_ns) != (entry.kind, entry.mtime_ns):
        return False
    if entry.kind == "link":
        return info.target == entry.target
    if kept_mode(info) != entry.mode:
        return False
    return entry.kind == "directory" or (info.size == entry.size and has_content(info, entry))


def apply_plan(repository: Repository, workspace: Workspace, tree: Tree, plan: Plan) -> Sequence[FileInfo]:
    """Carry a plan out; what was written, as it is now.

    Raises:
        StateCorruptError: Content is missing or damaged. The workspace is then partly written.
    """
    if not plan.write and not plan.remove:
        return []
    needed = [chunk for entry in plan.write for chunk in entry.content]
    with ThreadPoolExecutor(_WORKERS, thread_name_prefix="snapshot-load") as executor:
        source = ChunkSource(repository, tree.places, needed, executor)
        try:
            return workspace.import_((_import_entry(entry, source) for entry in plan.write), remove=plan.remove)
        except BaseException as error:
            executor.shutdown(wait=True, cancel_futures=True)
            if source.failure is not None and source.failure is not error:
                raise source.failure from error
            raise


def _import_entry(entry: Entry, source: ChunkSource) -> ImportEntry:
    info = FileInfo(
        path=entry.path,
        kind=entry.kind,
        size=entry.size,
        mode=entry.mode,
        mtime_ns=entry.mtime_ns,
        ctime_ns=0,
        inode=0,
        target=entry.target if entry.kind == "link" else None,
    )
    return ImportEntry(info, map(source.get, entry.content))


def signature_if_imported(info: FileInfo, entry: Entry) -> Signature | None:
    """The signature to remember of a file just written.

    Its change time is always fresh, but its own time was set back to the snapshot's: any later write
    brings that to the present, which shows, unless the present is what was restored.
    """
    if (info.kind, info.size, info.mtime_ns) != ("file", entry.size, entry.mtime_ns):
        return None
    return signature(info) if info.mtime_ns < info.ctime_ns - RACY_NS else None
