"""What of this machine an environment sees: the toolchain, read-only, and nothing that is anybody's."""

from __future__ import annotations

import os
import re
import shutil
import stat
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

__all__ = [
    "HOME",
    "HOSTNAME",
    "TOOLS",
    "USER_ID",
    "check_visible",
    "etc_directories",
    "etc_files",
    "find_python",
    "find_uv",
    "masked",
    "network_files",
    "search_path",
    "system_links_and_directories",
]

USER_ID = 1000
HOME = "/home/user"
HOSTNAME = "omniagents"
#: Where single programs of the host are put that lie outside of /usr.
TOOLS = "/opt/omniagents/bin"

_STANDARD_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_AT_ROOT = ("bin", "sbin", "lib", "lib32", "lib64", "libx32")

# Of /etc only what programs need to run, and no private keys: /etc/ssl/private and /etc/pki/tls/private stay away.
# Files are copied: a copy costs a tenth of a mount.
_ETC_FILES = (
    "debian_version", "ld.so.cache", "localtime", "magic", "mime.types", "os-release", "pki/tls/cert.pem",
    "pki/tls/openssl.cnf", "protocols", "services", "ssl/cert.pem", "ssl/openssl.cnf", "timezone",
)  # fmt: skip
_ETC_DIRECTORIES = (
    "alternatives", "crypto-policies", "fonts", "java-*", "pki/ca-trust", "pki/tls/certs", "ssl/certs",
)  # fmt: skip
_MOST_COPIED = 1 << 20

# Keys and timers of other processes, which everybody may read, and what only root may, for sandboxes that run as root.
_MASKED = ("kcore", "key-users", "keys", "latency_stats", "modules", "sched_debug", "timer_list", "timer_stats")

# The host's own say who lives there.
_MADE_UP = {
    "/etc/passwd": f"root:x:0:0:root:/:/usr/sbin/nologin\nuser:x:{USER_ID}:{USER_ID}:user:{HOME}:/bin/bash\n"
    "nobody:x:65534:65534:nobody:/:/usr/sbin/nologin\n",
    "/etc/group": f"root:x:0:\nuser:x:{USER_ID}:\nnogroup:x:65534:\n",
    "/etc/nsswitch.conf": "passwd: files\ngroup: files\nshadow: files\nhosts: files dns\n",
    "/etc/hostname": f"{HOSTNAME}\n",
    "/etc/hosts": f"127.0.0.1 localhost {HOSTNAME}\n::1 localhost {HOSTNAME}\n",
}

# Of these no part may be shown: kernel interfaces, sockets (a read-only mount does not keep anybody from
# connecting to one), other users' temporary files, secrets of the system.
_NEVER = ("/dev", "/etc", "/proc", "/run", "/sys", "/tmp", "/var/lib", "/var/run", "/var/tmp")
_HIDDEN_IN_HOME = (".aws", ".azure", ".config", ".docker", ".gnupg", ".kube", ".netrc", ".ssh")
_LOWEST_PYTHON = (3, 8)


def system_links_and_directories() -> tuple[dict[str, str], list[str]]:
    """Links to make (path to target) and directories to show, so that /usr's programs run."""
    links, directories = {}, ["/usr"]
    for name in _AT_ROOT:
        path = f"/{name}"
        if os.path.islink(path):
            links[path] = os.readlink(path)
        elif os.path.isdir(path):
            directories.append(path)
    return links, directories


def etc_directories() -> list[str]:
    """Directories of /etc that are shown."""
    found = [path for pattern in _ETC_DIRECTORIES for path in sorted(Path("/etc").glob(pattern))]
    return [str(path) for path in found if path.is_dir() and path.stat().st_mode & stat.S_IROTH]


def etc_files() -> dict[str, bytes]:
    """Content of files of /etc: some of the host's that everybody may read, and those that are made up."""
    found = {}
    for name in _ETC_FILES:
        path = Path("/etc", name)
        if path.is_file() and path.stat().st_mode & stat.S_IROTH and path.stat().st_size <= _MOST_COPIED:
            found[str(path)] = path.read_bytes()
    return {**found, **{path: text.encode() for path, text in _MADE_UP.items()}}


