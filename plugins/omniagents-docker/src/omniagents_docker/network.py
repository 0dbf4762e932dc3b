"""The network that containers with ``network="bridge"`` share without reaching each other."""

from __future__ import annotations

from typing import Any, Final

from omniagents import __version__
from omniagents.errors import BackendStartError
from omniagents_docker import naming
from omniagents_docker.engine import Engine, EngineError

__all__ = ["ensure_network"]

# Docker's bridge driver: no traffic between the containers of the network.
_ISOLATED: Final = "com.docker.network.bridge.enable_icc"


def ensure_network(engine: Engine) -> None:
    """Make the network unless it is there; of several made at the same moment only the oldest stays.

    Raises:
        BackendStartError: A network of this name lets containers talk to each other.
    """
    found = engine.networks(naming.NETWORK)
    if not found:
        found = _made(engine)
    options = found[0].get("Options") or {}
    if options.get(_ISOLATED) != "false" and not _is_isolated_elsewhere(options):
        raise BackendStartError(
            f"the engine's network {naming.NETWORK!r} lets containers reach each other; remove it "
            f"(docker network rm {naming.NETWORK}): it is made again as it has to be"
        )


def _made(engine: Engine) -> list[dict[str, Any]]:
    try:
        own = engine.create_network(naming.NETWORK, {_ISOLATED: "false"}, {naming.LABEL: __version__})
    except EngineError as error:
        if not error.is_conflict:
            raise
        own = ""
    found = engine.networks(naming.NETWORK)
    if own and found and found[0]["Id"] != own:
        engine.remove_network(own)
    return found


def _is_isolated_elsewhere(options: dict[str, Any]) -> bool:
    """Podman's word for it (netavark)."""
    return options.get("isolate") in ("true", "strict")
