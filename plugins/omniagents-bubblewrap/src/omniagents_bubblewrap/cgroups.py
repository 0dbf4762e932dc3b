"""A control group of an environment's own, below or beside the one we are in, where this user may make one."""

from __future__ import annotations

import contextlib
import itertools
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

__all__ = ["Cgroup", "make_cgroup"]

_CONTROLLERS = ("memory", "pids", "cpu")
_PREFIX = "omniagents-"
_PERIOD = 100_000  # microseconds: the kernel's default period of CPU bandwidth control
_END_SECONDS = 2.0
_numbers = itertools.count()


@dataclass(frozen=True)
class Cgroup:
    """One group, or with version 1 one in each hierarchy.

    Attributes:
        directories: By controller; with version 2 the same for all.
    """

    version: Literal[1, 2]
    directories: Mapping[str, Path]

    @property
    def controllers(self) -> frozenset[str]:
        """What it limits."""
        return frozenset(self.directories)

    def limit(self, memory_bytes: int | None, processes: int | None, cpus: float | None) -> None:
        """Set the limits; those of None stay as they are."""
        for controller, name, value in _settings(self.version, memory_bytes, processes, cpus):
            if controller in self.directories:
                _write(self.directories[controller] / name, value)
        if memory_bytes is not None and "memory" in self.directories:
            self._forbid_swap(self.directories["memory"], memory_bytes)

    def add(self, pid: int) -> None:
        """Move a process, which has no others below it yet, into the group."""
        for directory in set(self.directories.values()):
            _write(directory / "cgroup.procs", str(pid))

    def has_killed(self) -> bool:
        """Whether the kernel killed something in it for want of memory."""
        directory = self.directories.get("memory")
        if directory is None:
            return False
        try:
            text = (directory / ("memory.events" if self.version == 2 else "memory.oom_control")).read_text()
        except OSError:
            return False  # removed already
        return any(line.startswith("oom_kill ") and line.split()[1] != "0" for line in text.splitlines())

    def remove(self) -> None:
        """Remove the group, once what is in it has died. What cannot be removed is swept up later."""
        end = time.monotonic() + _END_SECONDS
        for directory in set(self.directories.values()):
            while directory.exists() and not _removed(directory) and time.monotonic() < end:
                time.sleep(0.005)  # killed processes leave their group a moment later

    def _forbid_swap(self, directory: Path, memory_bytes: int) -> None:
        name, value = (
            ("memory.swap.max", "0") if self.version == 2 else ("memory.memsw.limit_in_bytes", f"{memory_bytes}")
        )
        if (directory / name).exists():  # not there on kernels without swap accounting
            _write(directory / name, value)


def make_cgroup(wanted: frozenset[str]) -> Cgroup | None:
    """A new group with as many of the ``wanted`` controllers as this user is given; None if that is none."""
    own = _own_groups()
    name = f"{_PREFIX}{os.getpid()}-{next(_numbers)}"
    if "" in own and not own.keys() & wanted:
        return _make_second_version(_mount_of("cgroup2", ""), own[""], wanted, name)
    found: dict[str, Path] = {}
    for controller in sorted(own.keys() & wanted):
        parent = _below(_mount_of("cgroup", controller), own[controller])
        if parent is not None and (made := _made(parent, name)) is not None:
            found[controller] = made
    return Cgroup(1, found) if found else None


def _make_second_version(mount: Path | None, own: str, wanted: frozenset[str], name: str) -> Cgroup | None:
    """Below our own group only if that is the root: others may hold processes or pass on controllers, not both."""
    group = _below(mount, own)
    if mount is None or group is None:
        return None
    for parent in (group, group.parent) if group != mount else (group,):
        with contextlib.suppress(OSError):
            enabled = wanted & set((parent / "cgroup.subtree_control").read_text().split())
            if not enabled and parent == group:
                _write(parent / "cgroup.subtree_control", " ".join(f"+{each}" for each in sorted(wanted)))
                enabled = wanted & set((parent / "cgroup.subtree_control").read_text().split())
            if enabled and (made := _made(parent, name)) is not None:
                return Cgroup(2, dict.fromkeys(enabled, made))
    return None


def _settings(
    version: int, memory_bytes: int | None, processes: int | None, cpus: float | None
) -> list[tuple[str, str, str]]:
    """(controller, file, content); names as in the kernel's admin-guide/cgroup-v2.rst and cgroup-v1/."""
    settings = []
    if memory_bytes is not None:
        settings.append(("memory", "memory.max" if version == 2 else "memory.limit_in_bytes", f"{memory_bytes}"))
    if processes is not None:
        settings.append(("pids", "pids.max", f"{processes}"))
    if cpus is not None:
        quota = max(1000, round(cpus * _PERIOD))
        settings.append(
            ("cpu", "cpu.max", f"{quota} {_PERIOD}") if version == 2 else ("cpu", "cpu.cfs_quota_us", f"{quota}")
        )
    return settings


def _own_groups() -> dict[str, str]:
    """Our group in each hierarchy, by controller; version 2's has the name ""."""
    try:
        lines = Path("/proc/self/cgroup").read_text().splitlines()
    except OSError:
        return {}
    groups = {}
    for line in lines:
        _, controllers, path = line.split(":", 2)
        groups.update(dict.fromkeys(controllers.split(","), path))
    return groups


def _mount_of(kind: str, controller: str) -> Path | None:
    for line in Path("/proc/self/mounts").read_text().splitlines():
        _, place, found, options = line.split()[:4]
        if found == kind and (not controller or controller in options.split(",")):
            return Path(place)
    return None


def _below(mount: Path | None, path: str) -> Path | None:
    """A group's directory; None if it is outside of what is mounted (in some containers)."""
    directory = mount / path.lstrip("/") if mount is not None and "/.." not in path else None
    return directory if directory is not None and directory.is_dir() else None


def _made(parent: Path, name: str) -> Path | None:
    """A new group that we can move processes into."""
    _sweep(parent)
    try:
        (parent / name).mkdir()
    except OSError:
        return None
    if os.access(parent / "cgroup.procs", os.W_OK) and os.access(parent / name / "cgroup.procs", os.W_OK):
        return parent / name
    _removed(parent / name)
    return None


def _sweep(parent: Path) -> None:
    """Remove the empty groups that killed hosts left."""
    for directory in parent.glob(f"{_PREFIX}*-*"):
        pid = directory.name.removeprefix(_PREFIX).partition("-")[0]
        if pid.isdigit() and not os.path.exists(f"/proc/{pid}"):
            _removed(directory)


def _removed(directory: Path) -> bool:
    try:
        directory.rmdir()
    except OSError:
        return False
    return True


def _write(path: Path, value: str) -> None:
    # Not Path.write_text: it would truncate, which a control file may refuse.
    fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(fd, value.encode())
    finally:
        os.close(fd)
