"""Walking a tree: the order everything else relies on, what is passed over, and ``scan``.

For other operations::

    skipped = Skipped()
    for entry in iter_files(context.root, context.root.resolve(path), ignore=True, skipped=skipped):
        entry.path   # relative to the workspace, raw (surrogate escapes); show it through ``root.display``
        entry.kind   # "file", or "link" for a link whose target is a regular file, wherever that is
    reply["skipped"] = skipped.as_json()   # {"ignored": {"count": 3, "names": [up to five]}, "unreadable": ...}

Paths come sorted by code point. Links are never followed, unreadable directories are counted, and
neither the depth of a tree nor the length of its paths is limited: use ``long_paths.open_path`` on what
comes out, since an absolute path may be longer than the system takes in one call.
"""

from __future__ import annotations

import errno
import itertools
import json
import os
import stat
import time
from typing import Any, Callable, Dict, Iterable, Iterator, List, NamedTuple, Sequence, Tuple

from .context import CallCancelled, Context, Reply
from .failure import GuestFailure, failure_of_os_error
from .ignore import DEFAULT_NAMES, Patterns, Rules, byte_string, load_patterns
from .long_paths import open_path, read_link, stat_path
from .root import Root, display, is_passing
from .unlocking import Unlocked

__all__ = [
    "Entry",
    "LeftOut",
    "Skipped",
    "directory_to_walk",
    "iter_files",
    "prefix_of",
    "rules_for",
    "scan",
    "stopper",
    "target_kind",
    "walk",
]

_NAMES_KEPT = 5
_MAX_LEFT_OUT = 10_000
_BATCH_ENTRIES = 1_000
_BATCH_NAMES_BYTES = 1 << 20
_VANISHED = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP)


class Entry(NamedTuple):
    """A file found by ``iter_files``: its ``path`` relative to the workspace, and ``file`` or ``link``."""

    path: str
    kind: str


class Skipped:
    """What was passed over: by reason, how many and the first five names."""

    def __init__(self) -> None:
        self._counts: Dict[str, int] = {}
        self._names: Dict[str, List[str]] = {}

    def add(self, reason: str, path: str) -> None:
        """Count one path; a directory stands for all that is below it."""
        self.add_many(reason, 1, (path,))

    def add_many(self, reason: str, count: int, paths: Sequence[str]) -> None:
        """Count ``count`` paths, of which ``paths`` are the first."""
        self._counts[reason] = self._counts.get(reason, 0) + count
        names = self._names.setdefault(reason, [])
        names.extend(paths[: _NAMES_KEPT - len(names)])

    def total(self) -> int:
        """How many paths were counted."""
        return sum(self._counts.values())

    def as_json(self) -> Dict[str, Dict[str, Any]]:
        """``{reason: {"count": n, "names": [up to five paths]}}``, reasons sorted."""
        reasons = sorted(self._counts)
        return {reason: {"count": self._counts[reason], "names": self._names[reason][:]} for reason in reasons}


# Called with a path, its kind, and why it is passed over: a rule's text is not computed unless asked for.
LeftOut = Callable[[str, str, str, Rules], None]


def walk(
    top: str,
    prefix: str,
    rules: Rules,
    left_out: LeftOut,
    check: Callable[[], None] = lambda: None,
    enters: Callable[[str], bool] = lambda directory: True,
) -> Iterator[Tuple[str, str]]:
    """Yield ``(path, kind)`` of everything below a directory, sorted by the code points of the whole path.

    Args:
        top: Absolute path of the directory.
        prefix: Its name relative to the workspace: ``""``, or ends with a slash.
        rules: What to pass over; directories so ignored are not entered.
        left_out: Told of each entry passed over (reason ``ignored`` or ``unreadable``).
        check: Called once a directory; may raise to stop.
        enters: Asked before a directory is entered; its path ends with a slash.
    """
    top = top.rstrip("/") + "/"
    above = len(prefix)
    stack = [_opened(top, prefix, rules, left_out)]
    while stack:
        events, prefix, kinds, rules = stack[-1]
        for event in events:
            if event[-1] == "/":
                inner = prefix + event
                if not enters(inner):
                    continue
                check()
                stack.append(_opened(top + inner[above:], inner, rules, left_out))
                break
            yield prefix + event, kinds.get(event, "file")
        else:
            stack.pop()


def _opened(
    absolute: str, prefix: str, rules: Rules, left_out: LeftOut
) -> Tuple[Iterator[str], str, Dict[str, str], Rules]:
    """A directory's entries in order; ``name/`` stands for what is below one, and sorts as its paths do."""
    try:
        names, kinds = _listed(absolute)
    except OSError as error:
        if error.errno not in _VANISHED:
            left_out(prefix, "directory", "unreadable", rules)
        return iter(()), prefix, {}, rules
    if ".gitignore" in names:
        rules = rules.entering(prefix, absolute)
    ignores = rules.ignores
    kept = []
    for name in names:
        kind = kinds.get(name, "file")
        path = prefix + name
        if ignores(name, path, kind == "directory"):
            left_out(path, kind, "ignored", rules)
        elif not is_passing(path, name):
            kept.append(name)
            if kind == "directory":
                kept.append(name + "/")
    kept.sort()
    return iter(kept), prefix, kinds, rules


def _listed(absolute: str) -> Tuple[List[str], Dict[str, str]]:
    """The names in a directory, sorted, and the kind of those that are not regular files."""
    try:
        return _scanned(absolute)
    except OSError as error:
        if error.errno != errno.ENAMETOOLONG:
            raise
    descriptor = open_path(absolute, os.O_RDONLY | os.O_DIRECTORY)
    try:
        return _scanned(descriptor)
    finally:
        os.close(descriptor)


