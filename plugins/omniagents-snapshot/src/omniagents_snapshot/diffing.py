"""What differs between two snapshots: which paths, and the lines of text."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from difflib import unified_diff
from functools import partial
from typing import Literal

from omniagents.state import Snapshot
from omniagents_snapshot.aligning import align
from omniagents_snapshot.comparing import is_changed
from omniagents_snapshot.contents import read_entries
from omniagents_snapshot.model import Entry, Tree, encode_path
from omniagents_snapshot.repository import Repository
from omniagents_snapshot.restoring import everything

__all__ = ["Change", "ReadEntries", "SnapshotDiff", "compare_lines", "diff_lines", "diff_trees"]

#: Given a tree and which of its paths count: their entries in the tree's order, each with its content, to be consumed
#: one after the other, and to the end.
ReadEntries = Callable[[Tree, Callable[[str], bool]], Iterator[tuple[Entry, Iterator[bytes]]]]

_NO_NEWLINE = "\\ No newline at end of file\n"


@dataclass(frozen=True)
class Change:
    """One path that differs.

    Attributes:
        parts: Of a changed path, what of it is different: ``kind``, ``content``, ``mode``, ``time``, ``target``.
        size_before: Bytes of the file before, and ``size_after`` after; None where there was none.
    """

    path: str
    action: Literal["added", "removed", "changed"]
    parts: tuple[str, ...] = ()
    size_before: int | None = None
    size_after: int | None = None


@dataclass(frozen=True)
class SnapshotDiff:
    """How ``after`` differs from ``before``; ``changes`` in the order of their paths."""

    before: Snapshot
    after: Snapshot
    changes: tuple[Change, ...]


def diff_trees(before: Tree, after: Tree, within: Callable[[str], bool] = everything) -> SnapshotDiff:
    """The paths that differ. The time of a directory does not count."""
    found = tuple(_change(old, new) for old, new in _differing(before, after, within))
    return SnapshotDiff(before.snapshot, after.snapshot, found)


def diff_lines(
    repository: Repository, before: Tree, after: Tree, within: Callable[[str], bool], max_file_bytes: int
) -> Iterator[str]:
    """The differences of text files as ``diff -u`` has them, each line with its end."""
    return compare_lines(partial(read_entries, repository), before, after, within, max_file_bytes)


def compare_lines(
    read: ReadEntries, before: Tree, after: Tree, within: Callable[[str], bool], max_file_bytes: int
) -> Iterator[str]:
    """As ``diff_lines``, of trees that are kept elsewhere."""
    pairs = list(_differing(before, after, within))
    old_files, new_files = (
        (
            {entry.path for entry in side if entry is not None and _is_small_file(entry, max_file_bytes)}
            for side in zip(*pairs, strict=True)
        )
        if pairs
        else (set(), set())
    )
    old_contents = read(before, old_files.__contains__)
    new_contents = read(after, new_files.__contains__)
    for old, new in pairs:
        old_data = _next(old_contents) if old is not None and old.path in old_files else None
        new_data = _next(new_contents) if new is not None and new.path in new_files else None
        if old is None or new is None or old.content != new.content or old.kind != new.kind or old.target != new.target:
            yield from _file_lines(old, new, old_data, new_data)


def _differing(before: Tree, after: Tree, within: Callable[[str], bool]) -> Iterator[tuple[Entry | None, Entry | None]]:
    pairs = align(((entry,) for entry in before.entries), ((entry,) for entry in after.entries))
    for old_row, new_row in pairs:
        old, new = old_row and old_row[0], new_row and new_row[0]
        path = (old or new).path  # type: ignore[union-attr]
        if is_changed(old, new) and within(path):
            yield old, new


def _change(old: Entry | None, new: Entry | None) -> Change:
    size_before = old.size if old is not None and old.kind == "file" else None
    size_after = new.size if new is not None and new.kind == "file" else None
    if old is None or new is None:
        path = (old or new).path  # type: ignore[union-attr]
        return Change(path, "added" if old is None else "removed", (), size_before, size_after)
    compared = {
        "kind": old.kind == new.kind,
        "content": old.content == new.content,
        "mode": old.mode == new.mode,
        "time": old.mtime_ns == new.mtime_ns or new.kind == "directory",
        "target": old.target == new.target,
    }
    parts = tuple(part for part, is_same in compared.items() if not is_same)
    return Change(new.path, "changed", parts, size_before, size_after)


def _is_small_file(entry: Entry, max_bytes: int) -> bool:
    return entry.kind == "file" and entry.size <= max_bytes


def _next(contents: Iterator[tuple[Entry, Iterator[bytes]]]) -> bytes:
    return b"".join(next(contents)[1])


def _file_lines(old: Entry | None, new: Entry | None, old_data: bytes | None, new_data: bytes | None) -> Iterator[str]:
    if not any(entry is not None and entry.kind != "directory" for entry in (old, new)):
        return
    names = ["/dev/null" if e is None else _shown(f"{side}/{e.path}") for side, e in (("a", old), ("b", new))]
    before, after = _text(old, old_data), _text(new, new_data)
    if before is None or after is None:
        yield f"Binary or large files {names[0]} and {names[1]} differ\n"
        return
    for line in unified_diff(_lines(before), _lines(after), names[0], names[1]):
        yield line if line.endswith("\n") else f"{line}\n{_NO_NEWLINE}"


def _lines(text: str) -> list[str]:
    """With their ends; only a line feed ends a line."""
    return [f"{line}\n" for line in text.split("\n")[:-1]] + ([rest] if (rest := text.rpartition("\n")[2]) else [])


def _text(entry: Entry | None, data: bytes | None) -> str | None:
    """What is compared; None for what is no text, or too much."""
    if entry is None or entry.kind == "directory":
        return ""
    if entry.kind == "link":
        return f"link to {_shown(entry.target)}\n"
    if data is None or b"\0" in data:
        return None
    try:
        return data.decode()
    except UnicodeDecodeError:
        return None


def _shown(path: str) -> str:
    """A name on one line: quoted as git does where it has bytes that a line or a terminal would not survive."""
    if path.isprintable() and not set(path) & {'"', "\\"}:
        return path
    quoted = "".join(chr(b) if 32 <= b < 127 and b not in b'"\\' else f"\\{b:03o}" for b in encode_path(path))
    return f'"{quoted}"'
