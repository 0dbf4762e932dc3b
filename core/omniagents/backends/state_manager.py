"""State managers at their documented path; those of plugins are imported when they are asked for."""

from typing import TYPE_CHECKING

from omniagents._shim import from_plugins
from omniagents.state import NoOpStateManager, Snapshot, StateManager

__all__ = ["NoOpStateManager", "Snapshot", "StateManager"]

if TYPE_CHECKING:
    from omniagents_gcs.state_manager import (  # type: ignore[import-not-found,unused-ignore]
        GCSStateManager as GCSStateManager,
    )
    from omniagents_git.state_manager import (  # type: ignore[import-not-found,unused-ignore]
        GitStateManager as GitStateManager,
    )
    from omniagents_snapshot.directory import (  # type: ignore[import-not-found,unused-ignore]
        DirectoryStateManager as DirectoryStateManager,
    )
else:
    __getattr__ = from_plugins(
        __name__,
        DirectoryStateManager="omniagents_snapshot.directory",
        GCSStateManager="omniagents_gcs.state_manager",
        GitStateManager="omniagents_git.state_manager",
    )
