"""Making a workspace equal to a tree: decide what differs, then one request that removes and writes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

from omniagents.records import FileInfo, ImportEntry, Scan
from omniagents_snapshot.aligning import align
from omniagents_snapshot.base import Base
from omniagents_snapshot.chunk_source import ChunkSource
from omniagents_snapshot.model import Entry, Place, Row, Tree
from omniagents_snapshot.progress import Reporter
from omniagents_snapshot.reading import kept_mode
from omniagents_snapshot.repository import Repository
from omniagents_snapshot.statcache import RACY_NS, Signature, Signatures, signature

if TYPE_CHECKING:
    from omniagents.workspace import Workspace

__all__ = ["Plan", "apply_plan", "everything", "has_files_of", "is_within", "make_plan"]

# A scan lists at most so many left-out paths; with more there may be one below any directory.
_LEFT_OUT_LISTED = 10_000
# Six ranges may be on their way, and two segments being decompressed meanwhile.
_WORKERS = 8


@dataclass
class Plan:
    """What to do.

    Attributes:
        remove: Paths; a directory goes with all that is in it, and nothing below it is listed.
        writes: For every entry of the tree, whether it is created or replaced.
        signatures: For every entry of the tree, what is known of a file that is as it should be.
    """

    remove: list[str]
    writes: bytearray
    signatures: Signatures

    def rows(self, tree: Tree) -> Iterator[Row]:
        """What to write of the tree, parents first."""
        return (row for row, is_written in zip(tree.rows(), self.writes, strict=True) if is_written)


def everything(path: str) -> bool:
    """Every path counts."""
    return True


def is_within(paths: Sequence[str]) -> Callable[[str], bool]:
    """Whether a path is one of these, or below one."""
    whole = frozenset(path.strip("/") for path in paths)

    def within(path: str) -> bool:
        while path and path not in whole:
            path = path.rpartition("/")[0]
        return bool(path)

    return within


def has_files_of(scan: Scan, base: Base) -> bool:
    """Whether any file of the workspace is exactly as it was when it was last equal to ``base``."""
    before = base.tree.entries if base.tree else ()
    pairs = align(((entry, row) for row, entry in enumerate(before)), ((info,) for info in scan.entries))
    return any(old and new and base.signatures.get(old[1]) == signature(new[0]) for old, new in pairs)


def make_plan(scan: Scan, tree: Tree, base: Base, within: Callable[[str], bool] = everything) -> Plan:
    """Compare a workspace with a tree; ``base`` says which files are known to hold what they held.

    What a scan left out stays, unless the tree itself has something in its place. Paths that are not ``within``
    are not touched; directories that lead to one that is are made where they are missing.
    """
    plan = Plan([], bytearray(len(tree.entries)), Signatures())
    removals = _Removals(scan, plan.remove)
    touched: set[str] = set()
    leading: dict[str, int] = {}
    before = base.tree.entries if base.tree else ()
    streams = align(
        ((entry, row) for row, entry in enumerate(before)),
        ((info,) for info in scan.entries),
        ((entry, row) for row, entry in enumerate(tree.entries)),
    )
    for old, now, new in streams:
        info, wanted = (now[0] if now else None), (new[0] if new else None)
        path = (now or new or old)[0].path  # type: ignore[index]
        if not within(path):
            if wanted is not None and new is not None:
                plan.signatures.append(None)
                if wanted.kind == "directory" and (info is None or info.kind != "directory"):
                    leading[path] = new[1]
            continue
        if info is not None and removals.take(info, wanted):
            touched.add(path.rpartition("/")[0])
        if wanted is None or new is None:
            continue
        known = base.signatures.get(old[1]) if old and old[0].content == wanted.content else None
        is_same = _is_same(info, wanted, known)
        plan.signatures.append(known if is_same and wanted.kind == "file" else None)
        if not is_same:
            plan.writes[new[1]] = 1
            if not (wanted.kind == "directory" and info is not None and info.kind == "directory"):
                touched.add(path.rpartition("/")[0])
    _write_directories(tree, plan, touched, leading, within)
    return plan


def _write_directories(
    tree: Tree, plan: Plan, touched: set[str], leading: Mapping[str, int], within: Callable[[str], bool]
) -> None:
    """Directories whose time moves with what is written into them, and those that lead there."""
    if not touched:
        return
    for row, entry in enumerate(tree.entries):
        if entry.kind == "directory" and entry.path in touched and within(entry.path):
            plan.writes[row] = 1
    for path in touched:
        while path:
            if path in leading:
                plan.writes[leading[path]] = 1
            path = path.rpartition("/")[0]


class _Removals:
    """Decides what goes, entry by entry in the order of their paths."""

    def __init__(self, scan: Scan, remove: list[str]) -> None:
        left_out = [item.path for item in scan.left_out]
        left_out += [info.path for info in scan.entries if info.kind == "other"]
        self._protected = _ancestors(left_out)
        self._all_protected = len(scan.left_out) >= _LEFT_OUT_LISTED
        self._remove = remove
        self._gone = "/"  # no path begins with this

    def take(self, info: FileInfo, wanted: Entry | None) -> bool:
        """Whether this is removed by itself; what is below it then goes with it."""
        if info.path.startswith(self._gone):
            return False
        is_replaced = wanted is not None and info.kind == "directory" and wanted.kind != "directory"
        if not is_replaced and (wanted is not None or info.kind == "other"):
            return False
        if info.kind == "directory":
            if not is_replaced and (self._all_protected or info.path in self._protected):
                return False
            self._gone = info.path + "/"
        self._remove.append(info.path)
        return True


def _ancestors(paths: Sequence[str]) -> set[str]:
    found: set[str] = set()
    for path in paths:
        while (path := path.rpartition("/")[0]) and path not in found:
            found.add(path)
    return found


def _is_same(info: FileInfo | None, entry: Entry, known: Signature | None) -> bool:
    if info is None or (info.kind, info.mtime_ns) != (entry.kind, entry.mtime_ns):
        return False
    if entry.kind == "link":
        return info.target == entry.target
    if kept_mode(info) != entry.mode:
        return False
    return entry.kind == "directory" or (info.size == entry.size and known == signature(info))


def apply_plan(repository: Repository, workspace: Workspace, tree: Tree, plan: Plan) -> None:
    """Carry a plan out, and note in it what the written files look like.

    Raises:
        StateCorruptError: Content is missing or damaged. The workspace is then partly written.
    """
    if not plan.remove and not any(plan.writes):
        return
    reporter = repository.reporter()
    reporter.start(
        "write",
        sum(plan.writes),
        sum(entry.size for entry, _ in plan.rows(tree)) if repository.access.progress else None,
    )
    needed = (places[chunk] for entry, places in plan.rows(tree) for chunk in entry.content)
    with ThreadPoolExecutor(_WORKERS, thread_name_prefix="snapshot-load") as executor:
        source = ChunkSource(repository, needed, executor)
        try:
            written = workspace.import_(
                (_import_entry(entry, places, source, reporter) for entry, places in plan.rows(tree)),
                remove=plan.remove,
            )
        except BaseException as error:
            executor.shutdown(wait=True, cancel_futures=True)
            if source.failure is not None and source.failure is not error:
                raise source.failure from error
            raise
    reporter.finish()
    infos = iter(written)
    for row, (entry, is_written) in enumerate(zip(tree.entries, plan.writes, strict=True)):
        if is_written:
            plan.signatures.put(row, _signature_if_imported(next(infos), entry))


def _import_entry(entry: Entry, places: Mapping[bytes, Place], source: ChunkSource, reporter: Reporter) -> ImportEntry:
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
    reporter.add(1)
    return ImportEntry(info, reporter.counted(source.get(chunk, places[chunk]) for chunk in entry.content))


def _signature_if_imported(info: FileInfo, entry: Entry) -> Signature | None:
    """The signature to remember of a file just written.

    Its change time is always fresh, but its own time was set back to the snapshot's: any later write
    brings that to the present, which shows, unless the present is what was restored.
    """
    if (info.kind, info.size, info.mtime_ns) != ("file", entry.size, entry.mtime_ns):
        return None
    return signature(info) if info.mtime_ns < info.ctime_ns - RACY_NS else None
