"""Install the Debian packages that tests and benchmarks run, or say what would.

python tests/services/apt.py            all of debian-packages.txt
python tests/services/apt.py restic     only these commands of it

Does nothing for a command that is there. As root on Debian it installs the missing ones; otherwise it prints the
command that would, and fails only under CI=true.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

__all__ = ["ensure", "packages_by_command"]

LIST = Path(__file__).with_name("debian-packages.txt")
POLICY = Path("/usr/sbin/policy-rc.d")


def packages_by_command() -> dict[str, str]:
    """Return debian-packages.txt: the package that brings each command."""
    lines = (line.partition("#")[0].split() for line in LIST.read_text(encoding="utf-8").splitlines())
    return {line[0]: line[1] for line in lines if line}


def ensure(commands: Iterable[str]) -> list[str]:
    """Install what brings ``commands`` if this user may; return the commands that are still missing.

    Raises:
        KeyError: debian-packages.txt does not list a command.
        subprocess.CalledProcessError: apt-get failed; what it printed has been shown.
    """
    wanted, known = list(commands), packages_by_command()
    for command in wanted:
        if command not in known:
            raise KeyError(f"{command!r} is not in {LIST}")
    packages = sorted({known[command] for command in wanted if shutil.which(command) is None})
    if packages and may_install():
        install(packages)
    return [command for command in wanted if shutil.which(command) is None]


def may_install() -> bool:
    """Whether this is root on a machine with apt-get."""
    return hasattr(os, "geteuid") and os.geteuid() == 0 and shutil.which("apt-get") is not None


def install(packages: list[str]) -> None:
    """Install ``packages`` without questions and without what they only recommend."""
    print(f"installing with apt-get: {' '.join(packages)}", flush=True)
    quiet = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    # 300 s: another apt-get may hold the lock while a new machine starts.
    apt = ["apt-get", "-q", "-o", "DPkg::Lock::Timeout=300"]
    subprocess.run([*apt, "update"], env=quiet, check=True, stdout=subprocess.DEVNULL)
    command = [*apt, "install", "--yes", "--no-install-recommends", *packages]
    with services_stay_off(POLICY):
        subprocess.run(command, env=quiet, check=True, stdout=subprocess.DEVNULL)


@contextmanager
def services_stay_off(policy: Path) -> Iterator[None]:
    """Packages of servers start them when they are installed, unless this program of the machine's says no (101)."""
    if policy.exists():
        yield
        return
    policy.write_text("#!/bin/sh\nexit 101\n", encoding="ascii")
    policy.chmod(0o755)
    try:
        yield
    finally:
        policy.unlink()


def main(commands: list[str]) -> int:
    """Install or advise; return 1 if something is missing under CI=true."""
    known = packages_by_command()
    missing = ensure(commands or known)
    if missing:
        print(f"not installed: {', '.join(missing)}. Tests that need them skip; this installs them:")
        print(f"    apt-get install --no-install-recommends {' '.join(sorted({known[name] for name in missing}))}")
    return int(bool(missing) and os.environ.get("CI", "").lower() in {"1", "true"})


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
