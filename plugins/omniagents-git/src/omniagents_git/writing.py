"""Making a commit: one ``fast-import`` that is given blobs as they come, and then what changed."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from datetime import datetime

from omniagents_git.escaping import parts_directory, to_git
from omniagents_git.failures import GitFailure
from omniagents_git.git import Git, GitStream
from omniagents_git.objects import blob_id
from omniagents_git.tree import Entry, encode_path

__all__ = ["CommitWriter", "Placed", "placed", "writer"]

#: Mode and blob by path in the branch: a tree without its directories.
Placed = Mapping[bytes, tuple[bytes, bytes]]

_AUTHOR = b"Omniagents <omniagents@localhost>"
_UNSAFE = re.compile(rb'["\\\n]')


class CommitWriter:
    """Blobs, then one commit.

    Args:
        known: Blobs that need not be written, as they are in a tree that is here.
    """

    def __init__(self, git: Git, known: Iterable[bytes]) -> None:
        self._git = git
        self._known = set(known)
        self._stream: GitStream | None = None
        self._closing = ExitStack()

    def take(self, data: bytes) -> bytes:
        """Write a blob unless it is known; its id."""
        found = blob_id(data)
        if found not in self._known:
            self._known.add(found)
            stream = self._started()
            stream.write(b"blob\ndata %d\n" % len(data))
            stream.write(data)
            stream.write(b"\n")
        return found

    def commit(
        self,
        message: bytes,
        time: datetime,
        before: Placed,
        after: Placed,
        *,
        parent: str | None,
        tree: str | None,
        merged: str | None = None,
    ) -> str:
        """Write the commit that turns ``before``, the files of ``tree``, into ``after``; its id.

        Args:
            tree: None for one without files.
            merged: Another parent.

        Raises:
            GitFailure: It could not be written.
        """
        stream = self._started()
        when = b"%d +0000" % int(time.timestamp())
        stream.write(b"commit refs/omniagents/saved\nmark :1\ncommitter " + _AUTHOR + b" " + when + b"\n")
        stream.write(b"data %d\n" % len(message) + message + b"\n")
        if parent is not None:
            stream.write(b"from " + parent.encode() + b"\n")
        if merged is not None:
            stream.write(b"merge " + merged.encode() + b"\n")
        stream.write(b"deleteall\n" if tree is None else b"M 040000 " + tree.encode() + b' ""\n')
        for path in before.keys() - after.keys():
            stream.write(b"D " + _quoted(path) + b"\n")
        for path, (mode, blob) in after.items():
            if before.get(path) != (mode, blob):
                stream.write(b"M " + mode + b" " + blob.hex().encode() + b" " + _quoted(path) + b"\n")
        stream.write(b"\nget-mark :1\ndone\n")
        stream.flush()
        found = stream.read_line().decode()
        stream.finish()
        if not re.fullmatch(r"[0-9a-f]{40}", found):
            raise GitFailure("fast-import", 0, f"it answered {found!r} where a commit's id was expected")
        return found

    def close(self) -> None:
        """End what was begun. Idempotent."""
        self._closing.close()

    def _started(self) -> GitStream:
        if self._stream is None:
            # Delta compression is left to the push, which knows what the remote has.
            self._stream = self._closing.enter_context(
                self._git.stream("fast-import", "--quiet", "--done", "--force", "--depth=0")
            )
        return self._stream


@contextmanager
def writer(git: Git, known: Iterable[bytes]) -> Iterator[CommitWriter]:
    """A writer whose process ends with the block."""
    made = CommitWriter(git, known)
    try:
        yield made
    finally:
        made.close()


def placed(entries: Iterable[Entry], take: Mapping[bytes, bytes]) -> dict[bytes, tuple[bytes, bytes]]:
    """Where everything of a tree goes; ``take`` has the sidecar's blobs by path."""
    found: dict[bytes, tuple[bytes, bytes]] = {path: (b"100644", blob) for path, blob in take.items()}
    for entry in entries:
        if entry.kind == "link":
            found[to_git(entry.path)] = (b"120000", blob_id(encode_path(entry.target)))
        elif entry.kind == "file" and len(entry.content) > 1:
            directory = parts_directory(entry.path)
            for number, blob in enumerate(entry.content):
                found[directory + b"/%08d" % number] = (b"100644", blob)
        elif entry.kind == "file":
            mode = b"100755" if entry.mode & 0o100 else b"100644"
            found[to_git(entry.path)] = (mode, entry.content[0] if entry.content else blob_id(b""))
    return found


def _quoted(path: bytes) -> bytes:
    return b'"' + _UNSAFE.sub(lambda found: b"\\%03o" % ord(found[0]), path) + b'"'