def _scanned(directory: str | int) -> Tuple[List[str], Dict[str, str]]:
    names: List[str] = []
    kinds: Dict[str, str] = {}
    with os.scandir(directory) as entries:
        for entry in entries:
            name = entry.name
            names.append(name)
            if not entry.is_file(follow_symlinks=False):
                if entry.is_dir(follow_symlinks=False):
                    kinds[name] = "directory"
                else:
                    kinds[name] = "link" if entry.is_symlink() else "other"
    names.sort()
    return names, kinds


def prefix_of(root: Root, absolute: str) -> str:
    """A directory inside the workspace as the beginning of its entries' paths: ``""``, or ends with a slash."""
    relative = root.relative(absolute)
    return "" if relative == "." else relative + "/"


def directory_to_walk(root: Root, path: str) -> str:
    """Resolve what a caller named as a directory to search in.

    Raises:
        GuestFailure: ``FILE_NOT_FOUND``, ``NOT_A_DIRECTORY``, ``PATH_OUTSIDE_WORKSPACE`` or ``PERMISSION_DENIED``.
    """
    absolute = root.resolve(path)
    try:
        status = os.stat(absolute)
    except FileNotFoundError as error:
        message = _missing(root, path, absolute)
        raise GuestFailure("FILE_NOT_FOUND", message, path=path, error_number=errno.ENOENT) from error
    except OSError as error:
        raise failure_of_os_error(error, path) from error
    if not stat.S_ISDIR(status.st_mode):
        message = "%s is a file, not a directory; name a directory, such as %r." % (
            display(path),
            display(root.relative(os.path.dirname(absolute))),
        )
        raise GuestFailure("NOT_A_DIRECTORY", message, path=path, error_number=errno.ENOTDIR)
    if not os.access(absolute, os.R_OK | os.X_OK):
        message = "%s: permission denied; its entries cannot be listed." % display(path)
        raise GuestFailure("PERMISSION_DENIED", message, path=path, error_number=errno.EACCES)
    return absolute


def _missing(root: Root, path: str, absolute: str) -> str:
    import difflib

    parent = os.path.dirname(absolute)
    while not os.path.isdir(parent):
        absolute, parent = parent, os.path.dirname(parent)
    try:
        names = sorted(os.listdir(parent))
    except OSError:
        names = []
    close = difflib.get_close_matches(os.path.basename(absolute), names, n=1)
    shown = "there is no directory %s" % display(path)
    where = root.relative(parent) if root.contains(parent) else "."
    if close and root.contains(parent):
        return "%s; did you mean %r?" % (shown, display(os.path.join(where, close[0]) if where != "." else close[0]))
    return "%s; list_directory with path %r shows what there is." % (shown, display(where))


def rules_for(root: Root, start: str, *, ignore: bool, extra_exclude: Sequence[str] = ()) -> Rules:
    """The rules above a directory: defaults, ``.gitignore`` files of its parents, and patterns of the caller.

    Args:
        start: Absolute, inside the workspace. Its own ``.gitignore`` is added when it is walked.
        ignore: Honour the default names and ``.gitignore`` files.
        extra_exclude: Gitignore patterns anchored at the workspace; honoured either way, and before all others.
    """
    first = ((Patterns.of(extra_exclude), 0),) if extra_exclude else ()
    if not ignore:
        return Rules(first=first)
    rules = Rules(default_names=DEFAULT_NAMES, reads_gitignore=True, first=first)
    directory = ""
    for part in prefix_of(root, start).split("/")[:-1]:
        rules = rules.entering(directory, root.path.rstrip("/") + "/" + directory)
        directory += part + "/"
    return rules


def iter_files(
    root: Root,
    start: str,
    *,
    ignore: bool,
    extra_exclude: Sequence[str] = (),
    skipped: Skipped | None = None,
    check: Callable[[], None] = lambda: None,
) -> Iterator[Entry]:
    """Yield the files below a directory, sorted by path; see the module's text.

    Args:
        start: Absolute path of a directory inside the workspace, resolved. It is walked even if it is ignored itself.
        ignore: Pass over the default names and what ``.gitignore`` files name.
        extra_exclude: More gitignore patterns, anchored at the workspace.
        skipped: Receives ``ignored``, ``unreadable``, ``broken links``, ``links to directories`` and ``special files``.
        check: Called once a directory; may raise to stop.
    """
    tally = skipped if skipped is not None else Skipped()

    def left_out(path: str, kind: str, reason: str, _rules: Rules) -> None:
        tally.add(reason, path.rstrip("/") + "/" if kind == "directory" else path)

    rules = rules_for(root, start, ignore=ignore, extra_exclude=extra_exclude)
    base = root.path.rstrip("/") + "/"
    for path, kind in walk(start, prefix_of(root, start), rules, left_out, check):
        if kind == "file":
            yield Entry(path, kind)
        elif kind == "link":
            target = target_kind(base + path)
            if target == "file":
                yield Entry(path, kind)
            else:
                tally.add(target, path)
        elif kind == "other":
            tally.add("special files", path)


def target_kind(absolute: str) -> str:
    """``file`` for a link to a regular file, else the reason why it is passed over."""
    try:
        mode = stat_path(absolute).st_mode
    except OSError:
        return "broken links"
    if stat.S_ISREG(mode):
        return "file"
    return "links to directories" if stat.S_ISDIR(mode) else "special files"


def stopper(context: Context) -> Callable[[], None]:
    """A ``check`` that raises ``CallCancelled`` once the host has given the call up."""

    def check() -> None:
        if context.call.cancelled.is_set():
            raise CallCancelled

    return check


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
                if error.errno not in _VANISHED:
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
