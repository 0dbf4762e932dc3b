"""The volume of a workspace, with a quota where the engine's storage has them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from omniagents_docker.engine import Engine, EngineError

__all__ = ["has_quota", "make_volume"]

# Docker's local volume driver: a project quota of XFS or ext4. Anything else refuses it, and says so with this word.
_SIZE: Final = "size"
_REFUSAL: Final = "quota"


def make_volume(engine: Engine, name: str, size_bytes: int | None, labels: Mapping[str, str]) -> bool:
    """Make a volume unless it is there; whether its size is limited by the storage itself.

    Raises:
        EngineError: It cannot be made.
    """
    found = engine.volume(name)
    if found is not None:
        return has_quota(found)
    if size_bytes is not None:
        try:
            engine.create_volume(name, labels, {_SIZE: str(size_bytes)})
            return True
        except EngineError as error:
            if _REFUSAL not in str(error).lower():
                raise
    engine.create_volume(name, labels, {})
    return False


def has_quota(volume: Mapping[str, object]) -> bool:
    """Whether a volume was made with a limited size."""
    options = volume.get("Options")
    return isinstance(options, Mapping) and _SIZE in options
