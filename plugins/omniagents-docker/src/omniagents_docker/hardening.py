"""What a container may do: one readable profile, and its translation into the engine's words."""

from __future__ import annotations

import ipaddress
import math
import os
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Final, Literal

__all__ = ["BLOCKED_NETWORKS", "HardeningProfile"]

_MIB: Final = 1 << 20
_GIB: Final = 1 << 30

#: Private, shared, link-local and benchmark ranges (IANA special-purpose registry): the host's own addresses, its
#: neighbours, other containers, and the metadata services of clouds (169.254.169.254, 100.100.100.200).
BLOCKED_NETWORKS: Final = (
    "10.0.0.0/8",
    "100.64.0.0/10",
    "168.63.129.16/32",  # Azure's WireServer, which is not in a private range
    "169.254.0.0/16",
    "172.16.0.0/12",
    "192.168.0.0/16",
    "198.18.0.0/15",
)


@dataclass(frozen=True, kw_only=True)
class HardeningProfile:
    """What untrusted code in a container may do. What the engine cannot honour fails the start.

    Attributes:
        uid: The user that the guest and every command run as; not 0 unless you mean it. The container's own
            idle process runs as another (65534), so that ``kill -9 -1`` in a command ends no environment.
        gid: That user's group.
        capabilities: Linux capabilities to keep, such as ``"NET_BIND_SERVICE"``; all others are dropped.
        no_new_privileges: Set-user-id programs and file capabilities gain nothing.
        seccomp: A seccomp profile as JSON text instead of the engine's default one. It cannot be switched off.
        read_only_root: Only the workspace, the home directory, ``/tmp``, ``/var/tmp`` and ``/dev/shm`` are writable.
        memory_bytes: Memory of all processes together, files in home and ``/tmp`` included; beyond it the kernel
            kills a process.
        swap_bytes: Swap on top of that.
        cpus: Processor time in whole processors, such as 1.5; None for no limit.
        pids: Processes and threads together.
        open_files: Open files of each process.
        workspace_bytes: Size of the workspace; None for no limit. Enforced by the storage driver where it has
            quotas. Elsewhere nothing can be written past it in a single file, and the whole is measured every
            ``quota_check_seconds``: above the limit all commands are killed.
        workspace_files: Number of its files and directories; None for no limit. Always checked in that way.
        quota_check_seconds: How often the workspace is measured.
        tmp_bytes: Size of ``/tmp``, and of ``/var/tmp``, in memory.
        home_bytes: Size of the home directory, in memory.
        shm_bytes: Size of ``/dev/shm``, in memory.
        network: ``"bridge"`` reaches the internet, but no other container; ``"none"`` has the loopback interface only.
        blocked_networks: IPv4 networks that nothing can be sent to, except name queries (port 53). The host's
            gateway address and other containers are always blocked, name queries included, unless the engine makes
            that address the name server (Podman does). IPv6 is off.
        dns: Name servers instead of the engine's own choice. One inside a blocked network is reachable.
        oci_runtime: Name of a runtime the engine knows, such as ``"runsc"`` (gVisor); None for its default.
    """

    uid: int = 1000
    gid: int = 1000
    capabilities: tuple[str, ...] = ()
    no_new_privileges: bool = True
    seccomp: str | None = None
    read_only_root: bool = True
    memory_bytes: int = 2 * _GIB
    swap_bytes: int = 0
    cpus: float | None = 2.0
    pids: int = 512
    open_files: int = 16_384
    workspace_bytes: int | None = 10 * _GIB
    workspace_files: int | None = 1_000_000
    quota_check_seconds: float = 10.0
    tmp_bytes: int = 512 * _MIB
    home_bytes: int = _GIB
    shm_bytes: int = 64 * _MIB
    network: Literal["bridge", "none"] = "bridge"
    blocked_networks: tuple[str, ...] = BLOCKED_NETWORKS
    dns: tuple[str, ...] = ()
    oci_runtime: str | None = None

    def __post_init__(self) -> None:
        if self.network not in ("bridge", "none"):
            raise ValueError(f'network is "bridge" or "none", not {self.network!r}')
        for name in ("capabilities", "blocked_networks", "dns"):
            given = getattr(self, name)
            if isinstance(given, str):
                raise TypeError(f"{name} is a sequence of strings, not the string {given!r}")
            object.__setattr__(self, name, tuple(given))
        for network in self.blocked_networks:
            ipaddress.IPv4Network(network)
        if self.seccomp is not None and not self.seccomp.lstrip().startswith("{"):
            raise ValueError("seccomp is a profile as JSON text; it cannot be switched off")
        for name in ("memory_bytes", "pids", "open_files", "tmp_bytes", "home_bytes", "shm_bytes"):
            if getattr(self, name) <= 0:
                raise ValueError(f"{name} is a positive number, not {getattr(self, name)!r}")

    @property
    def user(self) -> str:
        """``uid:gid``, as the engine takes it."""
        return f"{self.uid}:{self.gid}"

    def as_values(self) -> Mapping[str, Any]:
        """Every field with its value, for comparing profiles."""
        return {field.name: getattr(self, field.name) for field in fields(self)}

    def host_config(self, home: str) -> dict[str, Any]:
        """The engine's ``HostConfig`` (Docker Engine API), without mounts and the network's name."""
        config: dict[str, Any] = {
            "Init": True,
            "ReadonlyRootfs": self.read_only_root,
            "CapDrop": ["ALL"],
            "CapAdd": list(self.capabilities),
            "SecurityOpt": self._security_options(),
            "Memory": self.memory_bytes,
            "MemorySwap": self.memory_bytes + self.swap_bytes,
            "PidsLimit": self.pids,
            "ShmSize": self.shm_bytes,
            "Ulimits": self._limits(),
            "Tmpfs": self._tmpfs(home),
            "IpcMode": "private",
            "CgroupnsMode": "private",
            "LogConfig": {"Type": "none", "Config": {}},
            "RestartPolicy": {"Name": "no"},
        }
        if self.cpus is not None:
            config["NanoCpus"] = math.ceil(self.cpus * 1_000_000_000)
        if self.oci_runtime is not None:
            config["Runtime"] = self.oci_runtime
        if self.network == "bridge":
            config["Dns"] = list(self.dns)
            config["Sysctls"] = {"net.ipv6.conf.all.disable_ipv6": "1", "net.ipv6.conf.default.disable_ipv6": "1"}
        return config

    def _security_options(self) -> list[str]:
        options = ["no-new-privileges:true"] if self.no_new_privileges else []
        return options + ([f"seccomp={self.seccomp}"] if self.seccomp is not None else [])

    def _limits(self) -> list[dict[str, Any]]:
        limits = {"nofile": self.open_files, "core": 0}
        if self.workspace_bytes is not None:
            limits["fsize"] = self.workspace_bytes
        return [{"Name": name, "Soft": value, "Hard": value} for name, value in limits.items()]

    def _tmpfs(self, home: str) -> dict[str, str]:
        # Whose home it is, is set from within: Podman knows no uid= here.
        own = f"rw,exec,nosuid,nodev,mode=700,size={self.home_bytes}"
        shared = f"rw,exec,nosuid,nodev,mode=1777,size={self.tmp_bytes}"
        return {os.path.normpath(home): own, "/tmp": shared, "/var/tmp": shared}
