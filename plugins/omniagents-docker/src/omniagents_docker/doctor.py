"""What keeps Docker from working on this machine, and the cure."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from typing import Final

from omniagents.backends.base import Problem
from omniagents_docker.engine import Engine, EngineError

__all__ = ["problems"]

_ASK_SECONDS: Final = 3.0

# Docker 20.10, the first that gives containers a cgroup namespace of their own.
_LOWEST_API: Final = (1, 41)

_START: Final = "sudo systemctl start docker"
_INSTALL: Final = {
    "apt-get": "sudo apt-get install docker.io",
    "dnf": "sudo dnf install podman-docker && sudo systemctl start podman.socket",
    "pacman": "sudo pacman -S docker",
    "zypper": "sudo zypper install docker",
    "apk": "sudo apk add docker",
}


def problems() -> list[Problem]:
    """Nothing if the engine that the docker command would ask answers; else why not. Takes a few seconds at most."""
    try:
        engine = Engine.connect(timeout_seconds=_ASK_SECONDS)
        try:
            told = engine.version()
        finally:
            engine.close()
    except EngineError as error:
        return [_explained(error)]
    api = tuple(int(number) for number in str(told.get("ApiVersion", "0")).split("."))
    if api < _LOWEST_API:
        return [
            Problem("the Docker Engine is too old", f"{told.get('Version')}; 20.10 or newer is needed", "upgrade it")
        ]
    if told.get("Os") != "linux":
        return [Problem("no Linux containers", f"the engine runs {told.get('Os')} ones", "switch to Linux containers")]
    return []


def _explained(error: EngineError) -> Problem:
    causes = list(_causes(error))
    if any(isinstance(cause, PermissionError) for cause in causes):
        cure = (
            'sudo usermod -aG docker "$USER"  # then log in again; whoever is in that group can become root. Or '
            "rootless: dockerd-rootless-setuptool.sh install"
        )
        return Problem("no permission for the Docker Engine", str(error), cure)
    asked = next((name for name in ("DOCKER_HOST", "DOCKER_CONTEXT") if os.environ.get(name)), None)
    if asked is not None:
        cure = f"correct {asked}={os.environ[asked]}, or unset it, or start the engine that it names"
        return Problem("no Docker Engine answers", str(error), cure)
    if shutil.which("dockerd") is not None:
        return Problem("no Docker Engine runs", str(error), _START)
    installed = "only the docker command is installed: " if shutil.which("docker") else ""
    return Problem("no Docker Engine runs", f"{installed}{error}", f"{_install_command()}, or set DOCKER_HOST")


def _install_command() -> str:
    found = (command for program, command in _INSTALL.items() if shutil.which(program))
    return next(found, "install Docker Engine (docs.docker.com/engine/install)")


def _causes(error: BaseException) -> Iterator[BaseException]:
    """The error and what is behind it, also what other libraries keep in arguments instead of chaining."""
    seen: list[object] = [error]
    while seen:
        one = seen.pop()
        if isinstance(one, BaseException):
            yield one
            seen += [one.__cause__, one.__context__ if one.__cause__ is None else None, *one.args]
