"""Import shim: ``E2BBackend`` lives in the distribution omniagents-e2b."""

from typing import TYPE_CHECKING

from omniagents._shim import from_plugins

if TYPE_CHECKING:
    from omniagents_e2b.backend import E2BBackend as E2BBackend  # type: ignore[import-not-found,unused-ignore]
else:
    __getattr__ = from_plugins(__name__, E2BBackend="omniagents_e2b.backend")
