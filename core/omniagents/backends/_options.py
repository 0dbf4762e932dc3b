"""What every backend is made with is looked at when it is made, not when it fails hours later."""

from __future__ import annotations

from collections.abc import Mapping

from omniagents.presets.base import Preset
from omniagents.state.base import StateManager

__all__ = ["check_options"]


def check_options(state_manager: object, preset: object, environment: object, checkpoint_interval: object) -> None:
    """Name the option that ``Backend`` cannot be made with.

    Raises:
        TypeError: One of them is something else.
        ValueError: A variable that cannot be, or an interval below 0.
    """
    if not isinstance(state_manager, StateManager):
        raise TypeError(f"state_manager is a StateManager, not {state_manager!r:.200}; create_backend takes names")
    if not (preset is None or isinstance(preset, Preset)):
        raise TypeError(f"preset is a Preset, not {preset!r:.200}; create_backend takes names")
    if not (environment is None or isinstance(environment, Mapping)):
        raise TypeError(f"environment maps names of variables to values, it is not {environment!r:.200}")
    for name in environment or ():
        if not name or "=" in str(name) or "\0" in str(name):
            raise ValueError(f"no variable can have the name {name!r:.200}")
    if not (checkpoint_interval is None or isinstance(checkpoint_interval, (int, float))):
        raise TypeError(f"checkpoint_interval_seconds is a number, not {checkpoint_interval!r:.200}")
    if checkpoint_interval is not None and checkpoint_interval < 0:
        raise ValueError(f"checkpoint_interval_seconds is 0 or more, not {checkpoint_interval!r}")
