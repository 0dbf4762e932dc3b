"""What these tests share."""

from __future__ import annotations

from collections.abc import Callable

from omniagents_gcs.store import GCSStore

__all__ = ["MakeStore"]

#: Makes a store on the test's server.
MakeStore = Callable[..., GCSStore]
