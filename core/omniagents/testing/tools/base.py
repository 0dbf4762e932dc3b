"""Calling tools by name, and what must be true of every result."""

from __future__ import annotations

import importlib
import json
from collections.abc import Callable, Mapping

import pytest

from omniagents.backends.base import Backend
from omniagents.testing._support import BackendTests
from omniagents.tools.base import MAX_RESULT_CHARACTERS, DocumentPart, ImagePart, Tool, ToolResult
from omniagents.workspace import Workspace

__all__ = ["CODES", "TOOL_CLASSES", "Call", "ToolTests", "check", "files_in", "tool_class"]

Call = Callable[..., ToolResult]

TOOL_CLASSES: Mapping[str, str] = {
    "write_file": "WriteFileTool",
    "read_file": "ReadFileTool",
    "list_directory": "ListDirectoryTool",
    "glob": "GlobTool",
    "search_file_content": "SearchFileContentTool",
    "replace": "ReplaceTool",
    "run_shell_command": "RunShellCommandTool",
    "read_many_files": "ReadManyFilesTool",
    "save_memory": "SaveMemoryTool",
    "uv": "UVTool",
}

#: Every ``error_type`` there is.
CODES = frozenset(
    "INVALID_ARGUMENTS PATH_OUTSIDE_WORKSPACE FILE_NOT_FOUND FILE_EXISTS IS_A_DIRECTORY NOT_A_DIRECTORY "
    "NOT_A_REGULAR_FILE PERMISSION_DENIED NO_SPACE FILE_TOO_LARGE BINARY_FILE OFFSET_OUT_OF_RANGE INVALID_REGEX "
    "PATTERN_TOO_BROAD SEARCH_TIMEOUT NO_MATCH AMBIGUOUS_MATCH NO_CHANGE OMISSION_PLACEHOLDER WRITE_CONFLICT "
    "COMMAND_FAILED COMMAND_TIMEOUT COMMAND_REFUSED UV_NOT_FOUND STORE_CORRUPT".split()
)

# The markers that say what was cut, and the line that says what was found, are not counted into the cap.
_MARKERS = 2_000


def tool_class(name: str) -> type[Tool]:
    """The class of a tool at its documented path; imported now, so that a missing one fails its own tests only."""
    module = importlib.import_module(f"omniagents.tools.{name}_tool")
    found: type[Tool] = getattr(module, TOOL_CLASSES[name])
    return found


def check(result: ToolResult) -> ToolResult:
    """What is true of every result of every tool."""
    assert result.content, "a result is never empty"
    result.content.encode("utf-8")  # no lone surrogates: no model could be sent them
    assert len(result.content) <= MAX_RESULT_CHARACTERS + _MARKERS
    assert str(result) == result.content
    assert result.is_error == (result.error_type is not None)
    assert result.error_type is None or result.error_type in CODES
    json.dumps(result.data)
    assert all(isinstance(part, ImagePart | DocumentPart) for part in result.parts)
    return result


class ToolTests(BackendTests):
    """Tests that call tools."""

    @pytest.fixture
    def call(self, backend: Backend) -> Call:
        """Calls a tool by its name; whatever comes back passes ``check``."""
        return lambda name, /, **arguments: check(tool_class(name)(backend).execute(**arguments))


def files_in(workspace: Workspace, files: Mapping[str, bytes]) -> None:
    """Write these files."""
    for path, content in files.items():
        workspace.write_bytes(path, content)
