"""The network that containers with ``network="bridge"`` share without reaching each other."""

from __future__ import annotations

from typing import Final

from omniagents import __version__
from omniagents_docker import naming
from omniagents_docker.engine import Engine, EngineError

__all__ = ["ensure_network"]

# Docker's bridge driver: no traffic between the containers of the network.
_ISOLATED: Final = "com.docker.network.bridge.enable_icc"


def ensure_network(engine: Engine) -> None:
    """Make the network unless it is there; of several made at the same moment only the oldest stays.

    What keeps containers from each other are the rules in each (``inside.py``), on every engine; the network's own
    option is a second wall, where the engine knows it.
    """
    if not engine.networks(naming.NETWORK):
        _make(engine)


def _make(engine: Engine) -> None:
    try:
        own = engine.create_network(naming.NETWORK, {_ISOLATED: "false"}, {naming.LABEL: __version__})
    except EngineError as error:
        if not error.is_conflict:
            raise
        own = ""
    found = engine.networks(naming.NETWORK)
    if own and found and found[0]["Id"] != own:
        engine.remove_network(own)
