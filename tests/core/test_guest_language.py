"""The guest runs on whatever Python an environment has: its language and its imports are those of Python 3.8."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import omniagents.guest
from omniagents.guest import loader

GUEST = Path(omniagents.guest.__file__).parent
# The loader itself stays on the host; its PROGRAM is what runs inside.
MODULES = sorted(path for path in GUEST.rglob("*.py") if path.name != "loader.py")
# PEP 594 and "What's new in Python 3.12", removed modules: in 3.8's standard library, gone by 3.14.
REMOVED_SINCE = frozenset(
    "aifc asynchat asyncore audioop cgi cgitb chunk crypt distutils imghdr imp mailcap msilib nis nntplib"
    " ossaudiodev pipes smtpd sndhdr spwd sunau telnetlib uu xdrlib".split()
)


@pytest.fixture(params=MODULES, ids=[path.relative_to(GUEST).as_posix() for path in MODULES])
def module(request: pytest.FixtureRequest) -> Path:
    path: Path = request.param
    return path


def imported_names(tree: ast.AST) -> Iterator[str]:
    """Yield the top-level name of every absolute import, wherever it stands."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            yield (node.module or "").partition(".")[0]


def test_guest_parses_as_python_3_8(module: Path) -> None:
    ast.parse(module.read_text(encoding="utf-8"), filename=str(module), feature_version=(3, 8))


def test_guest_loader_program_parses_as_python_3_8() -> None:
    ast.parse(loader.PROGRAM, filename="loader.PROGRAM", feature_version=(3, 8))


def test_guest_imports_only_the_standard_library_and_itself(module: Path) -> None:
    tree = ast.parse(module.read_text(encoding="utf-8"))
    assert set(imported_names(tree)) - sys.stdlib_module_names == set()


def test_guest_imports_nothing_that_newer_pythons_removed(module: Path) -> None:
    tree = ast.parse(module.read_text(encoding="utf-8"))
    assert set(imported_names(tree)) & REMOVED_SINCE == set()


def test_guest_uses_no_feature_newer_than_python_3_8() -> None:
    """vermin knows since which Python each function, keyword argument and syntax exists."""
    program = [sys.executable, "-c", "import vermin; vermin.main()"]
    options = ["--no-tips", "--violations", "--target=3.8-"]
    finished = subprocess.run([*program, *options, *MODULES], capture_output=True, text=True, check=False)
    assert finished.returncode == 0, finished.stdout + finished.stderr


def test_guest_gets_compiled_what_it_imports_at_its_start() -> None:
    program = (
        "import sys, omniagents.guest.keeper, omniagents.guest.server, omniagents.guest.files\n"
        "print(*(name.rpartition('.')[2] for name in sys.modules if name.startswith('omniagents.guest.')))"
    )
    finished = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert sorted(finished.stdout.split()) == list(loader.FIRST_MODULES)
