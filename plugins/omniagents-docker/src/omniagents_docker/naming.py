"""Names and labels of what this backend makes at the engine."""

from __future__ import annotations

from typing import Final

from omniagents._ids import encode_project_id

__all__ = ["LABEL", "LABEL_HOST", "LABEL_OWNER", "LABEL_POOL", "LABEL_PROJECT", "LABEL_SETTINGS", "LABEL_SINCE",
           "NETWORK", "claim_of", "container_name"]  # fmt: skip

#: On everything of ours; its value is the version that made it.
LABEL: Final = "omniagents.version"
#: The project id.
LABEL_PROJECT: Final = "omniagents.project"
#: Who made it: the backend, its process, and since when.
LABEL_OWNER: Final = "omniagents.owner"
LABEL_SINCE: Final = "omniagents.since"
#: The machine and lease directory of who made it, as a digest.
LABEL_HOST: Final = "omniagents.host"
#: A digest of image and settings: a container with another one is not what is asked for.
LABEL_SETTINGS: Final = "omniagents.settings"
#: The warm pool that made it.
LABEL_POOL: Final = "omniagents.pool"

NETWORK: Final = "omniagents"


def container_name(project_id: str) -> str:
    """The project's container once it is prepared, and the volume of its workspace."""
    return f"omniagents-{encode_project_id(project_id)}"


def claim_of(name: str) -> str:
    """The name of a container that is being prepared, or taken over: whoever gives it this name is alone in doing so."""
    return f"{name}.starting"
