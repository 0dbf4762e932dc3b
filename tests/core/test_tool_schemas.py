"""What models are told about the tools' arguments, and what tools are made with."""

from __future__ import annotations

from typing import Any

import pytest

from omniagents.backends.base import Backend
from omniagents.tools.base import Tool
from omniagents.tools.glob_tool import GlobTool
from omniagents.tools.list_directory_tool import ListDirectoryTool
from omniagents.tools.read_file_tool import ReadFileTool
from omniagents.tools.read_many_files_tool import ReadManyFilesTool
from omniagents.tools.replace_tool import ReplaceTool
from omniagents.tools.run_shell_command_tool import RunShellCommandTool
from omniagents.tools.save_memory_tool import SaveMemoryTool
from omniagents.tools.search_file_content_tool import SearchFileContentTool
from omniagents.tools.uv_tool import UVTool
from omniagents.tools.write_file_tool import WriteFileTool

_TOOLS: list[type[Tool]] = [
    GlobTool, ListDirectoryTool, ReadFileTool, ReadManyFilesTool, ReplaceTool, RunShellCommandTool, SaveMemoryTool,
    SearchFileContentTool, UVTool, WriteFileTool,
]  # fmt: skip

# Of JSON Schema's vocabulary, 2020-12; anything else is passed over by whoever reads a schema.
_WORDS = {"anyOf", "default", "description", "items", "maxLength", "maximum", "minLength", "minimum", "type"}


@pytest.mark.parametrize("tool", _TOOLS, ids=lambda tool: tool.name)
def test_arguments_are_described_in_words_of_json_schema(tool: type[Tool]) -> None:
    properties: dict[str, dict[str, Any]] = tool.schema()["properties"]
    assert {name: sorted(about.keys() - _WORDS) for name, about in properties.items() if about.keys() - _WORDS} == {}


@pytest.mark.parametrize(
    ("tool", "argument", "limits"),
    [
        (ReadFileTool, "offset", {"minimum": 0}),
        (ReadFileTool, "start_line", {"minimum": 1}),
        (ReplaceTool, "expected_replacements", {"minimum": 1}),
        (RunShellCommandTool, "timeout", {"minimum": 1, "maximum": 3600}),
        (SearchFileContentTool, "context", {"minimum": 0, "maximum": 50}),
        (SearchFileContentTool, "max_matches", {"minimum": 1, "maximum": 5000}),
        (SearchFileContentTool, "max_matches_per_file", {"minimum": 1}),
        (UVTool, "timeout", {"minimum": 1, "maximum": 3600}),
    ],
)
def test_a_model_is_told_the_limits_of_numbers(tool: type[Tool], argument: str, limits: dict[str, int]) -> None:
    about = tool.schema()["properties"][argument]
    assert {word: about[word] for word in ("minimum", "maximum") if word in about} == limits


@pytest.mark.parametrize("backend", [None, "local"])
def test_a_tool_on_what_is_no_backend_is_refused_when_it_is_made(backend: Any) -> None:
    with pytest.raises(TypeError) as raised:
        ReadFileTool(backend=backend)
    assert str(raised.value) == f"backend is a backend, not {backend!r}"


@pytest.mark.parametrize(
    ("tool", "arguments"),
    [
        (ReadFileTool, {"absolute_path": "q" * 100_000}),
        (ListDirectoryTool, {"path": "q/" * 50_000}),
        (ReadFileTool, {"absolute_path": "a", "k" * 100_000: 1}),
        (ReadFileTool, {"absolute_path": "a", **{f"k{number}": 1 for number in range(20_000)}}),
    ],
    ids=["path", "deep path", "name", "names"],
)
def test_a_refusal_does_not_repeat_all_of_what_was_sent(backend: Backend, tool: type[Tool], arguments: Any) -> None:
    result = tool(backend).execute(**arguments)
    assert result.error_type in ("FILE_NOT_FOUND", "INVALID_ARGUMENTS")
    assert len(result.content) < 10_000
