"""What ``omniagents doctor`` looks at, one function each."""

from __future__ import annotations

import fcntl
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from importlib.util import find_spec
from pathlib import Path
from typing import Literal, NamedTuple

import platformdirs

import omniagents
from omniagents.backends.local_backend import LocalBackend
from omniagents.errors import OmniagentsError, PluginError
from omniagents.guest import kernel
from omniagents.plugins.first_party import FIRST_PARTY, install_command
from omniagents.plugins.registry import resolve

__all__ = ["CHECKS", "Finding"]

Status = Literal["ok", "missing", "failed"]

_PYTHON = (3, 11)
_GIT = (2, 38)
_ANSWER_SECONDS = 10


class Finding(NamedTuple):
    """One thing a person may need.

    Attributes:
        name: What was looked at.
        status: ``failed`` means that nothing works without it, ``missing`` that only ``needed_for`` does not.
        detail: What was found.
        needed_for: Who needs it.
        fix: The command, or what to do; empty if all is well.
    """

    name: str
    status: Status
    detail: str
    needed_for: str
    fix: str = ""


def python() -> Finding:
    version = platform.python_version()
    if sys.version_info < _PYTHON:
        return Finding("python", "failed", version, "everything", "install Python 3.11 or newer")
    return Finding("python", "ok", f"{version} at {sys.executable}", "everything")


def kernel_features() -> Finding:
    """What the guest needs to end every process it started."""
    needed_for = "ending every process of a command"
    if sys.platform != "linux":
        return Finding(
            "kernel", "failed", sys.platform, needed_for, "use Linux, or a backend that runs Linux elsewhere"
        )
    lacking = [
        name
        for name, is_there in (
            ("child subreaper", _is_subreaper_there()),
            ("/proc with processes", bool(kernel.process_start(os.getpid()))),
        )
        if not is_there
    ]
    if lacking:
        return Finding(
            "kernel",
            "failed",
            f"no {' and no '.join(lacking)}",
            needed_for,
            "mount -t proc proc /proc; Linux 3.4 or newer",
        )
    return Finding("kernel", "ok", f"Linux {platform.release()}: child subreaper, /proc", needed_for)


def data_directory() -> Finding:
    """Leases and workspaces are here; snapshots need links and locks."""
    directory = platformdirs.user_data_path("omniagents")
    needed_for = "workspaces, leases and snapshots"
    try:
        directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        with tempfile.NamedTemporaryFile(dir=directory, prefix="doctor-") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            linked = Path(f"{file.name}.link")
            linked.hardlink_to(file.name)
            linked.unlink()
    except OSError as error:
        fix = "export XDG_DATA_HOME=/a/writable/directory  # on a file system with hard links and flock"
        return Finding("data directory", "failed", f"{directory}: {error}", needed_for, fix)
    return Finding("data directory", "ok", f"{directory}: writable, with hard links and locks", needed_for)


def local_backend() -> Finding:
    """Starts one, runs a command through it, and stops it."""
    needed_for = "the backend local"
    started = time.perf_counter()
    try:
        with (
            tempfile.TemporaryDirectory(prefix="omniagents-doctor-") as directory,
            # Each id leaves a small lock file behind: few ids, but not one, for doctors at the same time.
            LocalBackend(f"omniagents doctor {os.getpid() % 16}", workspace_dir=directory) as backend,
        ):
            start_seconds = time.perf_counter() - started
            started = time.perf_counter()
            result = backend.workspace.run("echo works", timeout_seconds=_ANSWER_SECONDS)
            run_seconds = time.perf_counter() - started
    except (OmniagentsError, OSError) as error:
        return Finding("local backend", "failed", str(error), needed_for, "omniagents --debug run -s none try -- true")
    if result.stdout != b"works\n":
        detail = f"`echo works` printed {result.stdout!r:.200}, exit code {result.exit_code}"
        return Finding("local backend", "failed", detail, needed_for, "omniagents run -s none try -- 'echo works'")
    times = f"started in {start_seconds * 1000:.0f} ms, ran a command in {run_seconds * 1000:.1f} ms"
    return Finding("local backend", "ok", f"{times}; it does not isolate", needed_for)


def plugins() -> Iterable[Finding]:
    """Every distribution of this repository, and every plugin that is broken."""
    records = omniagents.available()
    for distribution in dict.fromkeys(FIRST_PARTY.values()):
        found = next((record for record in records if record.distribution == distribution), None)
        needed_for = ", ".join(
            f"{kind.replace('_', ' ')} {name}" for (kind, name), of in FIRST_PARTY.items() if of == distribution
        )
        if found is None:
            yield Finding(distribution, "missing", "not installed", needed_for, install_command(distribution))
        elif found.status == "ready":
            yield Finding(distribution, "ok", found.version, needed_for)
    for record in records:
        if record.status != "ready":
            yield Finding(
                record.name, "missing", f"{record.status}: {record.error}", record.distribution, "omniagents plugins"
            )


