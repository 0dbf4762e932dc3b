"""What the adapters of all frameworks share, without any framework."""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.core.local_backends import running_backend

from omniagents.agents.base import Agent
from omniagents.agents.events import AgentEvent, RunFinished, TextDelta, ToolCallFinished, ToolCallStarted
from omniagents.agents.keys import credentials_hint
from omniagents.agents.records import AgentResult
from omniagents.agents.rendering import model_content
from omniagents.agents.run import Run, call_tool
from omniagents.backends.base import Backend
from omniagents.errors import ModelError, StepLimitError
from omniagents.presets.base import Preset
from omniagents.presets.python import PythonUVPreset
from omniagents.tools.base import DocumentPart, ImagePart, ToolResult
from omniagents.tools.glob_tool import GlobTool

_IMAGE = ImagePart(b"png", "image/png", "a.png")


class Scripted(Agent):
    """Writes a file and says what it did; the loop is its own."""

    def _work(self, task: str, run: Run) -> AgentResult:
        run.begin_step()
        run.text("I write.")
        run.call("write_file", {"absolute_path": "a.txt", "content": task})
        return run.result("Done.")


class Asynchronous(Agent):
    """The same, written for an event loop."""

    async def _awork(self, task: str, run: Run) -> AgentResult:
        run.begin_step()
        run.text("I write.")
        await run.acall("write_file", {"absolute_path": "a.txt", "content": task})
        return run.result("Done.")


@pytest.fixture
def local(tmp_path: Path) -> Iterator[Backend]:
    with running_backend(tmp_path) as backend:
        yield backend


@pytest.mark.parametrize("agent_class", [Scripted, Asynchronous])
class TestAgent:
    """One of the two methods is enough for all four ways to run."""

    def test_it_runs(self, local: Backend, agent_class: type[Agent]) -> None:
        result = agent_class(local, "m").run("hello")
        assert (str(result), [call.name for call in result.tool_calls]) == ("Done.", ["write_file"])
        assert local.workspace.read_bytes("a.txt") == b"hello"

    def test_it_is_awaited(self, local: Backend, agent_class: type[Agent]) -> None:
        assert str(asyncio.run(agent_class(local, "m").arun("hello"))) == "Done."

    def test_it_streams(self, local: Backend, agent_class: type[Agent]) -> None:
        events = list(agent_class(local, "m").stream("hello"))
        assert [type(event) for event in events] == [TextDelta, ToolCallStarted, ToolCallFinished, RunFinished]

    def test_it_streams_asynchronously(self, local: Backend, agent_class: type[Agent]) -> None:
        async def scenario() -> list[type[AgentEvent]]:
            return [type(event) async for event in agent_class(local, "m").astream("hello")]

        assert asyncio.run(scenario()) == [TextDelta, ToolCallStarted, ToolCallFinished, RunFinished]

    def test_what_streams_can_also_be_awaited(self, local: Backend, agent_class: type[Agent]) -> None:
        async def scenario() -> list[type[AgentEvent]]:
            async with contextlib.aclosing(agent_class(local, "m").stream("hello")) as events:
                return [type(event) async for event in events]

        assert asyncio.run(scenario()) == [TextDelta, ToolCallStarted, ToolCallFinished, RunFinished]

    @pytest.mark.parametrize("task", [None, 5, ["hello"]])
    def test_a_task_that_is_no_text_is_refused_before_the_model_is_asked(
        self, local: Backend, agent_class: type[Agent], task: Any
    ) -> None:
        agent = agent_class(local, "m")
        for run in (agent.run, lambda task: list(agent.stream(task)), lambda task: asyncio.run(agent.arun(task))):
            with pytest.raises(TypeError) as raised:
                run(task)
            assert str(raised.value) == f"the task is a string, not {task!r}"
        assert local.workspace.list() == []

    def test_the_step_limit_is_raised_through_every_way(self, local: Backend, agent_class: type[Agent]) -> None:
        class Greedy(agent_class):  # type: ignore[misc,valid-type]
            def _new_run(self, **options: Any) -> Run:
                run: Run = super()._new_run(**options)
                run.begin_step()
                return run

        agent = Greedy(local, "m", max_steps=1)
        for run in (agent.run, lambda task: list(agent.stream(task)), lambda task: asyncio.run(agent.arun(task))):
            with pytest.raises(StepLimitError):
                run("hello")


