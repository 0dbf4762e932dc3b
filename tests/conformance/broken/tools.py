"""Tools with one defect each, on the local backend."""

from __future__ import annotations

import dataclasses
from typing import Any, ClassVar

import pytest
from pydantic import ConfigDict

from omniagents.backends.local_backend import LocalBackend
from omniagents.errors import GuestCallError
from omniagents.records import Reply
from omniagents.testing import BackendFactory, ToolContract
from omniagents.testing.tools.base import TOOL_CLASSES, tool_class
from omniagents.tools.base import Tool, ToolResult
from omniagents.tools.read_file_tool import ReadFileTool


class Broken(ToolContract):
    """The contract, with ``broken`` in the place of the tool of its name."""

    broken: ClassVar[type[Tool] | None] = None

    @pytest.fixture(scope="class")
    @classmethod
    def backend_factory(cls) -> BackendFactory:
        return LocalBackend

    @pytest.fixture(autouse=True)
    def _in_its_place(self, monkeypatch: pytest.MonkeyPatch) -> None:
        if self.broken is not None:
            name = self.broken.name
            monkeypatch.setattr(f"omniagents.tools.{name}_tool.{TOOL_CLASSES[name]}", self.broken)


def broken(name: str, **overriding: Any) -> type[Tool]:
    """The real tool with other methods."""
    return type("BrokenTool", (tool_class(name),), overriding)


def altering(name: str, **changes: Any) -> type[Tool]:
    """The real tool, whose results have other values: constants, or functions of the real ones."""
    real = tool_class(name)

    def result(self: Tool, arguments: Any, reply: Reply) -> ToolResult:
        good = real.result(self, arguments, reply)
        values = {name: value(getattr(good, name)) if callable(value) else value for name, value in changes.items()}
        return dataclasses.replace(good, **values)

    return broken(name, result=result)


def asking(name: str, **changes: Any) -> type[Tool]:
    """The real tool, which asks the guest for something else."""
    real = tool_class(name)

    def request(self: Tool, arguments: Any) -> tuple[dict[str, Any], bytes]:
        asked, payload = real.request(self, arguments)
        return {**asked, **changes}, payload

    return broken(name, request=request)


class TestFaithful(Broken):
    """Nothing is broken."""


class TestAnswersNothing(Broken):
    broken = altering("run_shell_command", content=lambda content: content.replace("(no output)", ""))


class TestHidesExitCodes(Broken):
    broken = altering("run_shell_command", content=lambda content: content.partition("\n[exit code")[0])


class TestInventsCodes(Broken):
    broken = altering("run_shell_command", error_type=lambda code: code and "OOPS")


class TestFailsQuietly(Broken):
    broken = altering("run_shell_command", is_error=False, error_type=None)


class TestStripsText(Broken):
    broken = altering("read_file", content=lambda content: content.strip() or "empty")


class TestShowsSurrogates(Broken):
    broken = altering("list_directory", content=lambda content: content.replace("\\xe9", "\udce9"))


class TestEndsEveryFileWithANewline(Broken):
    broken = broken(
        "write_file",
        request=lambda self, arguments: ({"path": arguments.absolute_path}, arguments.content.encode() + b"\n"),
    )


class TestReplacesAll(Broken):
    broken = asking("replace", expected=None)


class TestSortsByName(Broken):
    broken = altering("glob", data=lambda data: {**data, "paths": sorted(data["paths"])})


class TestSearchesIgnoredFiles(Broken):
    broken = asking("search_file_content", no_ignore=True)


def _raising(self: Tool, arguments: Any, error: GuestCallError) -> ToolResult:
    raise error


class TestRaisesRefusals(Broken):
    broken = broken("read_file", refusal=_raising)


class _AnyArguments(ReadFileTool.Arguments):
    """Unknown names are passed over."""

    model_config = ConfigDict(extra="ignore")


class TestTakesAnyArgument(Broken):
    broken = broken("read_file", Arguments=_AnyArguments)


class TestRunsAnywhere(Broken):
    broken = asking("run_shell_command", outside=True)
