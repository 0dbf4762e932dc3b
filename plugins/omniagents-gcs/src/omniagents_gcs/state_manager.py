"""``gcs``: snapshots in a bucket of Google Cloud Storage."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from omniagents.errors import StateConfigurationError
from omniagents_gcs.store import GCSStore
from omniagents_snapshot.exclusion import DEFAULT_LEAVE_OUT
from omniagents_snapshot.manager import SnapshotStateManager

if TYPE_CHECKING:
    from google.cloud import storage

__all__ = ["GCSStateManager"]

_VARIABLE = "BUCKET_OMNIAGENTS"


class GCSStateManager(SnapshotStateManager):
    """Keeps snapshots in a bucket; any number of managers, threads, processes and machines may share it.

    Making one asks nobody: the bucket and the credentials are first used by the first call. The credentials are
    Google's application default ones, and stay on this side.

    Args:
        bucket: Its name; by default ``$BUCKET_OMNIAGENTS``. It must exist.
        prefix: What the names of all objects start with, a ``/`` added.
        project: See ``GCSStore``.
        user_project: See ``GCSStore``.
        client: See ``GCSStore``.
        timeout_seconds: See ``GCSStore``.
        max_bytes: See ``SnapshotStateManager``.
        max_files: See ``SnapshotStateManager``.
        leave_out: See ``SnapshotStateManager``.
        cache_directory: See ``SnapshotStateManager``.

    Raises:
        StateConfigurationError: No bucket was named, or an option cannot be.
    """

    def __init__(
        self,
        bucket: str | None = None,
        prefix: str = "",
        *,
        project: str | None = None,
        user_project: str | None = None,
        client: storage.Client | None = None,
        timeout_seconds: float = 60.0,
        max_bytes: int | None = 16 << 30,
        max_files: int | None = 2_000_000,
        leave_out: Sequence[str] = DEFAULT_LEAVE_OUT,
        cache_directory: Path | None = None,
    ) -> None:
        chosen = bucket or os.environ.get(_VARIABLE)
        if not chosen:
            raise StateConfigurationError(
                f"no bucket for snapshots: set {_VARIABLE} to the name of one, or pass it, as in "
                "GCSStateManager('my-bucket')"
            )
        store = GCSStore(
            chosen,
            prefix,
            project=project,
            user_project=user_project,
            client=client,
            timeout_seconds=timeout_seconds,
        )
        super().__init__(
            store,
            max_bytes=max_bytes,
            max_files=max_files,
            leave_out=leave_out,
            cache_directory=cache_directory,
        )

    def __repr__(self) -> str:
        return f"GCSStateManager({self.store.identity!r})"
