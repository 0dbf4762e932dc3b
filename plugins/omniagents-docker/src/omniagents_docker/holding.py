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

__all__ = ["claim", "is_held", "lost_race"]

# How long somebody may take between claiming a container and holding a process in it.
_CLAIM_SECONDS: Final = 30.0
_LOOK_SECONDS: Final = 0.1
# The engine has given a name away before it shows the container.
_SHOWN_SECONDS: Final = 2.0


def is_held(engine: Engine, container: Mapping[str, Any]) -> bool:
    """Whether somebody holds a process in it; one whose holder has just died gets the time to end."""
    if not container["State"]["Running"] or container["State"].get("Paused"):
        return False
    return not all(wait_for_exec(engine, exec_id) for exec_id in container.get("ExecIDs") or [])


def _find(engine: Engine, project_id: str, host: str, *, takeover: bool) -> dict[str, Any] | None:
    """The project's container if there is one and it is free. Arguments and errors are those of ``claim``."""
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


def claim(engine: Engine, project_id: str, host: str, *, takeover: bool) -> dict[str, Any] | None:
    """Take the project's container before anybody else does; None if there is none.

    Args:
        host: Our machine and lease directory: a claim made there by a living process cannot be, as we hold the lease.
        takeover: Also one that is held.

    Raises:
        ProjectInUseError: Somebody holds it, is starting it, or was faster.
    """
    wanted = naming.claim_of(naming.container_name(project_id))
    end = time.monotonic() + _CLAIM_SECONDS
    while (found := _find(engine, project_id, host, takeover=takeover)) is not None:
        if found["Name"].lstrip("/") == wanted:
            return found
        try:
            engine.rename(found["Id"], wanted)
            return found
        except EngineError as error:
            if error.is_absent and time.monotonic() < end:
                time.sleep(_LOOK_SECONDS)  # it was being removed; look again
                continue
            if error.status is None:
                raise
            raise _in_use(project_id, found, "is being started by another process; it was made by") from error
    return None


def lost_race(engine: Engine, project_id: str) -> ProjectInUseError:
    """The error for whoever finds the name taken that it wanted."""
    name = naming.container_name(project_id)
    end = time.monotonic() + _SHOWN_SECONDS
    while not (found := engine.inspect(naming.claim_of(name)) or engine.inspect(name)) and time.monotonic() < end:
        time.sleep(_LOOK_SECONDS)
    return _in_use(project_id, found or {"Config": {"Labels": {}}}, "is being started by")


def _in_use(project_id: str, container: Mapping[str, Any], how: str) -> ProjectInUseError:
    labels = _labels(container)
    return ProjectInUseError(
        f"project {project_id!r} {how} {labels.get(naming.LABEL_OWNER, 'another process')} "
        f"(container made {labels.get(naming.LABEL_SINCE, 'a moment ago')}); shut that backend down, or start this one "
        "with takeover=True"
    )


def _labels(container: Mapping[str, Any]) -> Mapping[str, str]:
    return container["Config"].get("Labels") or {}
