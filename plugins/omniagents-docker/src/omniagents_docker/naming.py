"""Names and labels of what this backend makes at the engine."""

from __future__ import annotations

import hashlib
import os
import socket
from pathlib import Path
from typing import Final

import platformdirs

from omniagents import __version__
from omniagents._ids import encode_project_id, utc_now
from omniagents.guest.kernel import is_alive, process_start

__all__ = [
    "LABEL",
    "LABEL_HOST",
    "LABEL_OWNER",
    "LABEL_POOL",
    "LABEL_PROCESS",
    "LABEL_PROJECT",
    "LABEL_SETTINGS",
    "LABEL_SINCE",
    "LABEL_VOLUME",
    "NETWORK",
    "WARM_PREFIX",
    "claim_of",
    "container_name",
    "is_maker_alive",
    "labels_of",
    "lease_directory",
    "paused_of",
    "this_host",
]

#: On everything of ours; its value is the version that made it.
LABEL: Final = "omniagents.version"
#: The project id.
LABEL_PROJECT: Final = "omniagents.project"
#: Who made it: the backend, its process, and since when.
LABEL_OWNER: Final = "omniagents.owner"
LABEL_SINCE: Final = "omniagents.since"
#: The machine and lease directory of who made it, as a digest.
LABEL_HOST: Final = "omniagents.host"
#: The pid and start time of who made it; they mean something on that machine only.
LABEL_PROCESS: Final = "omniagents.process"
#: A digest of image and settings: a container with another one is not what is asked for.
LABEL_SETTINGS: Final = "omniagents.settings"
#: The warm pool that made it.
LABEL_POOL: Final = "omniagents.pool"

#: On a volume that is empty and has the name of a project's: the volume that the project really has.
LABEL_VOLUME: Final = "omniagents.volume"

NETWORK: Final = "omniagents"

#: How names of containers begin that no project has yet.
WARM_PREFIX: Final = "omniagents-warm-"


def container_name(project_id: str) -> str:
    """The project's container once it is prepared, and the volume of its workspace."""
    return f"omniagents-{encode_project_id(project_id)}"


def claim_of(name: str) -> str:
    """The name of a container that is being prepared, or taken over: only one can give it this name."""
    return f"{name}.starting"


def paused_of(name: str) -> str:
    """The name of a container while its holder keeps it paused."""
    return f"{name}.paused"


def lease_directory() -> Path:
    """Where this user's leases of docker projects are (``Backend.__init__``)."""
    return platformdirs.user_data_path("omniagents") / "leases" / "DockerBackend"


def this_host() -> str:
    """This machine and where its leases are: two processes with the same are kept apart by the lease already."""
    place = f"{socket.gethostname()}\0{lease_directory()}"
    return hashlib.sha256(place.encode("utf-8", "surrogateescape")).hexdigest()[:32]


def labels_of(owner: str) -> dict[str, str]:
    """What is on everything that this process makes."""
    pid = os.getpid()
    return {
        LABEL: __version__,
        LABEL_OWNER: f"{owner} in process {pid} on {socket.gethostname()}",
        LABEL_PROCESS: f"{pid} {process_start(pid)}",
        LABEL_SINCE: utc_now().isoformat(timespec="seconds"),
        LABEL_HOST: this_host(),
    }


def is_maker_alive(labels: dict[str, str]) -> bool:
    """Whether the process that made it lives; only for what was made on this machine."""
    pid, _, start = labels.get(LABEL_PROCESS, "").partition(" ")
    return pid.isdecimal() and is_alive(int(pid)) and process_start(int(pid)) == start
