"""Names this repository provides in distributions of their own, and how to install those."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

from omniagents.errors import MissingPluginError

if TYPE_CHECKING:
    from omniagents.plugins.specs import Kind

__all__ = ["FIRST_PARTY", "install_command", "missing_plugin", "names_of"]

FIRST_PARTY: Final[Mapping[tuple[Kind, str], str]] = {
    ("backend", "bubblewrap"): "omniagents-bubblewrap",
    ("backend", "docker"): "omniagents-docker",
    ("backend", "e2b"): "omniagents-e2b",
    ("state_manager", "directory"): "omniagents-snapshot",
    ("state_manager", "gcs"): "omniagents-gcs",
    ("state_manager", "git"): "omniagents-git",
    ("agent", "langchain"): "omniagents-langchain",
    ("agent", "pydantic-ai"): "omniagents-pydantic-ai",
    ("agent", "smolagents"): "omniagents-smolagents",
}

# Siblings that a plugin needs besides the core: named in the command, lest pip look for them on an index.
_SIBLINGS: Final[Mapping[str, tuple[str, ...]]] = {
    "omniagents-gcs": ("omniagents-snapshot",),
    "omniagents-git": ("omniagents-snapshot",),
}

# A path, because the name `omniagents` on the public index is somebody else's project.
_INSTALL_HINT: Final = "in a checkout of Omniagents run: pip install {paths}"


def install_command(distribution: str) -> str:
    """How to install one of the distributions of this repository; ends with the command itself."""
    wanted = (*_SIBLINGS.get(distribution, ()), distribution)
    return _INSTALL_HINT.format(paths=" ".join(f"./plugins/{name}" for name in wanted))


def missing_plugin(asked: str, distribution: str) -> MissingPluginError:
    """The error for something known that is not installed; ``asked`` starts the sentence."""
    return MissingPluginError(
        f"{asked} comes with the plugin {distribution}, which is not installed; {install_command(distribution)}"
    )


def names_of(distribution: str, kind: Kind) -> frozenset[str]:
    """What a first-party distribution provides of one kind; empty for a stranger's."""
    return frozenset(name for (of, name), source in FIRST_PARTY.items() if of == kind and source == distribution)
