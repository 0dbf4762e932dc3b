"""What git does not keep of a tree: permission bits, times to the nanosecond, empty directories.

One JSON line for each path, ``[path, mode, mtime in nanoseconds]``, a directory's path with a ``/`` at its end; in
up to 256 files, by the directory a path is in, so that a small change rewrites a small file.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from omniagents_git.escaping import SIDECAR
from omniagents_git.tree import Entry, encode_path

__all__ = ["FORMAT_FILE", "SHARD", "Kept", "check_format", "decode_rows", "encode_sidecar"]

FORMAT_FILE = SIDECAR + b"/format.json"
#: The name of a file of rows.
SHARD = re.compile(re.escape(SIDECAR) + rb"/[0-9a-f]{2}")
_FORMAT = {
    "version": 1,
    "about": "Written by Omniagents (omniagents-git): permissions, times and empty directories of this branch. "
    "Files may be changed on the branch by hand; this directory may not.",
}


class Kept(NamedTuple):
    """Permission bits, and nanoseconds since the epoch."""

    mode: int
    mtime_ns: int


def encode_sidecar(entries: Iterable[Entry]) -> dict[bytes, bytes]:
    """Content by path in the branch."""
    rows: defaultdict[bytes, list[str]] = defaultdict(list)
    shards: dict[str, bytes] = {}
    for entry in entries:
        parent = entry.path.rpartition("/")[0]
        shard = shards.get(parent)
        if shard is None:
            shard = shards[parent] = hashlib.sha256(encode_path(parent)).hexdigest()[:2].encode()
        path = f"{entry.path}/" if entry.kind == "directory" else entry.path
        rows[shard].append(f"[{json.dumps(path)}, {entry.mode}, {entry.mtime_ns}]\n")
    files = {SIDECAR + b"/" + shard: "".join(lines).encode() for shard, lines in rows.items()}
    return {FORMAT_FILE: json.dumps(_FORMAT, indent=1).encode() + b"\n", **files}


def check_format(data: bytes) -> None:
    """Raises ValueError for another version than this one writes."""
    version = _json(data).get("version")
    if version != _FORMAT["version"]:
        raise ValueError(
            f"has the format version {version!r:.50}; this omniagents-git reads version {_FORMAT['version']}"
        )


def decode_rows(data: bytes, into: dict[str, Kept], *, max_rows: int | None) -> Mapping[str, Kept]:
    """Add what one file of the sidecar says, directories with their ``/``.

    Raises:
        ValueError: It is not that, or there are too many.
    """
    for line in data.splitlines():
        row = json.loads(line)
        if not isinstance(row, list) or list(map(type, row)) != [str, int, int]:
            raise ValueError("is not made of rows [path, mode, time]")
        path, mode, mtime_ns = row
        into[path] = Kept(mode, mtime_ns)
        if max_rows is not None and len(into) > max_rows:
            raise ValueError(f"has more than {max_rows:,} rows")
    return into


def _json(data: bytes) -> dict[str, object]:
    found = json.loads(data)
    if not isinstance(found, dict):
        raise ValueError("is not a JSON object")
    return found
