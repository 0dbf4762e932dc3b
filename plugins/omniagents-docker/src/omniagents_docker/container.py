"""Making one container: configured, started, prepared from within, checked, and with an interpreter waiting in it."""

from __future__ import annotations

import contextlib
import hashlib
import json
import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from typing import Any, Final

from omniagents.errors import BackendStartError
from omniagents.presets.base import Preset
from omniagents_docker import naming, waiting
from omniagents_docker.ending import end_exec
from omniagents_docker.engine import Engine, EngineError
from omniagents_docker.hardening import HardeningProfile
from omniagents_docker.images import Image, PullProgress, ensure_image, image_name
from omniagents_docker.network import ensure_network, unambiguously
from omniagents_docker.stream import ExecStream
from omniagents_docker.volume import make_volume

__all__ = ["WORKSPACE", "Container", "Settings", "make_container", "open_waiting", "settings_for", "start_container"]

# What ``Backend`` takes for a workspace that was not filled yet.
_MARKER: Final = ".omniagents-loading.tmp"

#: Where the workspace is in a container.
WORKSPACE: Final = "/workspace"

_HOME: Final = "/home/agent"

# The container's own process: neither root nor the guest's user. (The module `signal` takes as long as Python itself.)
_IDLE_USER: Final = "65534:65534"
_IDLE_PROGRAM: Final = "import _signal;_signal.pause()"

# What a shell and an interpreter exit with when there is no such program (POSIX, "Exit Status for Commands").
_NO_PROGRAM: Final = (126, 127)
_TOO_OLD: Final = 78
# What Python 2 exits with, which knows no -I.
_BAD_OPTION: Final = 2

# The program is an argument, for Python 2 to print its version and not a complaint about what it cannot compile.
_PREPARE: Final = (
    "import sys\nif sys.version_info<(3,8):\n sys.stdout.write(sys.version.split()[0]);sys.exit(78)\n"
    "exec(compile(sys.argv[1],'<inside>','exec'))"
)

_CURE: Final = (
    "use an image that has Python 3.8 or newer as `python3` (such as python:3.12-slim or "
    "astral/uv:python3.12-bookworm), or add it to yours (Debian: `RUN apt-get update && apt-get install -y python3`, "
    "Alpine: `RUN apk add python3`)"
)


@dataclass(frozen=True)
class Settings:
    """All that decides what a container is; equal settings make containers that can stand for each other.

    Attributes:
        workspace: Where the volume is mounted.
        home: The home directory of the guest's user.
    """

    image: Image
    hardening: HardeningProfile
    workspace: str
    home: str
    python: tuple[str, ...]

    @property
    def digest(self) -> str:
        """The same for equal settings, whatever process computes it."""
        values = [self.image.id, dict(self.hardening.as_values()), self.workspace, self.home, self.python]
        return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()[:32]

    @property
    def trusted_path(self) -> str:
        """Where programs are looked for that run with more rights than the guest."""
        return self.image.trusted_path((self.workspace, self.home, "/tmp", "/var/tmp", "/dev/shm"))

    def config(self, volume: str, labels: Mapping[str, str]) -> dict[str, Any]:
        """The engine's description of the container (Docker Engine API, ContainerCreate)."""
        host = self.hardening.host_config(self.home)
        host["Mounts"] = [
            {
                "Type": "volume",
                "Source": volume,
                "Target": self.workspace,
                "VolumeOptions": {"Labels": dict(labels)},
            }
        ]
        host["NetworkMode"] = naming.NETWORK if self.hardening.network == "bridge" else "none"
        return {
            "Image": self.image.id,
            "User": _IDLE_USER,
            "Entrypoint": [],
            "Cmd": [*self.python, "-I", "-S", "-c", _IDLE_PROGRAM],
            "Env": [f"HOME={self.home}", "USER=agent", "LOGNAME=agent", f"PATH={self.image.path}"],
            "WorkingDir": "/",
            "Hostname": "workspace",
            "Labels": {**labels, naming.LABEL_SETTINGS: self.digest},
            "Healthcheck": {"Test": ["NONE"]},
            "HostConfig": host,
        }


@dataclass(frozen=True)
class Container:
    """A container of ours.

    Attributes:
        volume: Of its workspace.
        has_quota: The storage driver keeps the workspace from growing past its size.
        is_new: So is the volume.
    """

    id: str
    volume: str
    has_quota: bool = False
    is_new: bool = False


def settings_for(
    engine: Engine,
    image: str | None,
    hardening: HardeningProfile | None,
    python: str,
    progress: PullProgress | None,
    preset: Preset | None,
) -> Settings:
    """Settings as users give them; the image is pulled if absent."""
    return Settings(
        image=ensure_image(engine, image_name(image, preset), progress),
        hardening=hardening if hardening is not None else HardeningProfile(),
        workspace=WORKSPACE,
        home=_HOME,
        python=(python,),
    )


