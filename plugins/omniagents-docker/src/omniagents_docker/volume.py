"""The volume of a workspace, with a quota where the engine's storage has them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NamedTuple

from omniagents_docker import naming
from omniagents_docker.engine import Engine, EngineError

__all__ = ["Volume", "find_volume", "has_quota", "make_volume", "point_to", "remove_volumes", "target_of"]

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
    if size_bytes is not None and engine.has_quotas:
        try:
            engine.create_volume(name, labels, {_SIZE: str(size_bytes)})
            return Volume(has_quota=True, is_new=True)
        except EngineError as error:
            if _REFUSAL not in str(error).lower():
                raise
            engine.has_quotas = False
    engine.create_volume(name, labels, {})
    return Volume(has_quota=False, is_new=True)


def has_quota(volume: Mapping[str, object]) -> bool:
    """Whether a volume was made with a limited size."""
    options = volume.get("Options")
    return isinstance(options, Mapping) and _SIZE in options


def target_of(volume: Mapping[str, object]) -> str | None:
    """The volume that this one only stands for; None if it is a workspace itself."""
    labels = volume.get("Labels")
    return labels.get(naming.LABEL_VOLUME) if isinstance(labels, Mapping) else None


def point_to(engine: Engine, project_id: str, volume: str, owner: str) -> None:
    """Record that a project's workspace is in a volume of another name: labels cannot be changed, nor volumes renamed.

    Without that, nobody would know once the container is gone.
    """
    labels = {**naming.labels_of(owner), naming.LABEL_PROJECT: project_id, naming.LABEL_VOLUME: volume}
    engine.create_volume(naming.container_name(project_id), labels, {})


def find_volume(engine: Engine, project_id: str) -> str | None:
    """The volume of a project's workspace; None if there is none."""
    name = naming.container_name(project_id)
    found = engine.volume(name)
    if found is None:
        return None
    target = target_of(found)
    if target is None:
        return name
    if engine.has_volume(target):
        return target
    engine.remove_volume(name)
    return None


def remove_volumes(engine: Engine, project_id: str | None, volume: str) -> None:
    """Remove a workspace, and what may point to it."""
    engine.remove_volume(volume)
    if project_id is not None and volume != naming.container_name(project_id):
        engine.remove_volume(naming.container_name(project_id))
