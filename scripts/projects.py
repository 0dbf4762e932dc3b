"""The distributions that this checkout builds, as their pyproject.toml files describe them."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

__all__ = ["ROOT", "Project", "closure", "name_of", "normalized", "projects"]

ROOT = Path(__file__).resolve().parent.parent


@dataclass(frozen=True)
class Project:
    """One folder with a pyproject.toml."""

    directory: Path
    data: Mapping[str, Any]

    @property
    def name(self) -> str:
        """The distribution's normalized name."""
        return normalized(self.data["project"]["name"])

    @property
    def package(self) -> Path:
        """The folder of the one import package that it ships."""
        (package,) = self.data["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]
        return self.directory / str(package)

    @property
    def dependencies(self) -> list[str]:
        """The requirements of a plain installation, without extras."""
        return list(self.data["project"].get("dependencies", ()))

    @property
    def extras(self) -> Mapping[str, list[str]]:
        """The requirements of each extra."""
        extras: Mapping[str, list[str]] = self.data["project"].get("optional-dependencies", {})
        return extras

    @property
    def requirements(self) -> Iterator[str]:
        """Every requirement stated anywhere: build system, runtime, extras, groups."""
        yield from self.data["build-system"]["requires"]
        yield from self.dependencies
        for extra in self.extras.values():
            yield from extra
        for group in self.data.get("dependency-groups", {}).values():
            yield from (entry for entry in group if isinstance(entry, str))


def projects() -> list[Project]:
    """Return every project of the checkout: the core, then plugins, then examples."""
    files = [ROOT / "pyproject.toml", *sorted(ROOT.glob("plugins/*/pyproject.toml"))]
    files += sorted(ROOT.glob("examples/*/pyproject.toml"))
    return [Project(file.parent, tomllib.loads(file.read_text(encoding="utf-8"))) for file in files]


def closure(name: str) -> list[str]:
    """Return ``name`` and the distributions of this checkout that it requires, directly or not."""
    by_name = {project.name: project for project in projects()}
    found = [name]
    for each in found:
        required = map(name_of, by_name[each].dependencies)
        found.extend(sorted(set(required) & by_name.keys() - set(found)))
    return found


def name_of(requirement: str) -> str:
    """Return the normalized package name that a requirement string starts with."""
    found = re.match(r"[A-Za-z0-9][A-Za-z0-9._-]*", requirement)
    if found is None:
        raise ValueError(f"not a requirement: {requirement!r}")
    return normalized(found.group())


def normalized(name: str) -> str:
    """Return ``name`` as package indexes compare it (PEP 503)."""
    return re.sub(r"[-_.]+", "-", name).lower()