def masked() -> list[str]:
    """Files of /proc to hide, as Docker does."""
    return [f"/proc/{name}" for name in _MASKED if os.path.isfile(f"/proc/{name}")]


def network_files() -> dict[str, bytes]:
    """The host's resolver and names, for an environment that shares its network."""
    found = {}
    for path in ("/etc/resolv.conf", "/etc/hosts"):
        if os.path.exists(path):  # the first is often a link into /run, which is not shown
            found[path] = Path(path).read_bytes()
    return found


def check_visible(paths: Iterable[str | os.PathLike[str]], private: Sequence[Path]) -> list[str]:
    """The directories and programs of the host that the user wants shown, as absolute paths.

    Args:
        paths: What the user named.
        private: Directories of everybody's work: neither they nor a part of them may be shown. What an environment can
            write, it can replace with a link to anything of the host's before its next sandbox is made.

    Raises:
        ValueError: Showing it would give the environment more than a toolchain.
        FileNotFoundError: It is not there.
    """
    resolved = sorted({each for path in private for each in (str(path), os.path.realpath(path))})
    return [_checked(os.path.abspath(os.path.expanduser(path)), resolved) for path in paths]


def _checked(path: str, private: Sequence[str]) -> str:
    for each in {path, os.path.realpath(path)}:
        _refuse_secrets(path, each, private)
    mode = os.stat(path).st_mode
    if not (stat.S_ISDIR(mode) or stat.S_ISREG(mode)):
        raise ValueError(f"visible={path!r} is neither a directory nor a file")
    return path


def _refuse_secrets(named: str, path: str, private: Sequence[str]) -> None:
    for never in _NEVER:
        if _is_within(path, never):
            raise ValueError(f"visible={named!r} is in {never}, of which nothing is shown to an environment")
    home = str(Path.home())
    holds = [home, "/home", "/root", *private, *_NEVER]
    for held in holds:
        if _is_within(held, path):
            raise ValueError(f"visible={named!r} would show all of {held}; name the directory of the toolchain itself")
    for each in private:
        if _is_within(path, each):
            raise ValueError(f"visible={named!r} is in {each}, where environments write")
    for name in _HIDDEN_IN_HOME:
        if _is_within(path, os.path.join(home, name)):
            raise ValueError(f"visible={named!r} is in ~/{name}, where secrets are kept")


def _is_within(path: str, directory: str) -> bool:
    return path == directory or path.startswith(directory.rstrip("/") + "/")


def search_path(visible: Iterable[str]) -> str:
    """The PATH: what the user showed comes first, programs of the host that are not in /usr last."""
    first = []
    for path in visible:
        if os.path.isdir(path):
            first += [f"{path}/bin"] if os.path.isdir(f"{path}/bin") else [path]
        else:
            first.append(os.path.dirname(path))
    return ":".join([*dict.fromkeys(first), _STANDARD_PATH, TOOLS])


def find_python() -> tuple[str, list[str]]:
    """The interpreter that runs the guest, and what must be visible for it.

    The system's, since that is what an environment's ``python3`` is; where it is missing or too old, the one
    that runs this program.
    """
    system = os.path.realpath("/usr/bin/python3")
    version = re.search(r"python(\d+)\.(\d+)$", system)
    is_new_enough = version is None or (int(version[1]), int(version[2])) >= _LOWEST_PYTHON
    if os.access(system, os.X_OK) and is_new_enough:
        return "/usr/bin/python3", []
    own = os.path.realpath(sys.executable)
    return own, [] if _is_within(sys.base_prefix, "/usr") else [sys.base_prefix]


def find_uv() -> Mapping[str, str]:
    """The host's uv, by the path it gets in an environment; empty if there is none or it is in /usr anyway."""
    # Beside our interpreter too, where pip puts it: an environment need not be activated.
    found = shutil.which("uv") or shutil.which("uv", path=os.path.dirname(sys.executable))
    path = os.path.realpath(found) if found else ""
    if not path or _is_within(path, "/usr"):
        return {}
    with open(path, "rb") as file:
        is_program = file.read(4) == b"\x7fELF"  # and no script of a version manager
    return {f"{TOOLS}/uv": path} if is_program else {}