def test_an_adapter_without_a_loop_is_told_so(local: Backend) -> None:
    with pytest.raises(TypeError) as raised:
        Agent(local, "m").run("hello")
    assert str(raised.value) == "Agent has neither _work nor _awork; an adapter writes one of them"


def test_tools_as_one_string_are_refused(local: Backend) -> None:
    with pytest.raises(TypeError) as raised:
        Scripted(local, "m", tools="glob")
    assert str(raised.value) == "tools is a list of tools or their names, not the string 'glob'"


@pytest.mark.parametrize(
    ("option", "value", "error", "message"),
    [
        ("max_steps", 0, ValueError, "max_steps is at least 1, not 0"),
        ("max_steps", "5", TypeError, "max_steps is a whole number, not '5'"),
        ("max_steps", 2.5, TypeError, "max_steps is a whole number, not 2.5"),
        ("max_steps", True, TypeError, "max_steps is a whole number, not True"),
        ("max_steps", None, TypeError, "max_steps is a whole number, not None"),
        ("tools", 5, TypeError, "tools is a list of tools or their names, not 5"),
        ("tools", [5], TypeError, "tools is a list of tools or their names; 5 is neither"),
        ("system_prompt", 5, TypeError, "system_prompt is a string, not 5"),
        ("preset", 5, TypeError, "preset is a preset, its class or its name, not 5"),
        ("model", None, TypeError, "model is the framework's model object or a name, not None"),
        ("model", " ", ValueError, "model is the framework's model object or a name, not ' '"),
    ],
)
def test_what_an_agent_cannot_be_made_with_is_named(
    local: Backend, option: str, value: Any, error: type[Exception], message: str
) -> None:
    with pytest.raises(error) as raised:
        Scripted(**{"backend": local, "model": "m", option: value})
    assert str(raised.value) == message


def test_the_set_up_of_a_preset_runs_once(local: Backend) -> None:
    agent = Scripted(local, "m", preset=Preset("mine", setup_commands=("echo x >> made",)))
    agent.run("hello")
    local.workspace.remove(*[entry.path for entry in local.workspace.list()])
    agent.run("hello")
    assert not local.workspace.exists("made")


def test_an_unknown_tool_is_answered_with_the_list(local: Backend) -> None:
    result = Run([GlobTool(backend=local)], 1).call("glub", {})
    assert (result.is_error, result.error_type) == (True, "UNKNOWN_TOOL")
    assert str(result) == "there is no tool 'glub'; nothing was done. Did you mean 'glob'? Tools: glob."


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        ('{"pattern": ', "Expecting value: line 1 column 13 (char 12)"),
        ("[]", "no object"),
        ("[1]", "no object"),
        ('"x"', "no object"),
    ],
)
def test_arguments_that_are_no_object_are_answered(local: Backend, arguments: str, problem: str) -> None:
    result = Run([GlobTool(backend=local)], 1).call("glob", arguments)
    assert (result.is_error, result.error_type) == (True, "INVALID_ARGUMENTS")
    assert str(result) == (
        f"glob: the arguments are not a JSON object ({problem}); nothing was done. Send the call again, with strings "
        "escaped and complete. Valid arguments: pattern (required), path, case_sensitive, respect_git_ignore."
    )


def test_arguments_as_json_are_parsed(local: Backend) -> None:
    run = Run([GlobTool(backend=local)], 1)
    assert run.call("glob", '{"pattern": "*"}') == run.call("glob", {"pattern": "*"})
    assert run.tool_calls[0].arguments == {"pattern": "*"}


def test_a_framework_s_tool_object_goes_through_the_active_run(local: Backend) -> None:
    glob = GlobTool(backend=local)
    run = Run([glob], 1)
    call_tool(glob, {"pattern": "*"})
    with run.active():
        call_tool(glob, {"pattern": "*"})
    assert len(run.tool_calls) == 1


def test_a_cancelled_run_begins_no_call(local: Backend) -> None:
    run = Run([GlobTool(backend=local)], 1)
    run.cancel()
    with pytest.raises(concurrent.futures.CancelledError):
        run.call("glob", {"pattern": "*"})


