"""What one environment may use, and how that is enforced here."""

from __future__ import annotations

import os
import resource
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, fields

from omniagents_bubblewrap.cgroups import Cgroup

__all__ = ["Limits", "apply_rlimits", "describe"]

_GIB = 1 << 30


@dataclass(frozen=True)
class Limits:
    """Upper bounds; None for no bound.

    Attributes:
        memory_bytes: Of all processes together, with what is in /tmp and /dev/shm; without a cgroup, of the private
            memory of each process (RLIMIT_DATA).
        processes: Processes and threads together.
        cpus: Processors' worth of time, such as 1.5. Only a cgroup can; by default all there are.
        open_files: Of each process.
        tmp_bytes: Of /tmp.
        shared_memory_bytes: Of /dev/shm.
        workspace_bytes: Of workspace and home on disk. Checked about once a second: over it, and growing, everything
            that runs is ended. No single file can be longer (RLIMIT_FSIZE).
        workspace_files: Likewise the number of their files and directories.
        host_free_bytes: Likewise, everything that runs is ended when the disk has less left than this.
    """

    memory_bytes: int | None = 2 * _GIB
    processes: int | None = 512
    cpus: float | None = None
    open_files: int | None = 8192
    tmp_bytes: int | None = _GIB // 2
    shared_memory_bytes: int | None = _GIB // 16
    workspace_bytes: int | None = 10 * _GIB
    workspace_files: int | None = 1_000_000
    host_free_bytes: int | None = _GIB // 2

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if value is not None and not value > 0:
                raise ValueError(f"limit {field.name} is {value!r}; it must be positive, or None for no limit")


def apply_rlimits(pid: int, limits: Limits, cgroup: Cgroup | None, owner: tuple[int, int]) -> None:
    """Limit a process that has not started anything yet, and so all that it starts.

    Args:
        pid: The process.
        limits: What ``cgroup`` takes care of is left to it.
        cgroup: Where the process is.
        owner: Its user and group on the host.

    Raises:
        OSError: The kernel refuses.
    """
    held = cgroup.controllers if cgroup is not None else frozenset()
    wanted = {
        "CORE": 0,
        "NOFILE": limits.open_files,
        "FSIZE": limits.workspace_bytes,
        "NPROC": None if "pids" in held else limits.processes,
        "DATA": None if "memory" in held else limits.memory_bytes,
    }
    values = {name: value for name, value in wanted.items() if value is not None}
    try:
        for name, value in values.items():
            _lower(pid, getattr(resource, f"RLIMIT_{name}"), value)
    except PermissionError:
        # Root without CAP_SYS_RESOURCE may not, but the process's own user may.
        _lower_as(owner, pid, values)


def describe(limits: Limits, cgroup: Cgroup | None) -> Mapping[str, str]:
    """For each limit what enforces it: ``cgroup v1``, ``cgroup v2``, ``rlimit``, ``tmpfs``, ``checked``, ``none``."""
    held = cgroup.controllers if cgroup is not None else frozenset()
    version = f"cgroup v{cgroup.version}" if cgroup is not None else ""
    means = {
        "memory_bytes": version if "memory" in held else "rlimit, of each process",
        "processes": version if "pids" in held else "rlimit",
        "cpus": version if "cpu" in held else "none",
        "open_files": "rlimit, of each process",
        "tmp_bytes": "tmpfs",
        "shared_memory_bytes": "tmpfs",
        "workspace_bytes": "checked, and rlimit of each file",
    }
    return {
        field.name: means.get(field.name, "checked") if getattr(limits, field.name) is not None else "none"
        for field in fields(limits)
    }


def _lower(pid: int, which: int, value: int) -> None:
    _, hard = resource.prlimit(pid, which)
    value = value if hard == resource.RLIM_INFINITY else min(value, hard)
    resource.prlimit(pid, which, (value, value))


def _lower_as(owner: tuple[int, int], pid: int, values: Mapping[str, int]) -> None:
    program = shutil.which("prlimit")
    if program is None:
        raise FileNotFoundError(
            "prlimit (util-linux) is not installed; root needs it here to limit other users' processes"
        )
    options = [f"--{name.lower()}={value}:{value}" for name, value in values.items()]
    result = subprocess.run(
        [program, f"--pid={pid}", *options],
        user=owner[0], group=owner[1], extra_groups=[], cwd="/", env={**os.environ, "LC_ALL": "C"},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    if result.returncode:
        raise OSError(f"prlimit: {result.stderr.strip()}")
