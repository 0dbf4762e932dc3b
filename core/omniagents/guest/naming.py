"""Reaching files whose names are not text: a model can only repeat such a name as it was shown."""

from __future__ import annotations

import os

from .root import Root, display

__all__ = ["resolve_shown"]


def resolve_shown(root: Root, path: str) -> str:
    """``Root.resolve``; a path that does not exist may also be named as ``display`` shows it.

    Only names with undecodable bytes are found so, and only where exactly one is shown like that.

    Raises:
        GuestFailure: As ``Root.resolve``.
    """
    resolved = root.resolve(path)
    if "\\x" not in path or os.path.lexists(resolved):
        return resolved
    current = ""
    for part in root.strip_alias(path).split("/"):
        current = os.path.join(current, _stored_name(os.path.join(root.path, current), part))
    return root.resolve(current)


def _stored_name(directory: str, shown: str) -> str:
    if "\\x" not in shown or os.path.lexists(os.path.join(directory, shown)):
        return shown
    try:
        names = [name for name in os.listdir(directory) if name != shown and display(name) == shown]
    except OSError:
        # Whoever resolves the path says what is wrong with it.
        return shown
    return names[0] if len(names) == 1 and not _is_text(names[0]) else shown


def _is_text(name: str) -> bool:
    try:
        name.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True
