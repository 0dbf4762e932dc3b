"""Names close to one that does not exist, found with bounded effort."""

from __future__ import annotations

import os
import stat
from collections import deque
from typing import Deque, Dict, Iterable, Iterator, List, Tuple

from .failure import GuestFailure
from .hints import shown, tool_call
from .ignore import DEFAULT_NAMES
from .root import Root, display, is_passing

__all__ = ["not_found", "similar_paths"]

_MAX_NAMES = 5
_MAX_ENTRIES_BESIDE = 5_000
_MAX_ENTRIES_ELSEWHERE = 20_000


def not_found(root: Root, path: str, resolved: str, directories: bool = False) -> GuestFailure:
    """The refusal for a path that does not exist; names what the caller may have meant.

    Args:
        root: The workspace.
        path: As the caller wrote it.
        resolved: From ``Root.resolve``.
        directories: Look for directories instead of files.
    """
    similar = similar_paths(root, resolved, directories)
    missing = _broken_link(root, path) or "%s does not exist" % display(path)
    if similar:
        noun = "directories" if directories else "files"
        cure = "Similar %s: %s" % (noun, ", ".join(map(shown, similar)))
    else:
        cure = "Nothing has a similar name; look around with %s" % tool_call(
            "list_directory", path=root.relative(_existing_parent(root, resolved))
        )
    return GuestFailure("FILE_NOT_FOUND", "%s. %s" % (missing, cure), path=path, similar=similar)


def similar_paths(root: Root, resolved: str, directories: bool = False) -> List[str]:
    """At most five existing paths, relative to the workspace, best first.

    Looked at: the directory named (or the nearest one above it that exists), then the workspace, breadth
    first, at most 20,000 entries and without the directories that searches leave out by default.
    """
    wanted = os.path.basename(resolved)
    parent = _existing_parent(root, resolved)
    beside = {name: _below(parent, name) for name, is_directory in _names(parent) if is_directory == directories}
    elsewhere: Dict[str, List[str]] = {}
    for name, absolute in _tree(root, directories):
        if os.path.dirname(absolute) != parent:
            elsewhere.setdefault(name, []).append(absolute)
    found = [beside[name] for name in _close(wanted, beside, 0.6)]
    for name in _close(wanted, elsewhere, 0.8):
        found.extend(sorted(elsewhere[name])[:_MAX_NAMES])
    return [root.relative(absolute) for absolute in found[:_MAX_NAMES]]


def _close(wanted: str, names: Iterable[str], cutoff: float) -> List[str]:
    import difflib

    folded: Dict[str, List[str]] = {}
    for name in sorted(names):
        # How a listing shows an undecodable name is how a model repeats it.
        for key in {name.casefold(), display(name).casefold()}:
            folded.setdefault(key, []).append(name)
    close = difflib.get_close_matches(wanted.casefold(), sorted(folded), n=_MAX_NAMES, cutoff=cutoff)
    found: Dict[str, None] = {}
    for key in close:
        found.update(dict.fromkeys(folded[key]))
    return list(found)


def _tree(root: Root, directories: bool) -> Iterator[Tuple[str, str]]:
    pending: Deque[str] = deque([root.path])
    seen = 0
    while pending and seen < _MAX_ENTRIES_ELSEWHERE:
        directory = pending.popleft()
        for name, is_directory in sorted(_names(directory)):
            seen += 1
            absolute = _below(directory, name)
            if name in DEFAULT_NAMES or is_passing(root.relative(absolute), name):
                continue
            if is_directory:
                pending.append(absolute)
            if is_directory == directories:
                yield name, absolute


def _names(directory: str) -> List[Tuple[str, bool]]:
    names: List[Tuple[str, bool]] = []
    try:
        with os.scandir(directory) as entries:
            for entry in entries:
                names.append((entry.name, entry.is_dir(follow_symlinks=False)))
                if len(names) == _MAX_ENTRIES_BESIDE:
                    break
    except OSError:
        # A suggestion is a courtesy: what cannot be listed suggests nothing.
        return []
    return names


def _existing_parent(root: Root, resolved: str) -> str:
    parent = os.path.dirname(resolved)
    while parent != root.path and root.contains(parent) and not os.path.isdir(parent):
        parent = os.path.dirname(parent)
    return parent if root.contains(parent) else root.path


def _broken_link(root: Root, path: str) -> str | None:
    link = root.resolve(path, follow_last=False)
    try:
        if not stat.S_ISLNK(os.lstat(link).st_mode):
            return None
        return "%s is a link to %s, which does not exist" % (display(path), display(os.readlink(link)))
    except FileNotFoundError:
        return None


def _below(directory: str, name: str) -> str:
    return directory.rstrip("/") + "/" + name