def git() -> Finding:
    needed_for = "state manager git; agents that use git"
    found = _version_of("git", "--version")
    if found is None:
        return Finding("git", "missing", "not on PATH", needed_for, _apt("git"))
    if _numbers(found) < _GIT:
        return Finding("git", "missing", f"{found}; 2.38 or newer is needed", needed_for, _apt("git"))
    return Finding("git", "ok", found, needed_for)


def uv() -> Finding:
    needed_for = "tool uv, preset python-uv"
    found = _version_of("uv", "--version")
    if found is None:
        return Finding("uv", "missing", "not on PATH", needed_for, "pip install uv")
    return Finding("uv", "ok", found, needed_for)


def bubblewrap() -> Finding | list[Finding]:
    """The plugin's own answer, if it is installed: it knows what forbids a sandbox, and the cure."""
    needed_for = "backend bubblewrap"
    found = _version_of("bwrap", "--version")
    try:
        problems = resolve("backend", "bubblewrap").problems()
    except PluginError:
        if found is None:
            return Finding("bwrap", "missing", "not on PATH", needed_for, _apt("bubblewrap"))
        return Finding("bwrap", "ok", f"{found}; not tried", needed_for)
    if problems:
        return [Finding("bwrap", "missing", f"{each.what}: {each.why}", needed_for, each.cure) for each in problems]
    return Finding("bwrap", "ok", f"{found}: makes a sandbox", needed_for)


def docker() -> Finding | list[Finding]:
    """The plugin's own answer: the engine that the docker command would ask counts, not the client's presence."""
    name, needed_for = "docker engine", "backend docker"
    try:
        problems = resolve("backend", "docker").problems()
    except PluginError:
        fix = install_command("omniagents-docker")
        return Finding(name, "missing", "not tried: omniagents-docker is not installed, or broken", needed_for, fix)
    if problems:
        return [Finding(name, "missing", f"{each.what}: {each.why}", needed_for, each.cure) for each in problems]
    return Finding(name, "ok", "the engine that the docker command would ask answers", needed_for)


def gcs() -> Finding:
    needed_for = "state manager gcs"
    emulator = os.environ.get("STORAGE_EMULATOR_HOST")
    if emulator:
        return Finding("gcs credentials", "ok", f"not needed: STORAGE_EMULATOR_HOST={emulator}", needed_for)
    named = os.environ.get("GOOGLE_APPLICATION_CREDENTIALS")
    configured = Path(os.environ.get("CLOUDSDK_CONFIG", Path.home() / ".config" / "gcloud"))
    file = Path(named) if named else configured / "application_default_credentials.json"
    if not os.access(file, os.R_OK):
        fix = "gcloud auth application-default login  # or export GOOGLE_APPLICATION_CREDENTIALS=/path/to/key.json"
        return Finding("gcs credentials", "missing", f"no readable file {file}", needed_for, fix)
    return Finding("gcs credentials", "ok", str(file), needed_for)


def e2b() -> Finding:
    if not os.environ.get("E2B_API_KEY"):
        return Finding("e2b key", "missing", "E2B_API_KEY is not set", "backend e2b", "export E2B_API_KEY=…")
    return Finding("e2b key", "ok", "E2B_API_KEY is set; it was not tried", "backend e2b")


#: In the order in which they are shown: what everything needs comes first.
CHECKS: tuple[Callable[[], Finding | Iterable[Finding]], ...] = (
    python, kernel_features, data_directory, local_backend, plugins, git, uv, bubblewrap, docker, gcs, e2b,
)  # fmt: skip


def _is_subreaper_there() -> bool:
    import ctypes

    # PR_GET_CHILD_SUBREAPER, from linux/prctl.h: unlike setting it, asking changes nothing.
    answer = ctypes.c_int()
    return bool(ctypes.CDLL(None).prctl(37, ctypes.byref(answer), 0, 0, 0) == 0)


def _version_of(program: str, option: str) -> str | None:
    """The first line it prints; None if it is not there."""
    if shutil.which(program) is None:
        return None
    lines = _answer(program, option).stdout.splitlines()
    return lines[0] if lines else "of unknown version"


def _answer(*argv: str) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(
            argv, capture_output=True, text=True, errors="replace", timeout=_ANSWER_SECONDS, stdin=subprocess.DEVNULL
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return subprocess.CompletedProcess(argv, 1, "", str(error))


def _numbers(version: str) -> tuple[int, ...]:
    found = re.search(r"\d+(?:\.\d+)+", version)
    return tuple(map(int, found.group().split("."))) if found else ()


def _apt(package: str) -> str:
    return f"sudo apt-get install {package}" if find_spec("apt") or shutil.which("apt-get") else f"install {package}"
