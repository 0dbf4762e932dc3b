"""``directory``: snapshots on this machine's disk."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import platformdirs

from omniagents_snapshot.directory_store import DirectoryStore
from omniagents_snapshot.encryption import Encryption
from omniagents_snapshot.exclusion import DEFAULT_LEAVE_OUT
from omniagents_snapshot.manager import SnapshotStateManager
from omniagents_snapshot.progress import ProgressCallback
from omniagents_snapshot.resolving import OnConflict
from omniagents_snapshot.retention import DEFAULT_RETENTION, Retention

__all__ = ["DirectoryStateManager"]

_VARIABLE = "OMNIAGENTS_STATE_DIRECTORY"


class DirectoryStateManager(SnapshotStateManager):
    """Keeps snapshots in a directory; any number of managers, threads and processes may share it.

    Args:
        directory: By default ``$OMNIAGENTS_STATE_DIRECTORY``, or else ``omniagents/snapshots`` in the user's
            data directory. Created when first needed, readable by the owner only. The file system
            must support hard links and ``flock``.
        max_bytes: See ``SnapshotStateManager``.
        max_files: See ``SnapshotStateManager``.
        leave_out: See ``SnapshotStateManager``.
        on_conflict: See ``SnapshotStateManager``.
        retention: See ``SnapshotStateManager``.
        encryption: See ``SnapshotStateManager``.
        progress: See ``SnapshotStateManager``.
    """

    def __init__(
        self,
        directory: str | os.PathLike[str] | None = None,
        *,
        max_bytes: int | None = 16 << 30,
        max_files: int | None = 2_000_000,
        leave_out: Sequence[str] = DEFAULT_LEAVE_OUT,
        on_conflict: OnConflict = "error",
        retention: Retention = DEFAULT_RETENTION,
        encryption: Encryption | None = None,
        progress: ProgressCallback | None = None,
    ) -> None:
        store = DirectoryStore(_directory() if directory is None else directory)
        super().__init__(
            store,
            max_bytes=max_bytes,
            max_files=max_files,
            leave_out=leave_out,
            on_conflict=on_conflict,
            retention=retention,
            encryption=encryption,
            progress=progress,
            # Beside the snapshots, so that whoever removes them removes this.
            cache_directory=store.root / ".cache",
            cache_bytes=0,  # it would be the same disk
        )

    def __repr__(self) -> str:
        return f"DirectoryStateManager({self.store.identity.removeprefix('directory:')!r})"


def _directory() -> Path:
    chosen = os.environ.get(_VARIABLE)
    return Path(chosen) if chosen else platformdirs.user_data_path("omniagents") / "snapshots"
