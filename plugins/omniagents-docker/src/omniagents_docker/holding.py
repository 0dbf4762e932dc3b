"""Who has a project's container: whoever holds a process in it by an open connection.

No clock is compared: the engine closes that process's input when its host process dies or its
connection breaks, the process ends, and the container is free. Taking it is renaming it, which
the engine lets exactly one do. A frozen process cannot end: a paused container has another name.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any, Final

from omniagents.errors import ProjectInUseError
from omniagents_docker import naming
from omniagents_docker.ending import wait_for_exec
from omniagents_docker.engine import Engine, EngineError

__all__ = ["claim", "find", "is_held", "lost_race"]

# How long somebody may take between claiming a container and holding a process in it.
_CLAIM_SECONDS: Final = 30.0
_LOOK_SECONDS: Final = 0.1


def is_held(engine: Engine, container: Mapping[str, Any]) -> bool:
    """Whether somebody holds a process in it; one whose holder has just died gets the time to end."""
    if not container["State"]["Running"] or container["State"].get("Paused"):
        return False
    return not all(wait_for_exec(engine, exec_id) for exec_id in container.get("ExecIDs") or [])


def find(engine: Engine, project_id: str, host: str, *, takeover: bool) -> dict[str, Any] | None:
    """The project's container if there is one and it is free.

    Args:
        host: Our machine and lease directory: a claim made there by a living process cannot be, as we hold the lease.
        takeover: Also one that is held.

    Raises:
        ProjectInUseError: Somebody holds it, or is starting it.
    """
    name = naming.container_name(project_id)
    end = time.monotonic() + _CLAIM_SECONDS
    while True:
        found = engine.inspect(name)
        if found is not None:
            if not takeover and is_held(engine, found):
                raise _in_use(project_id, found, "is in use by")
            return found
        claimed = engine.inspect(naming.claim_of(name))
        if claimed is None:
            return _find_paused(engine, project_id, host, takeover=takeover)
        if takeover or _labels(claimed).get(naming.LABEL_HOST) == host:
            return claimed
        if is_held(engine, claimed):
            raise _in_use(project_id, claimed, "is being started by")
        if time.monotonic() > end:
            # Nobody has held a process in it for as long as a start can take: who claimed it is dead.
            return claimed
        time.sleep(_LOOK_SECONDS)


def _find_paused(engine: Engine, project_id: str, host: str, *, takeover: bool) -> dict[str, Any] | None:
    """One that its holder froze: its process says nothing, so only the holder's machine knows whether it lives."""
    paused = engine.inspect(naming.paused_of(naming.container_name(project_id)))
    if paused is None or takeover or _labels(paused).get(naming.LABEL_HOST) == host:
        return paused
    raise _in_use(project_id, paused, "is paused by")


def claim(engine: Engine, project_id: str, container: Mapping[str, Any]) -> None:
    """Take a container that was found free, before anybody else does.

    Raises:
        ProjectInUseError: Somebody else was faster.
    """
    wanted = naming.claim_of(naming.container_name(project_id))
    if container["Name"].lstrip("/") == wanted:
        return
    try:
        engine.rename(container["Id"], wanted)
    except EngineError as error:
        if error.status is None:
            raise
        raise _in_use(project_id, container, "is being started by another process; it was made by") from error


def lost_race(engine: Engine, project_id: str) -> ProjectInUseError:
    """The error for whoever finds the name taken that it wanted."""
    name = naming.container_name(project_id)
    found = engine.inspect(naming.claim_of(name)) or engine.inspect(name) or {"Config": {"Labels": {}}}
    return _in_use(project_id, found, "is being started by")


def _in_use(project_id: str, container: Mapping[str, Any], how: str) -> ProjectInUseError:
    labels = _labels(container)
    return ProjectInUseError(
        f"project {project_id!r} {how} {labels.get(naming.LABEL_OWNER, 'another process')} "
        f"(container made {labels.get(naming.LABEL_SINCE, 'a moment ago')}); shut that backend down, or start this one "
        "with takeover=True"
    )


def _labels(container: Mapping[str, Any]) -> Mapping[str, str]:
    return container["Config"].get("Labels") or {}
