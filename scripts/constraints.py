"""Keep constraints.txt: every third-party package that any distribution, extra or group here can need, with hashes.

python -m scripts.constraints update    resolve anew (needs uv on the PATH); further arguments go to `uv pip compile`
python -m scripts.constraints check     every package installed beside this Python is the pinned one
python -m scripts.constraints rest      print the file without the packages installed beside this Python
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterable
from importlib.metadata import distributions

from scripts.projects import ROOT, name_of, normalized, projects

__all__ = ["FILE", "check", "pins", "requirements", "rest", "unpinned", "update"]

FILE = ROOT / "constraints.txt"
HEADER = """\
# Every third-party package that a distribution, extra or development group of this repository can need: names, versions
# and hashes. Renew with `python3 noxfile.py constraints`.
#   uv pip install --constraints constraints.txt -e .                      checks the hashes of what it installs
#   pip install --require-hashes -r constraints.txt && pip install --no-deps -e .
"""


def requirements() -> list[str]:
    """Return all third-party requirements of all projects."""
    every = projects()
    own = {project.name for project in every}
    stated = {requirement for project in every for requirement in project.requirements}
    return sorted(requirement for requirement in stated if name_of(requirement) not in own)


def pins() -> dict[str, set[str]]:
    """Return the pinned versions by name; one name may have several, for different Pythons or systems."""
    found: dict[str, set[str]] = {}
    for name, version in re.findall(r"^([A-Za-z0-9._-]+)==([^\s;]+)", FILE.read_text(encoding="utf-8"), re.MULTILINE):
        found.setdefault(normalized(name), set()).add(version)
    return found


def update(*arguments: str) -> None:
    """Resolve everything for every supported Python and system and write the file; pins that still fit are kept.

    Raises:
        subprocess.CalledProcessError: uv failed; what it printed has been shown.
    """
    command = ["uv", "pip", "compile", "-", "--output-file", str(FILE), "--universal", "--python-version", "3.11"]
    command += ["--generate-hashes", "--no-header", "--no-annotate", "--no-emit-index-url", "--no-emit-find-links"]
    subprocess.run([*command, "--quiet", *arguments], input="\n".join(requirements()), text=True, check=True, cwd=ROOT)
    FILE.write_text(HEADER + FILE.read_text(encoding="utf-8"), encoding="utf-8")


def unpinned(installed: Iterable[tuple[str, str]]) -> list[str]:
    """Return ``name version`` of each installed package that is neither ours nor exactly as pinned."""
    known, own = pins(), {project.name for project in projects()}
    third_party = [(normalized(name), version) for name, version in installed if normalized(name) not in own]
    return sorted(f"{name} {version}" for name, version in third_party if version not in known.get(name, ()))


def rest(installed: Iterable[str]) -> str:
    """Return the entries of the file that are for none of the ``installed`` packages."""
    entries = re.split(r"^(?=\w)", FILE.read_text(encoding="utf-8"), flags=re.MULTILINE)[1:]
    present = {normalized(name) for name in installed}
    return "".join(entry for entry in entries if name_of(entry) not in present)


def check() -> int:
    """Print the packages beside this Python that constraints.txt does not pin, and return 1 if there are any."""
    strays = unpinned((distribution.name, distribution.version) for distribution in distributions())
    for stray in strays:
        print(f"installed but not pinned in constraints.txt: {stray}; renew it with: python3 noxfile.py constraints")
    return 1 if strays else 0


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["update", *arguments]:
            update(*arguments)
        case ["check"]:
            raise SystemExit(check())
        case ["rest"]:
            print(rest(distribution.name for distribution in distributions()), end="")
        case _:
            raise SystemExit(__doc__)
