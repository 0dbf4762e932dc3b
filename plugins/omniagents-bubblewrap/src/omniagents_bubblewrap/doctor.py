"""What keeps bubblewrap from working on this machine, and the cure."""

from __future__ import annotations

import errno
import os
import platform
import re
import shutil
import subprocess
import sys
from pathlib import Path

from omniagents.backends.base import Problem
from omniagents_bubblewrap import seccomp

__all__ = ["LOWEST_VERSION", "problems"]

#: --size, --perms and --file with permissions.
LOWEST_VERSION = (0, 5, 0)
_TRY_SECONDS = 20
_INSTALL = {
    "apt-get": "sudo apt-get install bubblewrap",
    "dnf": "sudo dnf install bubblewrap",
    "pacman": "sudo pacman -S bubblewrap",
    "zypper": "sudo zypper install bubblewrap",
    "apk": "sudo apk add bubblewrap",
}
_NAMESPACES = ("--unshare-user", "--unshare-pid", "--unshare-net", "--unshare-ipc", "--unshare-uts", "--unshare-cgroup")
_MOUNTS = ("--ro-bind", "/", "/", "--proc", "/proc", "--dev", "/dev")


def problems() -> list[Problem]:
    """Nothing if a sandbox can be made; else why not, the likeliest first."""
    if sys.platform != "linux":
        return [Problem("no Linux", f"this is {platform.system()}", "use the backend docker")]
    if platform.machine() not in seccomp.MACHINES:
        known = ", ".join(seccomp.MACHINES)
        return [
            Problem(
                "no system call filter", f"{platform.machine()}; there is one for {known}", "use the backend docker"
            )
        ]
    program = shutil.which("bwrap")
    if program is None:
        return [Problem("bwrap is missing", "it is not on PATH", install_command())]
    said = _answer(program, "--version")
    version = _numbers(said.stdout)
    if version < LOWEST_VERSION:
        lowest = ".".join(map(str, LOWEST_VERSION))
        return [Problem("bwrap is too old", f"{said.stdout.strip()}; {lowest} or newer is needed", install_command())]
    tried = _answer(program, *_NAMESPACES, *_MOUNTS, "--uid", "1000", "--gid", "1000", "true")
    return [] if tried.returncode == 0 else _explained(tried.stderr.strip()[:500])


def install_command() -> str:
    """How this machine installs bubblewrap."""
    found = (command for program, command in _INSTALL.items() if shutil.which(program))
    return next(found, "install the package bubblewrap of your distribution")


def _explained(said: str) -> list[Problem]:
    found = []
    if os.geteuid() != 0:
        if _setting("kernel/unprivileged_userns_clone") == 0:
            found.append(_setting_problem("kernel.unprivileged_userns_clone", 0, 1))
        if _setting("kernel/apparmor_restrict_unprivileged_userns") == 1:
            found.append(_apparmor())
    if _setting("user/max_user_namespaces") == 0:
        found.append(_setting_problem("user.max_user_namespaces", 0, 15000))
    if not found and _is_in_container():
        cure = (
            "allow the container user namespaces and mounts (for Docker: --security-opt seccomp=unconfined "
            "--security-opt apparmor=unconfined --security-opt systempaths=unconfined --cap-add SYS_ADMIN), "
            "or use the backend docker"
        )
        found.append(Problem("a container that forbids namespaces", said, cure))
    return found or [
        Problem("bwrap cannot make a sandbox", said, "use the backend docker, or ask who runs this machine")
    ]


def _setting_problem(name: str, value: int, wanted: int) -> Problem:
    cure = (
        f"sudo sysctl -w {name}={wanted}  # for good: echo {name}={wanted} | sudo tee /etc/sysctl.d/60-omniagents.conf"
    )
    return Problem("user namespaces are off", f"{name} is {value}", cure)


def _apparmor() -> Problem:
    profile = (
        "printf 'abi <abi/4.0>,\\ninclude <tunables/global>\\nprofile bwrap /usr/bin/bwrap flags=(unconfined) {\\n"
        "  userns,\\n}\\n' | sudo tee /etc/apparmor.d/bwrap && sudo apparmor_parser -r /etc/apparmor.d/bwrap"
    )
    why = "kernel.apparmor_restrict_unprivileged_userns is 1 (Ubuntu 23.10 and newer), and no profile allows bwrap"
    return Problem("AppArmor restricts user namespaces", why, profile)


def _setting(name: str) -> int | None:
    try:
        return int(Path("/proc/sys", name).read_text())
    except (OSError, ValueError):
        return None  # this kernel has no such setting


def _is_in_container() -> bool:
    return (
        any(os.path.exists(path) for path in ("/.dockerenv", "/run/.containerenv"))
        or "KUBERNETES_SERVICE_HOST" in os.environ
    )


def _answer(*argv: str) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(
            argv, capture_output=True, text=True, errors="replace", timeout=_TRY_SECONDS, stdin=subprocess.DEVNULL
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return subprocess.CompletedProcess(argv, errno.ENOENT, "", str(error))


def _numbers(version: str) -> tuple[int, ...]:
    found = re.search(r"\d+(?:\.\d+)+", version)
    return tuple(map(int, found.group().split("."))) if found else ()
