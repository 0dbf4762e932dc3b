"""Run a nox session on a machine that has Python and nothing else.

Makes a virtual environment with the pinned uv and nox, once, and hands the command line to nox. Standard library
only, and parseable by old Pythons, so that one of those gets a sentence instead of a SyntaxError.
"""

from __future__ import annotations

import hashlib
import os
import re
import subprocess
import sys
import sysconfig
from importlib.util import find_spec
from pathlib import Path

__all__ = ["main", "nox_arguments", "pinned"]

ROOT = Path(__file__).resolve().parent.parent
CONSTRAINTS = ROOT / "constraints.txt"
MINIMUM = (3, 11)


def main(arguments: list[str]) -> int:
    """Run nox with ``arguments`` (session names may stand first) and return its exit code."""
    problem = missing_prerequisite()
    if problem:
        print(problem, file=sys.stderr)
        return 2
    try:
        nox = make_environment(ROOT / ".nox" / "bootstrap")
    except subprocess.CalledProcessError as error:
        print(
            f"Could not make the developer environment: {error.cmd[0]} ended with exit code {error.returncode}; its own"
            " message is above. It needs a package index (or pip's configuration for one) and a writable checkout."
            " Run the same command again to retry.",
            file=sys.stderr,
        )
        return 2
    command = [str(nox), "--noxfile", str(ROOT / "noxfile.py"), *nox_arguments(arguments)]
    try:
        return subprocess.call(command)
    except KeyboardInterrupt:
        return 130


def nox_arguments(arguments: list[str]) -> list[str]:
    """Return nox's arguments for ours: leading words are session names, everything else passes unchanged."""
    words = 0
    while words < len(arguments) and not arguments[words].startswith("-"):
        words += 1
    sessions, rest = arguments[:words], arguments[words:]
    return ["--session", *sessions, *rest] if sessions else rest


def missing_prerequisite() -> str:
    """Return a sentence saying what this machine lacks and how to get it, or an empty string."""
    if sys.version_info < MINIMUM:
        found, wanted = sys.version.split()[0], ".".join(map(str, MINIMUM))
        return (
            f"Omniagents needs Python {wanted} or newer; {sys.executable} is {found}."
            " Run this file with a newer one, for example: python3.12 noxfile.py"
        )
    for module in ("venv", "ensurepip"):
        if find_spec(module) is None:
            return (
                f"{sys.executable} cannot make virtual environments: it has no module {module!r}."
                " On Debian and Ubuntu this brings it: apt-get install python3-venv"
            )
    return ""


def make_environment(directory: Path) -> Path:
    """Make the environment unless it is there and up to date, and return the nox in it.

    Raises:
        subprocess.CalledProcessError: venv, pip or uv failed; what it printed has been shown.
    """
    programs = directory / Path(sysconfig.get_path("scripts", "venv", {"base": "."}))
    stamp = directory / "made-for.txt"
    wanted = fingerprint()
    if stamp.is_file() and stamp.read_text(encoding="utf-8") == wanted:
        return programs / "nox"
    print(f"Making a developer environment in {directory} (once; nox and uv, pinned) ...", file=sys.stderr, flush=True)
    python = str(programs / "python")
    subprocess.run([sys.executable, "-m", "venv", "--clear", str(directory)], check=True)
    requirements = directory / "uv.txt"
    requirements.write_text(pinned("uv", CONSTRAINTS.read_text(encoding="utf-8")), encoding="utf-8")
    pip = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*pip, "--require-hashes", "--no-deps", "--requirement", str(requirements)], check=True)
    uv = [str(programs / "uv"), "pip", "install", "--quiet", "--python", python]
    subprocess.run([*uv, "--constraints", str(CONSTRAINTS), "nox"], check=True, cwd=directory)
    # Written last: an interrupted attempt is made anew.
    stamp.write_text(wanted, encoding="utf-8")
    return programs / "nox"


def fingerprint() -> str:
    """Return what the environment depends on: this Python, where the checkout is, and the pinned versions."""
    digest = hashlib.sha256(CONSTRAINTS.read_bytes()).hexdigest()
    return "\n".join([sys.version, os.path.realpath(sys.executable), str(ROOT), digest])


def pinned(name: str, constraints: str) -> str:
    """Return the lines of ``name`` in a constraints file: its version and hashes."""
    entry = re.search(rf"^{re.escape(name)}==[^\n]*(?:\n[ \t]+--hash[^\n]*)*", constraints, re.MULTILINE)
    if entry is None:
        raise LookupError(f"{CONSTRAINTS} does not pin {name!r}; `nox -s constraints` renews it")
    return entry.group().rstrip(" \\") + "\n"