def make_container(engine: Engine, settings: Settings, name: str, volume: str, labels: Mapping[str, str]) -> Container:
    """Create a container under ``name``; nothing runs yet.

    Raises:
        EngineError: Refused; ``is_conflict`` where the name is taken.
        BackendStartError: The engine cannot honour a setting.
    """
    if settings.hardening.network == "bridge":
        ensure_network(engine)
    made = make_volume(engine, volume, settings.hardening.workspace_bytes, labels)
    try:
        container, warnings = unambiguously(lambda: engine.create(name, settings.config(volume, labels)), engine)
    except EngineError as error:
        # Whoever has the name has the volume as well.
        if made.is_new and not error.is_conflict:
            engine.remove_volume(volume)
        raise
    if warnings:
        engine.remove(container)
        if made.is_new:
            engine.remove_volume(volume)
        raise BackendStartError(
            f"the engine does not honour every setting: {'; '.join(warnings)}; change it, or the hardening profile"
        )
    return Container(container, volume, made.has_quota, made.is_new)


def start_container(engine: Engine, settings: Settings, container: Container) -> ExecStream:
    """Start it, prepare it before anything of the user's runs there, check it, and leave an interpreter waiting.

    Raises:
        BackendStartError: No usable Python, or a setting that is not honoured.
    """
    try:
        unambiguously(lambda: engine.start(container.id), engine)
        stream = open_waiting(engine, settings, container)
        try:
            # Comes up while the container is prepared: it imports the guest and waits, and runs nothing of the user's.
            # Where it cannot, the preparation cannot either, and says why.
            with contextlib.suppress(OSError):
                waiting.load_guest(stream)
            _prepare(engine, settings, container)
        except BaseException:
            stream.close()
            raise
        return stream
    except (EngineError, OSError) as error:
        raise _start_error(engine, settings, container, error) from error


def open_waiting(engine: Engine, settings: Settings, container: Container) -> ExecStream:
    """Start an interpreter that waits for its program; while it runs, the container is in use."""
    return engine.open(
        container.id,
        waiting.command(settings.python),
        user=settings.hardening.user,
        end=lambda exec_id: end_exec(engine, container.id, exec_id, settings.python, settings.hardening.user),
    )


def _prepare(engine: Engine, settings: Settings, container: Container) -> None:
    hardening = settings.hardening
    wanted = {
        "workspace": settings.workspace,
        "home": settings.home,
        "is_new": container.is_new,
        "marker": _MARKER,
        "uid": hardening.uid,
        "gid": hardening.gid,
        "blocked": hardening.blocked_networks if hardening.network == "bridge" else None,
    }
    source = resources.files("omniagents_docker").joinpath("inside.py").read_text("utf-8")
    argv = [*settings.python, "-I", "-S", "-c", _PREPARE, f"{source}\nprepare(**{wanted!r})\n"]
    # Privileged, but nothing of the user's has ever run in this container, and its PATH leads to the image only.
    result = engine.run(container.id, argv, user="0:0", path=settings.trusted_path, privileged=True)
    if result.exit_code == _TOO_OLD:
        raise BackendStartError(
            f"image {settings.image.name!r} has Python {result.output}; Python 3.8 or newer is needed: {_CURE}"
        )
    if result.exit_code in _NO_PROGRAM and re.search("not found|no such file", result.output, re.IGNORECASE):
        raise _no_python(settings)
    if "ModuleNotFoundError" in result.output:
        missing = result.output.strip().splitlines()[-1]
        raise BackendStartError(
            f"image {settings.image.name!r} has only a part of Python's standard library ({missing}); {_CURE}"
        )
    if result.exit_code:
        raise BackendStartError(
            f"the container of image {settings.image.name!r} could not be prepared: {result.output.strip()[-2000:]}"
        )
    _check(settings, result.output)


def _check(settings: Settings, told: str) -> None:
    """Compare what the kernel says of the container with what was asked for; another runtime may have no such words.

    Args:
        told: The ``/proc/1/status`` of the container.
    """
    if settings.hardening.oci_runtime is not None:
        return
    status = dict(re.findall(r"^(\w+):\s*(\S+)", told, re.MULTILINE))
    hardening = settings.hardening
    missing = []
    if int(status["CapBnd"], 16).bit_count() != len(hardening.capabilities):
        missing.append(f"capabilities (the container has {status['CapBnd']})")
    if hardening.no_new_privileges and status["NoNewPrivs"] != "1":
        missing.append("no_new_privileges")
    if status["Seccomp"] != "2":
        missing.append("seccomp")
    if missing:
        raise BackendStartError(f"the engine does not honour these settings: {', '.join(missing)}")


def _start_error(engine: Engine, settings: Settings, container: Container, error: Exception) -> BackendStartError:
    """What is behind an engine's refusal to start a container, or to run something in it."""
    found = engine.inspect(container.id)
    state = found["State"] if found else {}
    if state.get("ExitCode") in _NO_PROGRAM and not state.get("Running"):
        return _no_python(settings)
    if state.get("ExitCode") == _BAD_OPTION and not state.get("Running"):
        return BackendStartError(
            f"image {settings.image.name!r}: {shlex.join(settings.python)} is no Python 3, it does not know the option "
            f"-I; {_CURE}"
        )
    detail = state.get("Error") or str(error)
    return BackendStartError(f"the container of image {settings.image.name!r} does not start: {detail}")


def _no_python(settings: Settings) -> BackendStartError:
    return BackendStartError(
        f"image {settings.image.name!r} has no {shlex.join(settings.python)}, which the guest needs: {_CURE}"
    )
