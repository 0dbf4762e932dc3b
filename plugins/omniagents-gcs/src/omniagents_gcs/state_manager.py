"""``gcs``: snapshots in a bucket of Google Cloud Storage."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, TypedDict, Unpack

from omniagents.errors import StateConfigurationError
from omniagents_gcs.store import GCSStore
from omniagents_snapshot.manager import SnapshotStateManager

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from google.cloud import storage

    from omniagents_snapshot.encryption import Encryption
    from omniagents_snapshot.resolving import OnConflict
    from omniagents_snapshot.retention import Retention

__all__ = ["GCSStateManager", "SnapshotOptions"]

_VARIABLE = "BUCKET_OMNIAGENTS"


class SnapshotOptions(TypedDict, total=False):
    """The options of ``SnapshotStateManager``, which has their meanings and defaults."""

    max_bytes: int | None
    max_files: int | None
    leave_out: Sequence[str]
    cache_directory: Path | None
    cache_bytes: int
    on_conflict: OnConflict
    retention: Retention
    encryption: Encryption | None


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
        options: What ``SnapshotStateManager`` takes: limits, what to leave out, conflicts, retention, encryption…

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
        **options: Unpack[SnapshotOptions],
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
        super().__init__(store, **options)

    def __repr__(self) -> str:
        return f"GCSStateManager({self.store.identity!r})"
