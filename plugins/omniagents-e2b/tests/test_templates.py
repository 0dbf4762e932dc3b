"""Templates of presets, and the command that writes them."""

from __future__ import annotations

import json
import runpy
from pathlib import Path

import pytest
from click.testing import CliRunner
from e2b import Template

from omniagents.cli.program import program, run
from omniagents.presets.generic import GenericPreset
from omniagents.presets.python import PythonUVPreset
from omniagents_e2b.templates import definition, template_of

pytestmark = pytest.mark.extra


def test_the_command_writes_a_definition_that_the_sdk_understands(tmp_path: Path) -> None:
    result = CliRunner().invoke(program, ["e2b", "build-template", "python-uv", "--to", str(tmp_path)])
    assert result.exit_code == 0, result.output
    written = runpy.run_path(str(tmp_path / "template.py"))
    described = json.loads(Template.to_json(written["template"]))
    assert written["NAME"] == template_of(None, PythonUVPreset())
    assert described["fromImage"] == PythonUVPreset().image
    steps = " ".join(" ".join(step["args"]) for step in described["steps"])
    assert "git" in steps
    assert "uv" in steps


def test_a_preset_without_an_image_gets_one_with_python() -> None:
    assert "from_image('python:3.12-bookworm')" in definition(GenericPreset())


def test_an_unknown_preset_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["e2b", "build-template", "python-vu"]) == 1
    assert "did you mean 'python-uv'" in capsys.readouterr().err
