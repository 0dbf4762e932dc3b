"""Making a workspace equal to a commit: one request that removes and writes what differs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from omniagents.errors import StateCorruptError
from omniagents.records import FileInfo, ImportEntry
from omniagents_git.git import Git
from omniagents_git.objects import ObjectReader
from omniagents_git.planning import Plan
from omniagents_git.seen import Signature, marks_of, signature_if_imported
from omniagents_git.tree import Entry
from omniagents_snapshot.progress import Reporter

if TYPE_CHECKING:
    from omniagents.workspace import Workspace

__all__ = ["carry_out", "read_entries"]


def carry_out(
    git: Git, workspace: Workspace, plan: Plan, reporter: Reporter
) -> tuple[dict[str, Signature], dict[str, Signature]]:
    """Carry a plan out; the signatures of the files that were written, and marks of the workspace.

    Raises:
        GitFailure: Content is missing here or damaged. The workspace is then partly written.
        StateCorruptError: It is not as long as its tree says.
    """
    if not plan.write and not plan.remove:
        return {}, {}
    reporter.start("write", len(plan.write), sum(entry.size for entry in plan.write))
    with git.stream("cat-file", "--batch") as stream:
        reader = ObjectReader(stream, (blob for entry in plan.write for blob in entry.content))
        written = workspace.import_(
            (_import_entry(entry, reader, reporter) for entry in plan.write), remove=plan.remove
        )
    reporter.finish()
    found = {}
    for info, entry in zip(written, plan.write, strict=True):
        seen = signature_if_imported(info, entry)
        if seen is not None:
            found[entry.path] = seen
    return found, marks_of(written)


def read_entries(git: Git, entries: Sequence[Entry]) -> Iterator[tuple[Entry, Iterator[bytes]]]:
    """Entries with their content; to be consumed one after the other, and to the end.

    Raises:
        GitFailure: Content is missing here or damaged.
        StateCorruptError: It is not as long as its tree says.
    """
    with git.stream("cat-file", "--batch") as stream:
        reader = ObjectReader(stream, (blob for entry in entries for blob in entry.content))
        for entry in entries:
            yield entry, _content(entry, reader)


def _import_entry(entry: Entry, reader: ObjectReader, reporter: Reporter) -> ImportEntry:
    target = entry.target if entry.kind == "link" else None
    info = FileInfo(entry.path, entry.kind, entry.size, entry.mode, entry.mtime_ns, 0, 0, target)
    reporter.add(1)
    return ImportEntry(info, reporter.counted(_content(entry, reader)))


def _content(entry: Entry, reader: ObjectReader) -> Iterator[bytes]:
    left = entry.size
    for _ in entry.content:
        _, size, pieces = reader.next()
        left -= size
        if left < 0:
            break
        yield from pieces
    if left:
        raise StateCorruptError(
            f"the file {entry.path!r:.300} does not have the {entry.size:,} bytes that its tree states"
        )
