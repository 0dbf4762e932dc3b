"""The image: found at the engine, or pulled."""

from __future__ import annotations

import logging
import posixpath
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final, NamedTuple

from omniagents.errors import BackendStartError
from omniagents.presets.base import Preset
from omniagents_docker.engine import Engine, EngineError

__all__ = ["DEFAULT_IMAGE", "Image", "PullProgress", "ensure_image", "image_name"]

DEFAULT_IMAGE: Final = "astral/uv:python3.12-bookworm"

# Of an image that does not say (Docker's own default).
_DEFAULT_PATH: Final = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

#: Gets each of the engine's progress messages: ``status``, ``id`` of a layer, ``progressDetail``.
PullProgress = Callable[[Mapping[str, Any]], None]

_log = logging.getLogger("omniagents")


class Image(NamedTuple):
    """What the backend needs to know of an image."""

    name: str
    id: str
    path: str

    def trusted_path(self, writable: Iterable[str]) -> str:
        """The image's PATH without directories in which code of the user's can put programs."""
        kept = [entry for entry in self.path.split(":") if entry.startswith("/") and not _is_in(entry, writable)]
        return ":".join(kept) or _DEFAULT_PATH


def image_name(image: str | None, preset: Preset | None) -> str:
    """The named image, else the preset's, else the default."""
    return image or (preset.image if preset is not None else None) or DEFAULT_IMAGE


def ensure_image(engine: Engine, name: str, progress: PullProgress | None) -> Image:
    """Find an image, or pull it.

    Raises:
        BackendStartError: The engine has no such image and cannot pull it.
    """
    found = engine.image(name)
    if found is None:
        _log.info("pulling image %s", name)
        try:
            for message in engine.pull(name):
                if progress is not None:
                    progress(message)
        except EngineError as error:
            raise BackendStartError(
                f"the engine has no image {name!r} and cannot get it: {error}; pull it (docker pull {name}), load it "
                "(docker load), or name another with image="
            ) from error
        found = engine.image(name)
        if found is None:
            raise BackendStartError(f"the engine pulled image {name!r} and does not have it")
    variables = dict(entry.partition("=")[::2] for entry in found["Config"].get("Env") or [])
    return Image(name, found["Id"], variables.get("PATH") or _DEFAULT_PATH)


def _is_in(entry: str, directories: Iterable[str]) -> bool:
    entry = posixpath.normpath(entry)
    return any(posixpath.commonpath([entry, directory]) == directory for directory in directories)
