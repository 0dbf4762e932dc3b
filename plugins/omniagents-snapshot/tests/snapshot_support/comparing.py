"""A directory as a value, and edits to one."""

from __future__ import annotations

import os
import stat
from pathlib import Path

__all__ = ["State", "state_of", "write"]

State = dict[str, tuple[str, int, int, bytes]]


def state_of(root: Path) -> State:
    """Kind, mode, time and content of everything below, by path; the mode of a link does not count."""
    found: State = {}
    for directory, names, files in os.walk(os.fsencode(root)):
        for raw in names + files:
            path = os.path.join(directory, raw)
            name = os.fsdecode(os.path.relpath(path, os.fsencode(root)))
            status = os.lstat(path)
            mode = stat.S_IMODE(status.st_mode)
            if stat.S_ISLNK(status.st_mode):
                found[name] = ("link", 0, status.st_mtime_ns, os.readlink(path))
            elif stat.S_ISDIR(status.st_mode):
                found[name] = ("directory", mode, status.st_mtime_ns, b"")
            elif stat.S_ISREG(status.st_mode):
                with open(path, "rb") as file:
                    found[name] = ("file", mode, status.st_mtime_ns, file.read())
            else:
                found[name] = ("other", mode, 0, b"")
    return found


def write(root: Path, name: str, content: bytes | str = b"content\n", *, mode: int | None = None) -> Path:
    """Write a file and its parents."""
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    if mode is not None:
        path.chmod(mode)
    return path
