"""What a snapshot is made of, apart from how it is written down."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from omniagents.state import Snapshot

__all__ = [
    "Entry",
    "EntryKind",
    "Head",
    "Origin",
    "Pack",
    "Place",
    "Row",
    "Segment",
    "Tree",
    "TreeName",
    "decode_path",
    "encode_path",
    "path_order",
]

EntryKind = Literal["file", "directory", "link"]


class Entry(NamedTuple):
    """One path of a tree.

    Attributes:
        path: Relative, ``/``-separated; undecodable bytes as surrogate escapes.
        mode: Permission bits; 0 for a link.
        mtime_ns: Nanoseconds since the epoch.
        size: Bytes of a file; 0 for other kinds.
        content: The ids of a file's chunks, in order.
        target: Where a link points, as stored.
    """

    path: str
    kind: EntryKind
    mode: int
    mtime_ns: int
    size: int = 0
    content: tuple[bytes, ...] = ()
    target: str = ""


class Pack(NamedTuple):
    """An object of segments: its digest in hexadecimal, and its size."""

    digest: str
    size: int


class Segment(NamedTuple):
    """Chunks compressed together: where in a pack, and how long before compression."""

    pack: Pack
    offset: int
    stored: int
    raw: int


#: What trees call a segment by: the digest of the pack that it was first stored in, and where in it.
Origin = tuple[str, int]


class Place(NamedTuple):
    """Where a chunk's bytes are: at ``offset`` of the decompressed segment."""

    segment: Segment
    offset: int
    size: int


class TreeName(NamedTuple):
    """The digest of a stored tree in hexadecimal, and its size in bytes."""

    digest: str
    size: int


#: An entry, and where (at least) its chunks are.
Row = tuple[Entry, Mapping[bytes, Place]]


@dataclass(frozen=True)
class Tree:
    """A whole snapshot: its description, its entries, and where every chunk of them is.

    ``entries`` are in the order of their paths (``path_order``), so parents come before children. Those of a
    stored tree (``StoredTree``) are decoded whenever they are looked through.
    """

    snapshot: Snapshot
    entries: Collection[Entry]
    places: Mapping[bytes, Place]

    def rows(self) -> Iterator[Row]:
        """Every entry with a mapping that has its chunks."""
        return ((entry, self.places) for entry in self.entries)

    def held(self) -> AbstractContextManager[None]:
        """While this lasts, looking through the tree again is cheap, as far as memory allows it."""
        return nullcontext()


@dataclass(frozen=True)
class Head:
    """The latest snapshot of a project.

    Attributes:
        snapshot_id: The snapshot that ``tree`` describes.
        parent_id: What it was saved on top of.
        commit_id: Random for every swap: how a writer whose answer was lost knows its own work.
        session: Random for every manager: who wrote this.
        time: When, microseconds since the epoch.
        condemned: Packs about to be deleted; a writer must not refer to them.
        dropped: Ids of snapshots about to be deleted; they are no part of the history any more.
        unrecorded: Trees, besides ``tree``, of snapshots that may have no entry in the history yet.
        tags: Snapshot ids by tag; a tagged snapshot is kept.
        moves: What lists the segments that are not where trees say; None if there are none. Named as trees are.
    """

    tree: TreeName
    snapshot_id: str
    parent_id: str | None
    commit_id: str
    session: str
    time: int
    condemned: tuple[str, ...] = ()
    dropped: tuple[str, ...] = ()
    unrecorded: tuple[TreeName, ...] = ()
    tags: Mapping[str, str] = field(default_factory=dict)
    moves: TreeName | None = None


def encode_path(path: str) -> bytes:
    """The bytes that the environment calls this path by."""
    return path.encode("utf-8", "surrogateescape")


def decode_path(raw: bytes) -> str:
    return raw.decode("utf-8", "surrogateescape")


def path_order(path: str) -> bytes:
    """What paths are sorted by: their components' bytes, so that everything below a directory follows it."""
    return encode_path(path).replace(b"/", b"\0")
