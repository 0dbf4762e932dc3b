"""The network that containers with ``network="bridge"`` share without reaching each other."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final, TypeVar

from omniagents import __version__
from omniagents_docker import naming
from omniagents_docker.engine import Engine, EngineError

__all__ = ["ensure_network", "unambiguously"]

_T = TypeVar("_T")

# Docker's bridge driver: no traffic between the containers of the network.
_ISOLATED: Final = "com.docker.network.bridge.enable_icc"

# What an engine says while there are two of one name, which it does not prevent.
_AMBIGUOUS: Final = "ambiguous"
_PATIENCE_SECONDS: Final = 10.0
_LOOK_SECONDS: Final = 0.05


def ensure_network(engine: Engine) -> None:
    """Make the network unless it is there; of several made at the same moment only the oldest stays.

    What keeps containers from each other are the rules in each (``inside.py``), on every engine; the network's own
    option is a second wall, where the engine knows it.
    """
    if not engine.networks(naming.NETWORK):
        _make(engine)


def unambiguously(act: Callable[[], _T], engine: Engine) -> _T:
    """Do what needs the network's name, again if somebody has just made a second one."""
    end = time.monotonic() + _PATIENCE_SECONDS
    while True:
        try:
            return act()
        except EngineError as error:
            if _AMBIGUOUS not in str(error) or time.monotonic() > end:
                raise
        _remove_younger(engine)
        time.sleep(_LOOK_SECONDS)


def _make(engine: Engine) -> None:
    try:
        engine.create_network(naming.NETWORK, {_ISOLATED: "false"}, {naming.LABEL: __version__})
    except EngineError as error:
        if not error.is_conflict:
            raise
    _remove_younger(engine)


def _remove_younger(engine: Engine) -> None:
    for network in engine.networks(naming.NETWORK)[1:]:
        try:
            engine.remove_network(network["Id"])
        except EngineError as error:
            if error.status is None:
                raise
            # A container is in it already: whoever made the older one has to wait, or to start again.
