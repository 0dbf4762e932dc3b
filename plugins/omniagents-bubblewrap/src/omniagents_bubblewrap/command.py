"""The command line of ``bwrap``: everything that is decided, and nothing that is done."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import PurePath

from omniagents_bubblewrap import view
from omniagents_bubblewrap.limits import Limits

__all__ = ["Descriptors", "Sandbox", "options"]


@dataclass(frozen=True)
class Sandbox:
    """What an environment is made of.

    Attributes:
        workspace: Its directory on the host.
        home: Likewise.
        visible: Directories and programs of the host, shown read-only: path in the environment to path on the host.
        shares_network: It has the host's network, not one of its own with nothing in it.
        masked: Files that are hidden behind an empty one.
    """

    workspace: str
    home: str
    visible: Mapping[str, str] = field(default_factory=dict)
    shares_network: bool = False
    limits: Limits = field(default_factory=Limits)
    masked: Sequence[str] = ()


@dataclass(frozen=True)
class Descriptors:
    """Open files that bwrap reads or writes.

    Attributes:
        seccomp: The filter.
        files: Content of files that are made up, by path.
        info: Where it says the number of the process it made.
        block: It waits here before it starts anything.
    """

    seccomp: int
    files: Mapping[str, int]
    info: int
    block: int

    def all(self) -> tuple[int, ...]:
        """Those that bwrap must inherit."""
        return (self.seccomp, *self.files.values(), self.info, self.block)


def options(sandbox: Sandbox, opened: Descriptors) -> list[str]:
    """bwrap's options for a new sandbox."""
    return [
        # Users, mounts, processes, network, IPC, host name, cgroups; failing if one cannot be had.
        "--unshare-user", "--unshare-pid", "--unshare-ipc", "--unshare-uts", "--unshare-cgroup",
        *([] if sandbox.shares_network else ["--unshare-net"]),
        "--uid", str(view.USER_ID), "--gid", str(view.USER_ID), "--hostname", view.HOSTNAME,
        "--cap-drop", "ALL", "--new-session", "--die-with-parent", "--as-pid-1",
        *_system(), *_etc(opened.files), *_kernel(sandbox), *_writable(sandbox), *_visible(sandbox.visible),
        "--remount-ro", "/dev", "--remount-ro", "/",
        "--chdir", "/",
        "--seccomp", str(opened.seccomp), "--info-fd", str(opened.info), "--block-fd", str(opened.block),
    ]  # fmt: skip


def _system() -> list[str]:
    links, directories = view.system_links_and_directories()
    words = []
    for directory in directories:
        words += ["--ro-bind", directory, directory]
    for path, target in links.items():
        words += ["--symlink", target, path]
    return words


def _etc(files: Mapping[str, int]) -> list[str]:
    words = []
    shown = view.etc_directories()
    for parent in sorted({str(parent) for path in (*shown, *files) for parent in PurePath(path).parents} - {"/"}):
        words += ["--perms", "0755", "--dir", parent]  # bwrap makes what is missing for its user alone
    for path in shown:
        words += ["--ro-bind", path, path]
    for path, descriptor in files.items():
        words += ["--perms", "0444", "--file", str(descriptor), path]
    return words


def _kernel(sandbox: Sandbox) -> list[str]:
    words = ["--proc", "/proc", "--dev", "/dev", *_tmpfs("/dev/shm", sandbox.limits.shared_memory_bytes)]
    for path in sandbox.masked:
        words += ["--ro-bind", "/dev/null", path]
    return words


def _writable(sandbox: Sandbox) -> list[str]:
    return [
        *_tmpfs("/tmp", sandbox.limits.tmp_bytes),
        "--dir", "/run", "--dir", "/var", "--symlink", "/tmp", "/var/tmp", "--perms", "0755", "--dir", "/home",
        "--bind", sandbox.home, view.HOME, "--bind", sandbox.workspace, "/workspace",
    ]  # fmt: skip


def _tmpfs(path: str, size: int | None) -> list[str]:
    return ["--perms", "1777", *(["--size", str(size)] if size is not None else []), "--tmpfs", path]


def _visible(visible: Mapping[str, str]) -> list[str]:
    words = []
    for path, source in visible.items():
        words += ["--ro-bind", source, path]
    return words
