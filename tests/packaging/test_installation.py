"""What a user gets from a wheelhouse, in environments that hold nothing else."""

from __future__ import annotations

import shutil
import sys
import zipfile
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from scripts.constraints import FILE
from scripts.projects import Project, closure, normalized, projects

pytestmark = [pytest.mark.packaging, pytest.mark.timeout(300)]

BY_NAME = {project.name: project for project in projects()}
SHOW_STATE_MANAGERS = "import omniagents as o; print(*(c.name for c in o.available('state_manager')))"


FRAMEWORKS = {"langchain": "langchain", "pydantic-ai": "pydantic-ai-slim", "smolagents": "smolagents"}


def third_party(name: str) -> list[str]:
    """Return what one of our distributions requires that is not ours."""
    return [text for text in BY_NAME[name].dependencies if normalized(Requirement(text).name) not in BY_NAME]


def write_wheel(folder: Path, name: str, version: str) -> None:
    """Write a wheel that holds nothing but its metadata."""
    folder.mkdir(exist_ok=True)
    info = f"{name}-{version}.dist-info"
    tag = "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
    with zipfile.ZipFile(folder / f"{name}-{version}-py3-none-any.whl", "w") as wheel:
        wheel.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
        wheel.writestr(f"{info}/WHEEL", tag)
        wheel.writestr(f"{info}/RECORD", "")


def test_core_alone_lists_its_own_components(environment):
    environment.install("omniagents")
    code = "import omniagents as o; print([c.name for kind in ('backend', 'state_manager') for c in o.available(kind)])"
    assert environment.python(code) == "['local', 'none']\n"


def test_core_alone_brings_its_four_dependencies_and_theirs(environment):
    environment.install("omniagents")
    printed = environment.pip("tree", "--depth", "1", "--package", "omniagents").splitlines()[1:]
    direct = {line.split()[1] for line in printed}
    assert direct == {"importlib-metadata", "platformdirs", "pluggy", "pydantic"}


def test_core_without_click_says_how_to_get_the_command_line(environment):
    environment.install("omniagents")
    finished = environment.run("omniagents", "--help")
    assert finished.returncode != 0
    assert "pip install click rich" in finished.stderr
    assert "Traceback" not in finished.stderr


def test_command_line_runs_with_its_extra(environment):
    environment.install("omniagents", extra="[cli]")
    finished = environment.run("omniagents", "--help")
    assert finished.returncode == 0, finished.stderr


def test_core_and_snapshot_list_the_directory_state_manager(environment):
    environment.install("omniagents-snapshot")
    assert environment.python(SHOW_STATE_MANAGERS) == "directory none\n"


@pytest.mark.parametrize("project", projects(), ids=list(BY_NAME))
def test_every_distribution_installs_with_only_what_it_asks_for(environment, project: Project):
    environment.install(project.name)
    entry_points = project.data["project"].get("entry-points", {}).get("omniagents", {})
    modules = [target.partition(":")[0] for target in entry_points.values()] or [project.package.name]
    environment.python(f"import importlib; [importlib.import_module(name) for name in {modules!r}]")
    installed = {line.split(" @ ")[0] for line in environment.pip("freeze").splitlines()}
    assert installed & BY_NAME.keys() == set(closure(project.name))


@pytest.mark.parametrize("extra", FRAMEWORKS)
def test_one_framework_brings_no_other(environment, extra: str):
    core, plugin = (environment.wheelhouse.wheel(name) for name in ("omniagents", f"omniagents-{extra}"))
    environment.pip("install", "--quiet", "--constraints", FILE, f"omniagents[{extra}] @ {core.as_uri()}", plugin)
    installed = {line.split(" @ ")[0].split("==")[0] for line in environment.pip("freeze").splitlines()}
    assert installed & {*FRAMEWORKS.values()} == {FRAMEWORKS[extra]}
    assert installed & BY_NAME.keys() == {"omniagents", f"omniagents-{extra}"}
    listed = "import omniagents as o; print([c.name for c in o.available('agent') if c.status == 'ready'])"
    assert environment.python(listed) == f"[{extra!r}]\n"
    environment.python(f"import omniagents_{extra.replace('-', '_')}.agent")


def test_pip_installs_from_a_wheelhouse_without_any_index(wheelhouse, checked, uv, tmp_path):
    """The way the README shows: everything in one folder, then --no-index; a stranger's 0.4.0 lies beside it."""
    ours = closure("omniagents-snapshot")
    wanted, locked, folder = tmp_path / "wanted.txt", tmp_path / "locked.txt", tmp_path / "wheelhouse"
    wanted.write_text("\n".join(text for name in ours for text in third_party(name)), encoding="utf-8")
    checked(uv, "pip", "compile", wanted, "--generate-hashes", "--constraints", FILE, "-o", locked, cwd=tmp_path)
    checked(sys.executable, "-m", "venv", tmp_path / "venv", cwd=tmp_path)
    python = tmp_path / "venv" / ("Scripts" if sys.platform == "win32" else "bin") / "python"
    checked(python, "-m", "pip", "download", "--require-hashes", "-r", locked, "-d", folder, cwd=tmp_path)
    for name in ours:
        shutil.copy(wheelhouse.wheel(name), folder)
    write_wheel(folder, "omniagents", "0.4.0")
    install = ("install", "--no-index", "--find-links", folder, "omniagents[snapshot]")
    checked(python, "-m", "pip", *install, cwd=tmp_path)
    assert checked(python, "-I", "-c", SHOW_STATE_MANAGERS, cwd=tmp_path) == "directory none\n"


@pytest.mark.parametrize("version", ["0.4.0", "0.6.0"])
@pytest.mark.parametrize("name", [name for name in BY_NAME if name != "omniagents"])
def test_no_plugin_takes_a_stranger_of_that_name_for_the_core(environment, run, tmp_path, name, version):
    write_wheel(tmp_path / "strangers", "omniagents", version)
    (core,) = (text for text in BY_NAME[name].dependencies if Requirement(text).name == "omniagents")
    options = ("--python", environment.program("python"), "--no-index", "--find-links", tmp_path / "strangers")
    finished = run(environment.uv, "pip", "install", *options, core, cwd=tmp_path)
    assert finished.returncode != 0
    assert f"you require {core}" in " ".join(finished.stderr.split())
