"""Which backend ``auto`` is: the first isolated one that works here. Never one without isolation."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from omniagents.errors import BackendStartError, PluginError
from omniagents.plugins import registry

__all__ = ["AUTOMATIC", "choose_backend"]

AUTOMATIC: Final = "auto"
_CANDIDATES: Final = ("bubblewrap", "docker")


def choose_backend() -> str:
    """The name of the first candidate that is installed and has no problems on this machine.

    Raises:
        BackendStartError: There is none; says for each why not, and the cure.
    """
    reasons = []
    for name in _CANDIDATES:
        found = [*_reasons_against(name)]
        if not found:
            return name
        reasons += [f"{name}: {reason}" for reason in found]
    raise BackendStartError(
        "the backend 'auto' finds no isolation on this machine. "
        + " ".join(f"{reason}." for reason in reasons)
        + " 'local' works without any isolation: ask for it by name where nothing untrusted runs"
    )


def _reasons_against(name: str) -> Iterator[str]:
    try:
        backend = registry.resolve("backend", name)
    except PluginError as error:
        yield str(error)
        return
    for problem in backend.problems():
        yield f"{problem.what} ({problem.why}); {problem.cure}"
