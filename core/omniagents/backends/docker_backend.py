"""Import shim: ``DockerBackend`` lives in the distribution omniagents-docker."""

from typing import TYPE_CHECKING

from omniagents._shim import from_plugins

if TYPE_CHECKING:
    from omniagents_docker.backend import DockerBackend as DockerBackend  # type: ignore[import-not-found,unused-ignore]
else:
    __getattr__ = from_plugins(__name__, DockerBackend="omniagents_docker.backend")
