"""`python3 noxfile.py …` on machines that lack something."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest
from scripts import bootstrap
from scripts.projects import ROOT


@pytest.mark.parametrize(
    ("given", "passed_on"),
    [
        ([], []),
        (["--list"], ["--list"]),
        (["tests"], ["--session", "tests"]),
        (["lint", "types", "--", "-x"], ["--session", "lint", "types", "--", "-x"]),
        (["-s", "tests", "--", "a", "b"], ["-s", "tests", "--", "a", "b"]),
    ],
)
def test_leading_words_are_sessions_and_the_rest_is_nox_own(given: list[str], passed_on: list[str]) -> None:
    assert bootstrap.nox_arguments(given) == passed_on


@pytest.mark.parametrize("path", ["noxfile.py", "scripts/bootstrap.py"])
def test_an_old_python_can_parse_what_tells_it_that_it_is_too_old(path: str) -> None:
    ast.parse((ROOT / path).read_text(encoding="utf-8"), feature_version=(3, 8))


def test_a_python_that_is_too_old_is_told_the_version_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "version_info", (3, 10, 2))
    monkeypatch.setattr(sys, "version", "3.10.2 (main)")
    assert bootstrap.missing_prerequisite() == (
        f"Omniagents needs Python 3.11 or newer; {sys.executable} is 3.10.2."
        " Run this file with a newer one, for example: python3.12 noxfile.py"
    )


def test_a_python_without_venv_is_told_what_brings_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bootstrap, "find_spec", lambda name: None if name == "ensurepip" else object())
    assert bootstrap.missing_prerequisite() == (
        f"{sys.executable} cannot make virtual environments: it has no module 'ensurepip'."
        " On Debian and Ubuntu this brings it: apt-get install python3-venv"
    )


def test_noxfile_as_a_script_needs_no_nox(tmp_path: Path) -> None:
    """With -S no installed package can be imported; the version check is the first thing that happens."""
    code = (
        "import runpy, sys; sys.version_info = (3, 10, 0); sys.argv = ['noxfile.py', '--list'];"
        f"sys.path.insert(0, {str(ROOT)!r}); runpy.run_path({str(ROOT / 'noxfile.py')!r}, run_name='__main__')"
    )
    finished = subprocess.run([sys.executable, "-S", "-c", code], cwd=tmp_path, capture_output=True, text=True)
    assert (finished.returncode, finished.stdout) == (2, "")
    assert finished.stderr.startswith("Omniagents needs Python 3.11 or newer;")
