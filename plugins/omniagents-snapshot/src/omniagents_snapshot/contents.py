"""The files of stored trees as streams of bytes, for those who need no workspace."""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

from omniagents_snapshot.chunk_source import ChunkSource
from omniagents_snapshot.model import Entry, Tree
from omniagents_snapshot.repository import Repository
from omniagents_snapshot.restoring import everything, is_within

__all__ = ["check_paths", "read_entries"]

_WORKERS = 4


def read_entries(
    repository: Repository, tree: Tree, within: Callable[[str], bool] = everything
) -> Iterator[tuple[Entry, Iterator[bytes]]]:
    """Entries of a tree, in its order, each with its content; to be consumed one after the other, and to the end.

    Raises:
        StateCorruptError: Content is missing or damaged.
    """
    needed = (places[chunk] for entry, places in tree.rows() if within(entry.path) for chunk in entry.content)
    with ThreadPoolExecutor(_WORKERS, thread_name_prefix="snapshot-read") as executor:
        source = ChunkSource(repository, needed, executor)
        for entry, places in tree.rows():
            if within(entry.path):
                yield entry, (source.get(chunk, places[chunk]) for chunk in entry.content)


def check_paths(tree: Tree, paths: Sequence[str]) -> Callable[[str], bool]:
    """A test whether a path is one of these, or below one.

    Raises:
        FileNotFoundError: The tree has not all of them.
    """
    missing = {path.strip("/") for path in paths}
    for entry in tree.entries:
        missing.discard(entry.path)
    for path in paths:
        if path.strip("/") in missing:
            raise FileNotFoundError(errno.ENOENT, f"snapshot {tree.snapshot.id!r} has no such path", path)
    return is_within(paths)
