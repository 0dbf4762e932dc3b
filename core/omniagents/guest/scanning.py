"""``scan``: everything below a directory with what ``lstat`` says of it, for whoever saves it."""

from __future__ import annotations

import errno
import itertools
import json
import os
import stat
import time
from typing import Any, Dict, Iterable, Iterator, List, Sequence, Tuple

from .context import Context, Reply
from .ignore import Patterns, Rules, byte_string, load_patterns
from .long_paths import read_link, stat_path
from .unlocking import Unlocked
from .walk import VANISHED, LeftOut, directory_to_walk, prefix_of, stopper, walk

__all__ = ["scan"]

_MAX_LEFT_OUT = 10_000
_BATCH_ENTRIES = 1_000
_BATCH_NAMES_BYTES = 1 << 20


def scan(context: Context, arguments: Dict[str, Any]) -> Reply:
    """Operation: stream what ``lstat`` says of everything below a directory, as batches of JSON lists.

    Directories that their owner may not list are listed all the same (``unlocking``).

    Args:
        arguments: ``path`` (default ``.``); ``exclude``, gitignore patterns anchored at it; ``exclude_file``, the
            name of a gitignore file in it whose patterns are added, or None.

    Returns:
        ``started_ns`` and ``left_out_total``. Each line sent is a JSON list of ``[path, kind, size, mode, mtime_ns,
        ctime_ns, inode, target]``, parents before children; at the end of ``{"left_out": [[path, reason]…]}``, of
        which there are at most 10,000 in all.

    Raises:
        GuestFailure: ``FILE_NOT_FOUND``, ``NOT_A_DIRECTORY``, ``PATH_OUTSIDE_WORKSPACE``, ``PERMISSION_DENIED``.
    """
    started_ns = time.time_ns()
    unlocked = Unlocked(context.root.path)
    unlocked.enters("")
    try:
        return {"started_ns": started_ns, "left_out_total": _stream_scan(context, arguments, unlocked)}, b""
    finally:
        unlocked.give_back()


def _stream_scan(context: Context, arguments: Dict[str, Any], unlocked: Unlocked) -> int:
    """Send what ``scan`` says; how many entries were left out."""
    top = directory_to_walk(context.root, arguments.get("path", "."))
    prefix = prefix_of(context.root, top)
    left_out: List[Tuple[str, str]] = []
    total = 0

    def note(path: str, kind: str, reason: str, rules: Rules) -> None:
        nonlocal total
        total += 1
        if len(left_out) < _MAX_LEFT_OUT:
            path = path.rstrip("/") or "."
            name = path.rpartition("/")[2]
            left_out.append((path, rules.reason(name, path, kind == "directory") if reason == "ignored" else reason))

    rules = _scan_rules(top, len(byte_string(prefix)), arguments)
    check = stopper(context)
    found = walk(top, prefix, rules, note, check, unlocked.enters)
    described = _described_all(context.root.path.rstrip("/") + "/", found, note, rules)
    for line in itertools.chain(_batches(described), ({"left_out": batch} for batch in _batches(iter(left_out)))):
        check()
        context.call.send(json.dumps(line, separators=(",", ":")).encode() + b"\n")
    return total


def _batches(rows: Iterable[Sequence[Any]]) -> Iterator[List[Sequence[Any]]]:
    """Rows that begin with a path, together as long as neither they nor their paths are too many."""
    batch: List[Sequence[Any]] = []
    names = 0
    for row in rows:
        batch.append(row)
        names += len(row[0])
        if len(batch) >= _BATCH_ENTRIES or names >= _BATCH_NAMES_BYTES:
            yield batch
            batch, names = [], 0
    if batch:
        yield batch


def _scan_rules(top: str, above: int, arguments: Dict[str, Any]) -> Rules:
    exclude, exclude_file = arguments.get("exclude") or [], arguments.get("exclude_file")
    of_file = load_patterns(os.path.join(top, exclude_file)) if exclude_file else None
    # The file is the workspace's own word, so it may include again what the caller's list leaves out.
    lists = [patterns for patterns in (of_file, Patterns.of(exclude) if exclude else None) if patterns is not None]
    return Rules(tuple((patterns, above) for patterns in lists))


def _described_all(base: str, found: Iterable[Tuple[str, str]], left_out: LeftOut, rules: Rules) -> Iterator[List[Any]]:
    lstat = os.lstat
    for path, kind in found:
        try:
            status = lstat(base + path)
        except OSError as error:
            described = _status_of(base + path, error)
            if described is None:
                if error.errno not in VANISHED:
                    left_out(path, kind, "unreadable", rules)
                continue
            status = described
        mode = status.st_mode
        target = None
        if kind != "file":
            kind, target = _described(base + path, mode)
        yield [path, kind, status.st_size, mode & 0o7777, status.st_mtime_ns, status.st_ctime_ns, status.st_ino, target]


def _status_of(absolute: str, error: OSError) -> os.stat_result | None:
    if error.errno != errno.ENAMETOOLONG:
        return None
    try:
        return stat_path(absolute, follow_symlinks=False)
    except OSError:
        return None


def _described(absolute: str, mode: int) -> Tuple[str, str | None]:
    if stat.S_ISDIR(mode):
        return "directory", None
    if stat.S_ISLNK(mode):
        try:
            return "link", read_link(absolute)
        except OSError:
            return "link", ""
    return ("file" if stat.S_ISREG(mode) else "other"), None
