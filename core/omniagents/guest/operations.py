"""Every operation a host can ask for, by name: ``module:function``, imported on first use."""

from __future__ import annotations

import importlib
from typing import Any, Callable, Dict

from .context import Context, Reply
from .failure import GuestFailure

__all__ = ["OPERATIONS", "find"]

Operation = Callable[[Context, Dict[str, Any]], Reply]

# ``run`` and ``signal`` are not here: the server's loop answers them itself.
OPERATIONS = {
    "stat": "files:stat_",
    "exists": "files:exists",
    "list": "files:list_entries",
    "read": "files:read",
    "write": "files:write",
    "remove": "files:remove",
    "make_dir": "files:make_dir",
    "move": "files:move",
    "realpath": "files:realpath",
    "scan": "scanning:scan",
    "export": "archive:export",
    "import": "archive:import_",
    "glob": "globbing:glob",
    "grep": "search:grep",
    "read_file": "reading:read_file",
    "read_many_files": "reading_many:read_many_files",
    "list_directory": "listing:list_directory",
    "write_file": "editing:write_file",
    "replace": "editing:replace",
    "save_memory": "memory:save_memory",
    "load_memory": "memory:load_memory",
}


def find(name: str) -> Operation:
    """The function that answers ``name``."""
    target = OPERATIONS.get(name)
    if target is None:
        raise GuestFailure("INTERNAL", "the guest has no operation %r; host and guest are of different versions" % name)
    module, _, function = target.partition(":")
    operation: Operation = getattr(importlib.import_module("." + module, __package__), function)
    return operation
