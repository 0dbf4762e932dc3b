"""What dead processes left at the engine: found, and removed only if no living backend owns it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from omniagents.backends.lease import Lease
from omniagents.errors import ProjectInUseError
from omniagents_docker import holding, naming
from omniagents_docker.engine import Engine
from omniagents_docker.volume import remove_volumes, target_of

__all__ = ["Orphan", "find_orphans", "reap"]


@dataclass(frozen=True)
class Orphan:
    """Something of ours that no living backend or pool owns.

    Attributes:
        kind: A ``volume`` is a workspace whose container is gone. It may hold work that was never saved.
        project_id: Whose it is; None for a warm container that was not handed out.
        state: The engine's word, such as ``running`` or ``exited``; empty for a volume.
    """

    kind: Literal["container", "volume"]
    name: str
    project_id: str | None
    state: str
    created: str


def find_orphans(engine: Engine, *, every_machine: bool = False) -> list[Orphan]:
    """What ``reap`` would remove. Age plays no part: what a living process holds stays, however old.

    This machine's leases tell which of the projects that were started here are owned.

    Args:
        every_machine: Also what processes on other machines made that hold no open connection into it now. Only for
            machines that are gone for good: a living one may be about to go on with a container that died, too.
    """
    return [orphan for orphan, _ in _orphans(engine, every_machine)]


def reap(engine: Engine, *, dry_run: bool = True, every_machine: bool = False) -> list[Orphan]:
    """Remove orphans with their workspaces, saved or not; by default only say which. Returns them."""
    found = []
    for orphan, lease in _orphans(engine, every_machine):
        if dry_run:
            found.append(orphan)
            continue
        with _ours(lease, orphan) as is_ours:
            if is_ours and _is_still_orphaned(engine, orphan):
                _remove(engine, orphan)
                found.append(orphan)
    return found


def _orphans(engine: Engine, every_machine: bool) -> Iterator[tuple[Orphan, Lease | None]]:
    # Before the containers: a volume that appears later belongs to a container that is being made.
    volumes = engine.volumes(naming.LABEL)
    mounted: set[str | None] = set()
    for summary in engine.containers(naming.LABEL):
        container = engine.inspect(summary["Id"])
        if container is None:
            continue
        mounted.update(mount.get("Name") for mount in container["Mounts"])
        if not _is_here(container["Config"]) and (not every_machine or _may_be_owned_elsewhere(container)):
            continue
        orphan = _container_orphan(container)
        lease = _lease_of(orphan)
        if not _is_warm(container) and _is_free(lease, orphan) and not holding.is_held(engine, container):
            yield orphan, lease
    stood_for = {target_of(volume) for volume in volumes}
    for volume in volumes:
        if volume["Name"] in mounted | stood_for or target_of(volume) in mounted - {None}:
            continue
        if every_machine or _is_here(volume):
            labels = volume.get("Labels") or {}
            orphan = Orphan("volume", volume["Name"], labels.get(naming.LABEL_PROJECT), "", volume.get("CreatedAt", ""))
            lease = _lease_of(orphan)
            if _is_free(lease, orphan):
                yield orphan, lease


def _is_here(labelled: Mapping[str, Any]) -> bool:
    """Whether this machine's leases say who owns it."""
    return bool((labelled.get("Labels") or {}).get(naming.LABEL_HOST) == naming.this_host())


def _container_orphan(container: Mapping[str, Any]) -> Orphan:
    labels = container["Config"].get("Labels") or {}
    state = str(container["State"]["Status"])
    name = container["Name"].lstrip("/")
    return Orphan("container", name, labels.get(naming.LABEL_PROJECT), state, str(container["Created"]))


def _may_be_owned_elsewhere(container: Mapping[str, Any]) -> bool:
    """Nobody need hold a process in a container that is being made, waits in a pool, or is paused."""
    name = container["Name"].lstrip("/")
    is_waiting = name.endswith(naming.claim_of("")) or name.startswith(naming.WARM_PREFIX)
    return bool(is_waiting or container["State"].get("Paused"))


def _is_warm(container: Mapping[str, Any]) -> bool:
    """It is this machine's, and waits in a pool whose process lives."""
    labels = container["Config"].get("Labels") or {}
    return container["Name"].lstrip("/").startswith(naming.WARM_PREFIX) and naming.is_maker_alive(labels)


def _lease_of(orphan: Orphan) -> Lease | None:
    return None if orphan.project_id is None else Lease(naming.lease_directory(), orphan.project_id)


def _is_free(lease: Lease | None, orphan: Orphan) -> bool:
    with _ours(lease, orphan) as is_ours:
        return is_ours


@contextlib.contextmanager
def _ours(lease: Lease | None, orphan: Orphan) -> Iterator[bool]:
    """Hold the project's lease meanwhile, so that nobody on this machine starts what is being removed."""
    if lease is None:
        yield True
        return
    try:
        lease.acquire(takeover=False, owner="omniagents reap")
    except ProjectInUseError:
        yield False
        return
    try:
        yield True
    finally:
        lease.release()


def _is_still_orphaned(engine: Engine, orphan: Orphan) -> bool:
    if orphan.kind == "volume":
        return True
    container = engine.inspect(orphan.name)
    return container is not None and not holding.is_held(engine, container)


def _remove(engine: Engine, orphan: Orphan) -> None:
    if orphan.kind == "volume":
        volume = engine.volume(orphan.name)
        remove_volumes(engine, orphan.project_id, (target_of(volume) if volume else None) or orphan.name)
        return
    container = engine.inspect(orphan.name)
    engine.remove(orphan.name)
    for mount in container["Mounts"] if container else ():
        if mount["Type"] == "volume":
            remove_volumes(engine, orphan.project_id, mount["Name"])