def test_cancelling_ends_a_call_in_another_thread(local: Backend) -> None:
    begun = threading.Event()
    agent = Scripted(local, "m")
    run = Run(agent.tools, 1, emit=lambda event: begun.set())
    ended: list[BaseException] = []

    def work() -> None:
        try:
            run.call("run_shell_command", {"command": "sleep 1000"})
        except concurrent.futures.CancelledError as error:
            ended.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    begun.wait()
    run.cancel()
    thread.join()
    assert len(ended) == 1


def test_content_is_the_result_s_own_where_the_model_takes_everything() -> None:
    parts = (_IMAGE, DocumentPart(b"%PDF", "application/pdf", "a.pdf"))
    assert model_content(ToolResult("Read.", parts=parts)) == ("Read.", parts)


def test_an_image_nobody_sees_is_mentioned() -> None:
    content = model_content(ToolResult("Read.", parts=(_IMAGE,)), images=False)
    assert content == ("Read.\n[a.png is not shown: this model takes no images.]", ())


@pytest.mark.extra
def test_a_broken_pdf_is_mentioned_with_what_is_wrong() -> None:
    document = DocumentPart(b"%PDF-1.4 and no more", "application/pdf", "a.pdf")
    text, parts = model_content(ToolResult("Read.", parts=(document,)), documents=False)
    assert parts == ()
    assert text.startswith("Read.\n[a.pdf is not shown: this model takes no PDFs, and its text cannot be read (")


def test_a_hint_needs_a_reason() -> None:
    assert credentials_hint(ValueError("context too long"), "openai:gpt-4.1") == ""
    assert credentials_hint(ValueError("invalid api key"), "another:model") == ""


def test_a_model_by_name_that_cannot_be_reached_without_a_key_has_a_hint(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ANTHROPIC_API_KEY", raising=False)
    error = ConnectionError("Connection error.")
    assert credentials_hint(error, "anthropic:claude-x").startswith("ANTHROPIC_API_KEY is not set. ")
    assert credentials_hint(error, object()) == credentials_hint(error, "bedrock:anthropic.claude-x") == ""
    assert credentials_hint(ValueError("context too long"), "anthropic:claude-x") == ""
    monkeypatch.setenv("ANTHROPIC_API_KEY", "x")
    assert credentials_hint(error, "anthropic:claude-x") == ""


@pytest.mark.parametrize("given", ["python-uv", PythonUVPreset, PythonUVPreset()])
def test_a_preset_may_be_a_name_or_a_class(local: Backend, given: Any) -> None:
    assert Scripted(local, "m", preset=given).preset == PythonUVPreset()


def test_something_else_in_place_of_a_preset_is_refused(local: Backend) -> None:
    with pytest.raises(TypeError) as raised:
        Scripted(local, "m", preset=3)  # type: ignore[arg-type]
    assert str(raised.value) == "preset is a preset, its class or its name, not 3"


def test_something_else_in_place_of_a_tool_is_refused(local: Backend) -> None:
    with pytest.raises(TypeError) as raised:
        Scripted(local, "m", tools=[3])  # type: ignore[list-item]
    assert str(raised.value) == "tools is a list of tools or their names; 3 is neither"


@pytest.mark.parametrize(
    ("error", "model", "variable"),
    [
        (ValueError("set the OPENAI_API_KEY environment variable"), object(), "OPENAI_API_KEY"),
        (ValueError("Could not resolve authentication method"), "anthropic:claude", "ANTHROPIC_API_KEY"),
        (ValueError("You must provide an api_key to work with Hugging Face"), object(), "HF_TOKEN"),
    ],
)
def test_a_missing_key_has_a_hint(
    monkeypatch: pytest.MonkeyPatch, error: Exception, model: object, variable: str
) -> None:
    monkeypatch.delenv(variable, raising=False)
    assert credentials_hint(error, model).startswith(f"{variable} is not set. ")
    monkeypatch.setenv(variable, "x")
    assert credentials_hint(error, model) == (
        f"{variable} is set, but the provider did not take it: check the key and what it may be used for."
    )


def test_a_model_error_has_what_the_framework_said_and_what_was_done(local: Backend) -> None:
    run = Run([GlobTool(backend=local)], 1)
    run.call("glob", {"pattern": "*"})
    error = run.model_error(RuntimeError("too long"), "m")
    assert isinstance(error, ModelError)
    assert str(error) == "the model failed: RuntimeError: too long"
    assert [call.name for call in error.result.tool_calls] == ["glob"]
