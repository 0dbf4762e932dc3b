"""The volume of a workspace, with a quota where the engine's storage has them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NamedTuple

from omniagents_docker.engine import Engine, EngineError

__all__ = ["Volume", "has_quota", "make_volume"]

# Docker's local volume driver: a project quota of XFS or ext4. Anything else refuses it, and says so with this word.
_SIZE: Final = "size"
_REFUSAL: Final = "quota"


class Volume(NamedTuple):
    """What became of a volume that was asked for: whether the storage limits its size, and whether it was made now."""

    has_quota: bool
    is_new: bool


def make_volume(engine: Engine, name: str, size_bytes: int | None, labels: Mapping[str, str]) -> Volume:
    """Make a volume unless it is there.

    Raises:
        EngineError: It cannot be made.
    """
    found = engine.volume(name)
    if found is not None:
        return Volume(has_quota(found), is_new=False)
    # Podman takes the option and then cannot mount the volume.
    if size_bytes is not None and not engine.is_podman:
        try:
            engine.create_volume(name, labels, {_SIZE: str(size_bytes)})
            return Volume(has_quota=True, is_new=True)
        except EngineError as error:
            if _REFUSAL not in str(error).lower():
                raise
    engine.create_volume(name, labels, {})
    return Volume(has_quota=False, is_new=True)


def has_quota(volume: Mapping[str, object]) -> bool:
    """Whether a volume was made with a limited size."""
    options = volume.get("Options")
    return isinstance(options, Mapping) and _SIZE in options
