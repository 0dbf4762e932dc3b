"""What a backend cannot be made with is named, when it is made."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from omniagents.backends.local_backend import LocalBackend
from omniagents.presets.base import Preset
from omniagents.presets.python import PythonUVPreset


@pytest.mark.parametrize(
    ("option", "value", "error", "message"),
    [
        ("preset", "python-uv", TypeError, "preset is a Preset, not 'python-uv'; create_backend takes names"),
        (
            "preset",
            PythonUVPreset,
            TypeError,
            f"preset is a Preset, not {PythonUVPreset!r}; create_backend takes names",
        ),
        ("environment", "A=1", TypeError, "environment maps names of variables to values, it is not 'A=1'"),
        ("environment", {"A=B": "1"}, ValueError, "no variable can have the name 'A=B'"),
        ("environment", {"": "1"}, ValueError, "no variable can have the name ''"),
        ("checkpoint_interval_seconds", "60", TypeError, "checkpoint_interval_seconds is a number, not '60'"),
        ("checkpoint_interval_seconds", -1, ValueError, "checkpoint_interval_seconds is 0 or more, not -1"),
        ("workspace_dir", "", ValueError, "workspace_dir is empty; the current directory is '.'"),
    ],
)
def test_a_wrong_option_is_refused(option: str, value: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error) as raised:
        LocalBackend(**{"project_id": "alice", option: value})
    assert str(raised.value) == message


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"name": ""}, "the name of a preset is text that is not empty, not ''"),
        ({"name": 5}, "the name of a preset is text that is not empty, not 5"),
        ({"name": "x", "instructions": 5}, "instructions of a preset are text, not 5"),
        ({"name": "x", "environment": 5}, "environment of a preset maps names of variables to values, it is not 5"),
    ],
)
def test_a_preset_with_a_wrong_attribute_is_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(TypeError) as raised:
        Preset(**options)
    assert str(raised.value) == message


def test_right_options_are_taken(tmp_path: Path) -> None:
    backend = LocalBackend("alice", preset=PythonUVPreset(), environment={"A": ""}, workspace_dir=tmp_path)
    assert backend.environment == {**PythonUVPreset().environment, "A": ""}
    assert LocalBackend("alice", checkpoint_interval_seconds=None).checkpoint_interval_seconds is None
