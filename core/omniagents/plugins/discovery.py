"""Finds plugins and commands among the entry points of what is installed, one distribution at a time."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterator
from typing import TYPE_CHECKING, Any, Final, Protocol

from omniagents.plugins.loading import Failure, Origin, Plugin, loaded_from
from omniagents.plugins.specs import PROJECT

if TYPE_CHECKING:
    from importlib_metadata import EntryPoint

__all__ = ["commands", "discovered"]

_COMMANDS: Final = "omniagents.commands"


class _Distribution(Protocol):
    """What is used of importlib_metadata's distributions, whose own type differs between its versions."""

    @property
    def name(self) -> str: ...
    @property
    def version(self) -> str: ...
    @property
    def entry_points(self) -> Any: ...
    def read_text(self, filename: str, /) -> str | None: ...
    def locate_file(self, path: str, /) -> object: ...


def discovered(disabled: Collection[str]) -> Iterator[Plugin]:
    """Every plugin of every installed distribution; those named in ``disabled`` are not imported."""
    for found in _declared(PROJECT):
        if isinstance(found, Plugin):
            yield found
            continue
        origin, entry_point = found
        if entry_point.name in disabled:
            yield Plugin(entry_point.name, origin, is_disabled=True)
        else:
            yield loaded_from(entry_point, origin)


def commands() -> list[tuple[Origin, EntryPoint]]:
    """What installed distributions add to the command line; nothing of it is imported."""
    return [found for found in _declared(_COMMANDS) if not isinstance(found, Plugin)]


def _declared(group: str) -> Iterator[tuple[Origin, EntryPoint] | Plugin]:
    """The entry points of one group; for a distribution whose metadata cannot be read, a plugin that says so."""
    # Costs tens of milliseconds to import, so only where plugins are asked for.
    from importlib_metadata import distributions

    seen: set[str] = set()
    for distribution in distributions():
        try:
            declared = distribution.read_text("entry_points.txt") or ""
        except ValueError as error:
            yield _unreadable(distribution, error)
            continue
        # Spares parsing hundreds of unrelated files, and one malformed file stays its own problem.
        if group in declared:
            yield from _declared_by(distribution, group, seen)


def _declared_by(
    distribution: _Distribution, group: str, seen: set[str]
) -> Iterator[tuple[Origin, EntryPoint] | Plugin]:
    try:
        entry_points = distribution.entry_points.select(group=group)
        if not entry_points:
            return
        origin = Origin(distribution.name, distribution.version, _location_of(distribution))
        normalized = re.sub(r"[-_.]+", "-", origin.distribution).lower()  # as PEP 503 says
    except Exception as error:
        yield _unreadable(distribution, error)
        return
    # The first on sys.path is the one that imports find; later copies are stale.
    if normalized not in seen:
        seen.add(normalized)
        for entry_point in entry_points:
            yield origin, entry_point


def _location_of(distribution: _Distribution) -> str:
    """The URL it was installed from (direct_url.json, PEP 610), else the directory it is in."""
    direct = json.loads(distribution.read_text("direct_url.json") or "{}")
    if not direct:
        return str(distribution.locate_file(""))
    commit = direct.get("vcs_info", {}).get("commit_id", "")
    is_editable = direct.get("dir_info", {}).get("editable", False)
    return f"{direct['url']}{'@' if commit else ''}{commit}{' (editable)' if is_editable else ''}"


def _unreadable(distribution: _Distribution, error: Exception) -> Plugin:
    """A distribution whose metadata cannot be read, named by where it should be."""
    location = str(distribution.locate_file(""))
    origin = Origin("a distribution with unreadable metadata", "", location)
    return Plugin("unknown", origin, failures=(Failure(f"reading metadata in {location}", error),))
