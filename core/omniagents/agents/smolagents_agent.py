"""Import shim: ``SmolagentsAgent`` lives in the distribution omniagents-smolagents."""

from typing import TYPE_CHECKING

from omniagents._shim import from_plugins

if TYPE_CHECKING:
    from omniagents_smolagents.agent import SmolagentsAgent as SmolagentsAgent  # type: ignore[import-not-found,unused-ignore]
else:
    __getattr__ = from_plugins(__name__, SmolagentsAgent="omniagents_smolagents.agent")
