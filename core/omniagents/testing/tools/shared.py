"""What all ten tools share: arguments, results, and what raises."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any

import pytest

from omniagents import hookimpl
from omniagents.backends.base import Backend
from omniagents.errors import BackendNotStartedError, BackendUnavailableError
from omniagents.plugins import manager
from omniagents.testing.tools.base import TOOL_CLASSES, Call, ToolTests, check, tool_class
from omniagents.tools.base import ToolResult
from omniagents.workspace import Workspace

__all__ = ["SharedTests"]

#: A call of each tool that succeeds in a workspace that holds ``a.txt`` with the line ``old``.
_WORKING: dict[str, dict[str, Any]] = {
    "write_file": {"absolute_path": "new.txt", "content": "x"},
    "read_file": {"absolute_path": "a.txt"},
    "list_directory": {},
    "glob": {"pattern": "*"},
    "search_file_content": {"pattern": "old"},
    "replace": {"absolute_path": "a.txt", "old_string": "old", "new_string": "new"},
    "run_shell_command": {"command": "cat a.txt"},
    "read_many_files": {"paths": ["a.txt"]},
    "save_memory": {"key": "k", "value": "v"},
}
every_tool = pytest.mark.parametrize("tool", TOOL_CLASSES)
working_tools = pytest.mark.parametrize("tool", _WORKING)

#: Parameters that are whole numbers.
_NUMBERS = [
    ("read_file", "offset", {"absolute_path": "a.txt"}),
    ("read_file", "limit", {"absolute_path": "a.txt"}),
    ("search_file_content", "max_matches", {"pattern": "old"}),
    ("search_file_content", "context", {"pattern": "old"}),
    ("replace", "expected_replacements", {"absolute_path": "a.txt", "old_string": "old", "new_string": "new"}),
    ("run_shell_command", "timeout", {"command": "cat a.txt"}),
]
every_number = pytest.mark.parametrize(
    ("tool", "parameter", "others"), _NUMBERS, ids=[f"{tool}.{parameter}" for tool, parameter, _ in _NUMBERS]
)

#: Names under which a parameter is accepted besides its primary one.
_ALIASES: list[tuple[str, dict[str, Any]]] = [
    ("write_file", {"file_path": "a.txt", "content": "x"}),
    ("write_file", {"path": "a.txt", "content": "x"}),
    ("read_file", {"file_path": "a.txt"}),
    ("read_file", {"path": "a.txt"}),
    ("list_directory", {"absolute_path": "."}),
    ("list_directory", {"dir_path": "."}),
    ("search_file_content", {"pattern": "old", "glob": "*.txt"}),
    ("replace", {"file_path": "a.txt", "old_text": "old", "new_text": "new"}),
    ("replace", {"path": "a.txt", "old_string": "old", "new_string": "new", "allow_multiple": True}),
    ("run_shell_command", {"command": "true", "dir_path": "."}),
    ("read_many_files", {"absolute_paths": ["a.txt"]}),
]


class _Observer:
    def __init__(self) -> None:
        self.told: list[tuple[str, Any, str]] = []

    @hookimpl
    def omniagents_tool_finished(self, tool: Any, arguments: Any, result: ToolResult, seconds: float) -> None:
        assert seconds >= 0
        self.told.append((tool.name, dict(arguments), result.content))


class SharedTests(ToolTests):
    """Names, schemas, aliases, wrong arguments; a backend that is not there."""

    @pytest.fixture
    def ask(self, workspace: Workspace, call: Call) -> Call:
        """Calls a tool in a workspace that holds ``a.txt`` with the line ``old``."""
        workspace.write_bytes("a.txt", b"old\n")
        return call

    @every_tool
    def test_a_tool_has_the_name_models_know(self, tool: str) -> None:
        assert tool_class(tool).name == tool

    @every_tool
    def test_a_tool_describes_itself_and_every_argument(self, tool: str) -> None:
        schema: dict[str, Any] = json.loads(json.dumps(tool_class(tool).schema()))
        assert len(tool_class(tool).description) > 40
        assert schema["type"] == "object"
        assert schema["additionalProperties"] is False
        undescribed = [name for name, about in schema["properties"].items() if not about.get("description")]
        assert undescribed == []

    @working_tools
    def test_a_call_works_and_so_does_its_async_twin(self, backend: Backend, ask: Call, tool: str) -> None:
        assert ask(tool, **_WORKING[tool]).error_type is None
        backend.workspace.remove(*[entry.path for entry in backend.workspace.list()])
        backend.workspace.write_bytes("a.txt", b"old\n")
        result = asyncio.run(tool_class(tool)(backend).aexecute(**_WORKING[tool]))
        assert check(result).error_type is None

    @pytest.mark.parametrize(("tool", "arguments"), _ALIASES, ids=[f"{t} {'+'.join(a)}" for t, a in _ALIASES])
    def test_parameters_are_accepted_under_their_other_names(
        self, ask: Call, tool: str, arguments: dict[str, Any]
    ) -> None:
        assert ask(tool, **arguments).error_type is None

    @every_tool
    def test_an_unknown_argument_is_an_error_that_names_the_valid_ones(self, ask: Call, tool: str) -> None:
        result = ask(tool, **_WORKING.get(tool, {"args": "help"}), no_such_argument=1)
        assert result.error_type == "INVALID_ARGUMENTS"
        assert "no_such_argument" in result.content
        assert [name for name in tool_class(tool).schema()["properties"] if name not in result.content] == []

    @pytest.mark.parametrize("tool", [tool for tool in TOOL_CLASSES if tool not in ("list_directory", "save_memory")])
    def test_a_missing_argument_is_an_error_that_names_it(self, ask: Call, tool: str) -> None:
        result = ask(tool)
        assert result.error_type == "INVALID_ARGUMENTS"
        assert tool_class(tool).schema()["required"][0] in result.content

    @every_tool
    def test_an_argument_of_the_wrong_type_is_an_error(self, ask: Call, tool: str) -> None:
        parameter = next(iter(tool_class(tool).schema()["properties"]))
        assert ask(tool, **{**_WORKING.get(tool, {}), parameter: {"a": 1}}).error_type == "INVALID_ARGUMENTS"

    @working_tools
    def test_null_is_as_good_as_leaving_an_argument_out(self, ask: Call, tool: str) -> None:
        left_out = dict.fromkeys(set(tool_class(tool).schema()["properties"]) - set(_WORKING[tool]))
        assert ask(tool, **_WORKING[tool], **left_out).error_type is None

    @every_number
    def test_a_number_may_be_written_as_text(
        self, ask: Call, tool: str, parameter: str, others: dict[str, Any]
    ) -> None:
        number = "0" if parameter in ("offset", "context") else "1"
        assert ask(tool, **others, **{parameter: number}).error_type is None

    @every_number
    @pytest.mark.parametrize("wrong", [True, -1, 1.5, "many"], ids=str)
    def test_a_boolean_or_what_is_no_count_is_not_a_number(
        self, ask: Call, tool: str, parameter: str, others: dict[str, Any], wrong: object
    ) -> None:
        result = ask(tool, **others, **{parameter: wrong})
        assert result.error_type == "INVALID_ARGUMENTS"
        assert parameter in result.content

    @working_tools
    def test_on_a_backend_that_is_not_running_a_call_raises(
        self, make_backend: Callable[..., Backend], tool: str
    ) -> None:
        idle = make_backend()
        with pytest.raises(BackendNotStartedError):
            tool_class(tool)(idle).execute(**_WORKING[tool])
        with pytest.raises(BackendNotStartedError):
            asyncio.run(tool_class(tool)(idle).aexecute(**_WORKING[tool]))

    def test_losing_the_environment_raises(self, make_backend: Callable[..., Backend]) -> None:
        backend = make_backend()
        backend.start()
        shell = tool_class("run_shell_command")(backend)
        with pytest.raises(BackendUnavailableError):
            shell.execute(command="kill -9 $PPID; sleep 300")
        assert shell.execute(command="echo on").content == "on"

    def test_observers_are_told_of_good_and_of_bad_results(self, backend: Backend, ask: Call) -> None:
        observer = _Observer()
        manager.register(observer)
        try:
            good, bad = ask("read_file", path="a.txt"), ask("read_file", paths="a.txt")
        finally:
            manager.unregister(observer)
        assert observer.told == [
            ("read_file", {"path": "a.txt"}, good.content),
            ("read_file", {"paths": "a.txt"}, bad.content),
        ]

    def test_fifty_calls_at_once_each_get_their_own_result(self, backend: Backend, workspace: Workspace) -> None:
        for number in range(50):
            workspace.write_bytes(f"{number}.txt", b"%d" % number)
        read = tool_class("read_file")(backend)

        async def all_at_once() -> list[ToolResult]:
            return await asyncio.gather(*(read.aexecute(absolute_path=f"{number}.txt") for number in range(50)))

        assert [result.content for result in asyncio.run(all_at_once())] == [str(number) for number in range(50)]
