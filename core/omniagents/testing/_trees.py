"""A tree with something of everything, and what must be equal about two trees."""

from __future__ import annotations

import json
from typing import NamedTuple

from omniagents.backends.base import Backend
from omniagents.testing._support import ODD_NAMES, run_python
from omniagents.workspace import Workspace

__all__ = ["Described", "contents", "described", "make_rich_tree"]

# Of one session only: no state manager keeps them.
_LOGS = ".omniagents/logs/"

_MAKE = r"""
import json, os, sys
def write(name, content, mode=0o644):
    os.makedirs(os.path.dirname(name) or ".", exist_ok=True)
    with open(name, "wb") as file:
        file.write(content)
    os.chmod(name, mode)
write("text.txt", b"line\r\nline\n")
write("empty", b"")
write("bin/data", bytes(range(256)) * 300)
write("large", os.urandom(1 << 20) * 5)
write(".env", b"SECRET=1\n", 0o600)
write(".git/config", b"[core]\n")
write("run.sh", b"#!/bin/sh\n", 0o755)
write("read-only", b"x", 0o444)
write("nested/.git/HEAD", b"ref\n")
write("same-1", b"same content\n")
write("same-2", b"same content\n")
for name in json.loads(sys.argv[1]):
    write(os.path.join("odd", os.fsdecode(bytes(name))), b"odd")
os.makedirs("empty-dir/inner")
os.mkdir("sealed")
write("sealed/inside", b"x")
os.mkdir("sticky")
os.symlink("text.txt", "link")
os.symlink("bin", "link-to-dir")
os.symlink("nowhere/at all", "dangling")
os.symlink("/etc/hostname", "link-outside")
os.symlink("loop", "loop")
os.symlink(os.fsdecode(b"\xff\n"), "odd-target")
for number, (directory, _, names) in enumerate(os.walk(".", topdown=False)):
    for count, name in enumerate(sorted(names)):
        moment = 10**18 + number * 10**9 + count * 1001
        os.utime(os.path.join(directory, name), ns=(moment, moment), follow_symlinks=False)
os.chmod("sealed", 0o500)
os.chmod("sticky", 0o1777)
"""


class Described(NamedTuple):
    """What two equal entries have in common; times of directories are only a by-product of what is in them."""

    kind: str
    mode: int
    size: int
    mtime_ns: int
    target: str | None


def make_rich_tree(backend: Backend) -> None:
    """Make, in an empty workspace, files of all kinds of content, names, modes, times and links."""
    names = [list(name.encode("utf-8", "surrogateescape")) for name in ODD_NAMES]
    run_python(backend, _MAKE, json.dumps(names))


def described(workspace: Workspace) -> dict[str, Described]:
    """Every file, directory and link of a workspace."""
    entries = workspace.scan(exclude=[_LOGS]).entries
    return {
        entry.path: Described(
            entry.kind,
            entry.mode if entry.kind != "link" else 0,
            entry.size if entry.kind == "file" else 0,
            entry.mtime_ns if entry.kind == "file" else 0,
            entry.target,
        )
        for entry in entries
        if entry.kind != "other" and entry.path != ".omniagents"
    }


def contents(workspace: Workspace) -> dict[str, bytes]:
    """Every regular file's bytes."""
    paths = [entry.path for entry in workspace.scan(exclude=[_LOGS]).entries if entry.kind == "file"]
    return {entry.info.path: b"".join(entry.chunks) for entry in workspace.export(paths)}
