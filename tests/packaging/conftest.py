"""Every distribution of the checkout built once, and empty environments to install them into."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from scripts.constraints import FILE
from scripts.projects import closure, projects


def run_command(*command: str | Path, cwd: Path) -> subprocess.CompletedProcess[str]:
    """Run a command with this process's settings, but not its Python's, and return what it printed."""
    environment = {name: value for name, value in os.environ.items() if name not in {"PYTHONPATH", "VIRTUAL_ENV"}}
    arguments = [str(part) for part in command]
    return subprocess.run(arguments, cwd=cwd, env=environment, capture_output=True, text=True, check=False)


def run_checked(*command: str | Path, cwd: Path) -> str:
    """Run a command that must succeed and return its standard output."""
    finished = run_command(*command, cwd=cwd)
    assert finished.returncode == 0, f"{command}\n{finished.stdout}\n{finished.stderr}"
    return finished.stdout


@dataclass(frozen=True)
class Wheelhouse:
    """A folder with the sdist and the wheel of every distribution."""

    directory: Path

    def wheel(self, name: str) -> Path:
        return self._one(f"{name.replace('-', '_')}-[0-9]*.whl")

    def sdist(self, name: str) -> Path:
        return self._one(f"{name.replace('-', '_')}-[0-9]*.tar.gz")

    def _one(self, pattern: str) -> Path:
        found = sorted(self.directory.glob(pattern))
        assert len(found) == 1, f"{pattern}: {found}"
        return found[0]


@dataclass(frozen=True)
class Environment:
    """A virtual environment, used from its own folder: the checkout must not provide what the wheels should."""

    directory: Path
    uv: str
    wheelhouse: Wheelhouse

    def install(self, name: str, *, extra: str = "") -> None:
        """Install one distribution and what it requires of ours from the wheelhouse, everything else as pinned."""
        wheels = [self.wheelhouse.wheel(each) for each in closure(name)]
        requirements = [f"{name}{extra} @ {wheels[0].as_uri()}", *wheels[1:]]
        self.pip("install", "--quiet", "--constraints", FILE, *requirements)

    def pip(self, command: str, *arguments: str | Path) -> str:
        """Run a command of uv's pip interface on the environment and return what it printed."""
        python = self.program("python")
        return run_checked(self.uv, "pip", command, "--python", python, *arguments, cwd=self.directory)

    def run(self, name: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run one of the environment's own programs."""
        return run_command(self.program(name), *arguments, cwd=self.directory)

    def python(self, code: str) -> str:
        """Run code without the user's own packages, every warning an error, and return what it printed."""
        return run_checked(self.program("python"), "-I", "-W", "error", "-c", code, cwd=self.directory)

    def program(self, name: str) -> Path:
        """The path that a program of the environment has."""
        return self.directory / ("Scripts" if sys.platform == "win32" else "bin") / name


@pytest.fixture(scope="session")
def run() -> Callable[..., subprocess.CompletedProcess[str]]:
    """``run_command``."""
    return run_command


@pytest.fixture(scope="session")
def checked() -> Callable[..., str]:
    """``run_checked``."""
    return run_checked


@pytest.fixture(scope="session")
def uv() -> str:
    """The path of the uv that is installed beside pytest."""
    from uv import find_uv_bin

    return str(find_uv_bin())


@pytest.fixture(scope="session")
def wheelhouse(uv: str, tmp_path_factory: pytest.TempPathFactory) -> Wheelhouse:
    """Every distribution, each wheel built from its sdist."""
    directory = tmp_path_factory.mktemp("wheelhouse")
    for project in projects():
        run_checked(uv, "build", "--build-constraints", FILE, "--out-dir", directory, project.directory, cwd=directory)
    return Wheelhouse(directory)


@pytest.fixture
def environment(uv: str, wheelhouse: Wheelhouse, tmp_path: Path) -> Environment:
    """An empty environment, without even pip."""
    directory = tmp_path / "environment"
    run_checked(uv, "venv", "--python", sys.executable, directory, cwd=tmp_path)
    return Environment(directory, uv, wheelhouse)
