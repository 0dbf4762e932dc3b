"""Import shim: ``BubblewrapBackend`` lives in the distribution omniagents-bubblewrap."""

from typing import TYPE_CHECKING

from omniagents._shim import from_plugins

if TYPE_CHECKING:
    from omniagents_bubblewrap.backend import BubblewrapBackend as BubblewrapBackend  # type: ignore[import-not-found,unused-ignore]
else:
    __getattr__ = from_plugins(__name__, BubblewrapBackend="omniagents_bubblewrap.backend")
