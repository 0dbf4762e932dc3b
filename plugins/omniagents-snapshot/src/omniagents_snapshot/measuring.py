"""How much a project keeps, and what that takes."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from omniagents_snapshot.repository import Repository

__all__ = ["ProjectStats", "project_stats"]


@dataclass(frozen=True)
class ProjectStats:
    """Sizes in bytes.

    Attributes:
        snapshots: How many are kept, from ``oldest`` to ``newest``.
        tags: How many of them have a name.
        files: Of the latest snapshot; ``bytes`` is how large they are together.
        objects: How many are stored, and ``stored_bytes`` what they take: this is what storage is paid for.
        packs: How many of them hold content; ``pack_bytes`` is what those take.
        unused_bytes: Of objects that no kept snapshot needs, and a ``prune`` would delete. What of other packs is
            needed by nobody is not counted: ``prune(..., dry_run=True)`` tells.
        saved_bytes: The files of all snapshots added up: what copies of them would take.
    """

    project_id: str
    snapshots: int
    tags: int
    oldest: datetime | None
    newest: datetime | None
    files: int
    bytes: int
    objects: int
    stored_bytes: int
    packs: int
    pack_bytes: int
    unused_bytes: int
    saved_bytes: int


def project_stats(repository: Repository) -> ProjectStats:
    head = repository.read_head().head
    recorded = repository.recorded(head)
    snapshots = [snapshot for snapshot, _ in recorded]
    moves = repository.moves
    named = {pack for _, tree in recorded for pack in repository.get_outline(tree).packs.values()}
    used = {pack.digest for one in named for pack in moves.packs_of(one)}
    used |= {tree.digest for _, tree in recorded}
    used |= {head.moves.digest} if head and head.moves else set()
    latest = next((one for one in snapshots if head is not None and one.id == head.snapshot_id), None)
    objects = list(repository.list())
    sizes = {found.name.rpartition("/")[2]: found.size for found in objects if "/packs/" in found.name}
    others = {
        found.name.rpartition("/")[2]: found.size
        for found in objects
        if "/trees/" in found.name or "/moves/" in found.name
    }
    return ProjectStats(
        project_id=repository.project_id,
        snapshots=len(snapshots),
        tags=len(head.tags) if head else 0,
        oldest=snapshots[-1].created_at if snapshots else None,
        newest=snapshots[0].created_at if snapshots else None,
        files=latest.files if latest else 0,
        bytes=latest.bytes if latest else 0,
        objects=len(objects),
        stored_bytes=sum(found.size for found in objects),
        packs=len(sizes),
        pack_bytes=sum(sizes.values()),
        unused_bytes=sum(size for name, size in (sizes | others).items() if name not in used),
        saved_bytes=sum(one.bytes for one in snapshots),
    )
