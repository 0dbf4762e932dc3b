"""What a state manager may be able to do beside what every one must: found out by looking, never assumed."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any, Final

from omniagents.errors import StateError
from omniagents.state.base import StateManager

__all__ = ["ABILITIES", "abilities_of", "require"]

#: Names, each with what a manager without it cannot do. All but the last two are methods of that name;
#: docs/state.md has their signatures.
ABILITIES: Final[Mapping[str, str]] = {
    "projects": "list its projects",
    "check": "check what it keeps",
    "repair": "repair what it keeps",
    "tags": "list tags",
    "tag": "give snapshots tags",
    "untag": "take tags away",
    "prune": "remove some snapshots and keep others",
    "fork": "make a project from another's snapshot",
    "diff": "compare snapshots",
    "diff_text": "compare the text of snapshots",
    "export": "write a snapshot as an archive",
    "stats": "say how much it keeps",
    "restore_paths": "restore part of a snapshot",
    "on_conflict": "be told what to do with a conflict",
}
_OPTIONS: Final = {"restore_paths": ("restore", "paths"), "on_conflict": ("save", "on_conflict")}


def abilities_of(manager: StateManager) -> frozenset[str]:
    """Those of ``ABILITIES`` that this manager has: a method of that name; for ``restore_paths`` an option ``paths``
    of ``restore``, and for ``on_conflict`` an option of that name of ``save``."""
    return frozenset(name for name in ABILITIES if _has(manager, name))


def require(manager: StateManager, ability: str, name: str) -> Any:
    """The manager, where it has this ability.

    Args:
        name: What the error calls the manager.

    Raises:
        StateError: It has not.
    """
    if not _has(manager, ability):
        raise StateError(f"the state manager {name!r} cannot {ABILITIES[ability]}")
    return manager


def _has(manager: StateManager, ability: str) -> bool:
    if ability in _OPTIONS:
        method, option = _OPTIONS[ability]
        return option in inspect.signature(getattr(manager, method)).parameters
    return callable(getattr(manager, ability, None))
