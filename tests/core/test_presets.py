"""Presets are data; the set-up of the Python preset runs anywhere and overwrites nothing."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tomllib
from dataclasses import FrozenInstanceError
from pathlib import Path

import pytest

from omniagents.plugins import builtin
from omniagents.presets.base import ALL_TOOLS, Preset
from omniagents.presets.generic import GenericPreset
from omniagents.presets.node import NodePreset
from omniagents.presets.python import PythonPipPreset, PythonUVPreset


def set_up(preset: Preset, workspace: Path, path: str) -> None:
    """What a backend does in a new workspace; fails where a command fails."""
    environment = {"PATH": path, "HOME": str(workspace.parent), **preset.environment}
    for command in preset.setup_commands:
        subprocess.run(["/bin/sh", "-c", command], cwd=workspace, env=environment, check=True)


def directory_with_uv(tmp_path: Path, script: str) -> str:
    """A directory for PATH in which ``uv`` is this shell script."""
    directory = tmp_path / "bin"
    directory.mkdir()
    (directory / "uv").write_text(f"#!/bin/sh\n{script}\n")
    (directory / "uv").chmod(0o755)
    return str(directory)


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    path = tmp_path / "workspace"
    path.mkdir()
    return path


def test_the_default_tools_are_the_ten_that_are_built_in() -> None:
    assert list(ALL_TOOLS) == [component.name for component in builtin.omniagents_register_tools()]
    assert len(ALL_TOOLS) == 10


@pytest.mark.parametrize("preset_class", [GenericPreset, PythonUVPreset, PythonPipPreset, NodePreset])
def test_a_built_in_preset_is_registered_by_its_own_name(preset_class: type[GenericPreset]) -> None:
    targets = {component.name: component.target for component in builtin.omniagents_register_presets()}
    assert targets[preset_class().name] == f"{preset_class.__module__}:{preset_class.__name__}"


@pytest.mark.parametrize("preset", [GenericPreset(), PythonUVPreset()])
def test_a_built_in_preset_has_all_ten_tools_and_instructions(preset: Preset) -> None:
    assert preset.tools == ALL_TOOLS
    assert preset.instructions.startswith("You are a coding agent.")


@pytest.mark.parametrize("preset", [PythonPipPreset(), NodePreset()])
def test_a_preset_without_uv_has_the_nine_other_tools(preset: Preset) -> None:
    assert preset.tools == tuple(tool for tool in ALL_TOOLS if tool != "uv")
    assert preset.instructions.startswith("You are a coding agent.")


def test_a_preset_cannot_be_changed() -> None:
    with pytest.raises(FrozenInstanceError):
        GenericPreset().name = "other"  # type: ignore[misc]


def test_a_preset_can_be_adapted_by_options() -> None:
    preset = PythonUVPreset(image="registry.example/python:3.13", tools=("read_file",))
    assert (preset.name, preset.image, preset.tools) == ("python-uv", "registry.example/python:3.13", ("read_file",))


def test_presets_can_be_compared_and_hashed() -> None:
    assert PythonUVPreset() == PythonUVPreset()
    assert {PythonUVPreset(), PythonUVPreset(), GenericPreset()} == {PythonUVPreset(), GenericPreset()}


def test_lists_are_kept_as_tuples() -> None:
    preset = Preset(name="mine", tools=["glob"], setup_commands=["true"])  # type: ignore[arg-type]
    assert (preset.tools, preset.setup_commands) == (("glob",), ("true",))


@pytest.mark.parametrize("attribute", ["tools", "setup_commands"])
def test_one_string_in_place_of_several_is_refused(attribute: str) -> None:
    with pytest.raises(TypeError) as raised:
        Preset(**{"name": "mine", attribute: "npm ci"})  # type: ignore[arg-type]
    assert str(raised.value) == f"{attribute} of a preset is a sequence of strings, not the string 'npm ci'"


def test_the_python_set_up_does_nothing_where_uv_is_missing(workspace: Path, tmp_path: Path) -> None:
    set_up(PythonUVPreset(), workspace, path=str(tmp_path / "nothing-here"))
    assert list(workspace.iterdir()) == []


def test_the_python_set_up_leaves_an_existing_project_alone(workspace: Path, tmp_path: Path) -> None:
    (workspace / "pyproject.toml").write_text("[project]\n")
    set_up(PythonUVPreset(), workspace, path=directory_with_uv(tmp_path, "exit 1"))
    assert (workspace / "pyproject.toml").read_text() == "[project]\n"


def test_the_python_set_up_makes_a_bare_project(workspace: Path, tmp_path: Path) -> None:
    set_up(PythonUVPreset(), workspace, path=directory_with_uv(tmp_path, 'echo "$@" > called'))
    called = (workspace / "called").read_text()
    assert called == "init --bare --no-workspace --no-python-downloads --name app\n"


def test_the_python_set_up_works_with_the_real_uv_inside_another_project(workspace: Path) -> None:
    uv = next((Path(directory) / "uv" for directory in search_path() if (Path(directory) / "uv").exists()), None)
    if uv is None:
        pytest.skip("uv is not installed; the test sessions of noxfile.py install it")
    (workspace / "pyproject.toml").write_text('[project]\nname = "outer"\nversion = "1"\n[tool.uv.workspace]\n')
    nested = workspace / "nested"
    nested.mkdir()
    set_up(PythonUVPreset(), nested, path=f"{uv.parent}:{Path(sys.executable).parent}:/usr/bin:/bin")
    assert [path.name for path in nested.iterdir()] == ["pyproject.toml"]
    assert tomllib.loads((nested / "pyproject.toml").read_text())["project"]["name"] == "app"
    assert "nested" not in (workspace / "pyproject.toml").read_text()


def test_the_pip_set_up_makes_an_environment_and_a_list_of_dependencies(workspace: Path) -> None:
    set_up(PythonPipPreset(), workspace, path=f"{Path(sys.executable).resolve().parent}:/usr/bin:/bin")
    assert sorted(path.name for path in workspace.iterdir()) == [".venv", "requirements.txt"]
    pip = [workspace / ".venv/bin/python", "-m", "pip", "install", "--quiet", "-r", "requirements.txt"]
    subprocess.run(pip, cwd=workspace, check=True)


def test_the_pip_set_up_leaves_an_existing_project_alone(workspace: Path) -> None:
    (workspace / "requirements.txt").write_text("flask\n")
    (workspace / ".venv").mkdir()
    set_up(PythonPipPreset(), workspace, path="/nowhere")
    assert (workspace / "requirements.txt").read_text() == "flask\n"
    assert list((workspace / ".venv").iterdir()) == []


def test_the_pip_set_up_leaves_no_half_of_an_environment(workspace: Path, tmp_path: Path) -> None:
    directory = directory_with_uv(tmp_path, "exit 1")
    Path(directory, "python3").write_text("#!/bin/sh\nmkdir .venv; exit 1\n")
    Path(directory, "python3").chmod(0o755)
    set_up(PythonPipPreset(), workspace, path=f"{directory}:/usr/bin:/bin")
    assert [path.name for path in workspace.iterdir()] == ["requirements.txt"]


def test_the_node_set_up_makes_a_project_whose_tests_run(workspace: Path) -> None:
    if shutil.which("node") is None:
        pytest.skip("node is not installed; `python tests/services/apt.py` installs it")
    set_up(NodePreset(), workspace, path=os.environ["PATH"])
    test = "import test from 'node:test';\nimport assert from 'node:assert';\ntest('t', () => assert.equal(1, 1));\n"
    (workspace / "one.test.js").write_text(test)
    script = json.loads((workspace / "package.json").read_text())["scripts"]["test"]
    finished = subprocess.run(["sh", "-c", script], cwd=workspace, capture_output=True, text=True, check=True)
    assert "# pass 1" in finished.stdout or "ℹ pass 1" in finished.stdout


def test_the_node_set_up_leaves_an_existing_project_alone(workspace: Path) -> None:
    (workspace / "package.json").write_text("{}")
    set_up(NodePreset(), workspace, path=os.environ["PATH"])
    assert (workspace / "package.json").read_text() == "{}"


def search_path() -> list[str]:
    return [str(Path(sys.executable).parent), *os.environ["PATH"].split(os.pathsep)]
