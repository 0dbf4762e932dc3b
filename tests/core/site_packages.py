"""A directory that looks like site-packages, in which a test installs plugins by writing real metadata."""

from __future__ import annotations

import importlib
import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from textwrap import dedent

import importlib_metadata

from omniagents.plugins import manager


@dataclass(frozen=True)
class SitePackages:
    """Attributes: ``path`` is the directory, which is on ``sys.path``."""

    path: Path

    def install(
        self,
        distribution: str,
        *,
        entry_points: Mapping[str, str],
        modules: Mapping[str, str],
        commands: Mapping[str, str] | None = None,
        version: str = "1.0",
        direct_url: Mapping[str, object] | None = None,
    ) -> None:
        """Write what pip would: modules (by name, with their source) and a dist-info directory."""
        for name, source in modules.items():
            (self.path / f"{name}.py").write_text(dedent(source))
        groups = {"omniagents": entry_points, "omniagents.commands": commands or {}}
        lines = [
            line for group, entries in groups.items() for line in (f"[{group}]", *map(" = ".join, entries.items()))
        ]
        self.write_metadata(distribution, "entry_points.txt", "\n".join(lines) + "\n", version=version)
        self.write_metadata(
            distribution,
            "METADATA",
            f"Metadata-Version: 2.1\nName: {distribution}\nVersion: {version}\n",
            version=version,
        )
        if direct_url is not None:
            self.write_metadata(distribution, "direct_url.json", json.dumps(direct_url), version=version)

    def write_metadata(self, distribution: str, file: str, content: str | bytes, *, version: str = "1.0") -> None:
        """Write one file of a dist-info directory."""
        directory = self.path / f"{distribution.replace('-', '_')}-{version}.dist-info"
        directory.mkdir(exist_ok=True)
        (directory / file).write_bytes(content if isinstance(content, bytes) else content.encode())
        forget_caches()

    def forget_modules(self) -> None:
        """Undo the imports of what was installed here."""
        for name, module in list(sys.modules.items()):
            if (getattr(module, "__file__", None) or "").startswith(str(self.path)):
                del sys.modules[name]


def forget_caches() -> None:
    """Make the next use look at the disk again: the caches go by directory times, which are coarse."""
    importlib.invalidate_caches()
    importlib_metadata.MetadataPathFinder().invalidate_caches()  # a class method only since 8.0
    manager.reload()
