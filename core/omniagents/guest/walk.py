"""Walking a tree: the order everything else relies on, and what is passed over.

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
import os
import stat
from typing import Any, Callable, Dict, Iterator, List, NamedTuple, Sequence, Tuple

from .context import CallCancelled, Context
from .failure import GuestFailure, failure_of_os_error
from .ignore import DEFAULT_NAMES, Patterns, Rules
from .long_paths import open_path, stat_path
from .root import Root, display, is_passing

__all__ = [
    "VANISHED",
    "Entry",
    "LeftOut",
    "Skipped",
    "directory_to_walk",
    "iter_files",
    "prefix_of",
    "rules_for",
    "stopper",
    "target_kind",
    "walk",
]

_NAMES_KEPT = 5
#: Errors of what was there when its directory was listed.
VANISHED = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP)


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
        if error.errno not in VANISHED:
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
