"""Names in a branch: a path of the workspace as itself, unless git or a server would not take it or read it specially.

A component that must be escaped becomes ``%`` and itself, with ``%`` as ``%25`` and ``\\`` as ``%5C``. A file that is
stored in parts is a directory of its name and ``%parts``. Injective: nothing else is named like either.
"""

from __future__ import annotations

import functools
import re

from omniagents_git.tree import decode_path, encode_path

__all__ = ["SIDECAR", "from_git", "parts_directory", "to_git"]

#: The directory at the top of a branch for what git does not keep of a tree.
SIDECAR = b".omniagents-state"

_PARTS = b"%parts"
# Code points that HFS+ passes over in names, in UTF-8 (is_hfs_dotgit in git's utf8.c).
_IGNORABLE = re.compile(rb"\xe2\x80[\x8c-\x8f\xaa-\xae]|\xe2\x81[\xaa-\xaf]|\xef\xbb\xbf")


@functools.lru_cache(maxsize=1 << 16)
def _escaped(component: bytes) -> bytes:
    return b"%" + _quoted(component) if _is_special(component) else component


def _quoted(component: bytes) -> bytes:
    return component.replace(b"%", b"%25").replace(b"\\", b"%5C")


def _is_special(component: bytes) -> bool:
    """Whether some git on some system takes this for ``.git``, ``.gitmodules``…, or it looks escaped."""
    if component.startswith(b"%") or component.endswith(_PARTS) or component == SIDECAR or b"\\" in component:
        return True
    plain = _IGNORABLE.sub(b"", component).lower()
    # git~1 and gi7eba~1 are the short names of .git and .gitmodules on NTFS.
    return plain.startswith(b".git") or (plain.startswith(b"gi") and b"~" in plain)


@functools.lru_cache(maxsize=1 << 16)
def _unescaped(component: bytes) -> bytes:
    plain = component
    if component.startswith(b"%"):
        plain = component[1:].replace(b"%5C", b"\\").replace(b"%25", b"%")
    if _escaped(plain) != component:
        raise ValueError(f"the name {component!r:.200} is not one that a save writes")
    return plain


def to_git(path: str) -> bytes:
    """The path in a branch of a path of the workspace."""
    return b"/".join(map(_escaped, encode_path(path).split(b"/")))


def parts_directory(path: str) -> bytes:
    """The directory in a branch of a file that is stored in parts."""
    return to_git(path) + _PARTS


def from_git(raw: bytes) -> tuple[str, bool]:
    """The path of the workspace, and whether it is a file's directory of parts.

    Raises:
        ValueError: No save writes such a name.
    """
    is_parts = raw.endswith(_PARTS)
    if is_parts:
        raw = raw[: -len(_PARTS)]
    return decode_path(b"/".join(map(_unescaped, raw.split(b"/")))), is_parts
