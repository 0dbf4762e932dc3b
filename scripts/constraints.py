"""Keep constraints.txt: every third-party package that any distribution, extra or group here can need, with hashes.

python scripts/constraints.py update    resolve anew (needs uv on the PATH)
python scripts/constraints.py check     every package installed beside this Python is the pinned one
"""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from collections.abc import Iterable, Mapping
from importlib.metadata import distributions
from pathlib import Path
from typing import Any

__all__ = ["distribution_names", "pins", "projects", "requirements", "update"]

ROOT = Path(__file__).resolve().parent.parent
FILE = ROOT / "constraints.txt"
HEADER = """\
# Every third-party package that a distribution, extra or development group of this repository can need: names, versions
# and hashes. Renew with `python3 noxfile.py constraints`.
#   uv pip install --constraints constraints.txt -e .                      checks the hashes of what it installs
#   pip install --require-hashes -r constraints.txt && pip install --no-deps -e .
"""


def projects() -> dict[Path, dict[str, Any]]:
    """Return every project folder of the checkout with its parsed pyproject.toml, the root first."""
    files = [ROOT / "pyproject.toml", *sorted(ROOT.glob("plugins/*/pyproject.toml"))]
    files += sorted(ROOT.glob("examples/*/pyproject.toml"))
    return {file.parent: tomllib.loads(file.read_text(encoding="utf-8")) for file in files}


def distribution_names() -> set[str]:
    """Return the normalized names of the distributions that this checkout itself builds."""
    return {normalized(data["project"]["name"]) for data in projects().values()}


def requirements() -> list[str]:
    """Return all third-party requirements of all projects: runtime, extras, groups and build systems."""
    wanted = {requirement for data in projects().values() for requirement in stated_in(data)}
    own = distribution_names()
    return sorted(requirement for requirement in wanted if name_of(requirement) not in own)


def stated_in(data: Mapping[str, Any]) -> Iterable[str]:
    """Yield every requirement string in one pyproject.toml."""
    yield from data["build-system"]["requires"]
    yield from data["project"].get("dependencies", ())
    for extra in data["project"].get("optional-dependencies", {}).values():
        yield from extra
    for group in data.get("dependency-groups", {}).values():
        yield from (entry for entry in group if isinstance(entry, str))


def name_of(requirement: str) -> str:
    """Return the normalized package name that a requirement string starts with."""
    found = re.match(r"[A-Za-z0-9][A-Za-z0-9._-]*", requirement)
    if found is None:
        raise ValueError(f"not a requirement: {requirement!r}")
    return normalized(found.group())


def normalized(name: str) -> str:
    """Return ``name`` as package indexes compare it (PEP 503)."""
    return re.sub(r"[-_.]+", "-", name).lower()


def pins() -> dict[str, set[str]]:
    """Return the pinned versions by name; one name may have several, for different Pythons or systems."""
    found: dict[str, set[str]] = {}
    for name, version in re.findall(r"^([A-Za-z0-9._-]+)==([^\s;]+)", FILE.read_text(encoding="utf-8"), re.MULTILINE):
        found.setdefault(normalized(name), set()).add(version)
    return found


def update(*arguments: str) -> None:
    """Resolve everything for every supported Python and system and write the file; versions in it are kept if they fit.

    Args:
        arguments: Passed on to ``uv pip compile``, for example ``--upgrade`` or ``--upgrade-package NAME``.
    """
    if not FILE.exists():
        FILE.touch()
    command = ["uv", "pip", "compile", "-", "--output-file", str(FILE), "--universal", "--python-version", "3.11"]
    command += ["--generate-hashes", "--no-header", "--no-annotate", "--no-emit-index-url", "--no-emit-find-links"]
    subprocess.run([*command, "--quiet", *arguments], input="\n".join(requirements()), text=True, check=True, cwd=ROOT)
    FILE.write_text(HEADER + FILE.read_text(encoding="utf-8"), encoding="utf-8")


def unpinned(installed: Iterable[tuple[str, str]]) -> list[str]:
    """Return ``name version`` of each installed package that is neither ours nor exactly as pinned."""
    known, own = pins(), distribution_names()
    third_party = [(normalized(name), version) for name, version in installed if normalized(name) not in own]
    return sorted(f"{name} {version}" for name, version in third_party if version not in known.get(name, ()))


def check() -> int:
    """Print the packages beside this Python that constraints.txt does not pin, and return 1 if there are any."""
    strays = unpinned((distribution.name, distribution.version) for distribution in distributions())
    for stray in strays:
        print(f"installed but not pinned in constraints.txt: {stray}; renew it with: python3 noxfile.py constraints")
    return 1 if strays else 0


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["update", *rest]:
            update(*rest)
        case ["check"]:
            raise SystemExit(check())
        case _:
            raise SystemExit(__doc__)
