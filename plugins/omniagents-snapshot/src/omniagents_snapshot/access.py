"""What a repository needs beside its store."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from omniagents_snapshot.encryption import Encryption
    from omniagents_snapshot.pack_cache import PackCache
    from omniagents_snapshot.progress import ProgressCallback

__all__ = ["Access"]


@dataclass(frozen=True)
class Access:
    """Attributes:
    encryption: The key of encrypted projects; None for projects that are not.
    cache: Where objects that never change are kept on this machine; None for nowhere.
    progress: Told how far a call has come.
    """

    encryption: Encryption | None = None
    cache: PackCache | None = None
    progress: ProgressCallback | None = None
