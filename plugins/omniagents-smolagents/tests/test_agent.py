"""What ``SmolagentsAgent`` adds to what every agent promises (tests/frameworks)."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import Any

import pytest
import smolagents
from smolagents import ChatMessage, MessageRole, Model, TokenUsage
from smolagents.models import ChatMessageToolCall, ChatMessageToolCallFunction

from omniagents import create_agent
from omniagents.agents.events import TextDelta
from omniagents.backends.base import Backend
from omniagents.errors import BackendNotStartedError, ModelError, StepLimitError
from omniagents.testing._support import alive, until
from omniagents_smolagents.agent import SmolagentsAgent

Turn = str | tuple[str, Any] | Callable[[], str]


class Scripted(Model):  # type: ignore[misc]
    """A model whose turns are text, a call, or a function that answers with text."""

    def __init__(self, *turns: Turn, **options: Any) -> None:
        super().__init__(model_id="scripted", **options)
        self._turns = iter(turns)
        self.heard: list[list[ChatMessage]] = []

    def generate(self, messages: list[ChatMessage], **_: Any) -> ChatMessage:
        self.heard.append(messages)
        turn = next(self._turns)
        if isinstance(turn, tuple):
            function = ChatMessageToolCallFunction(name=turn[0], arguments=turn[1])
            calls = [ChatMessageToolCall(id=f"call_{len(self.heard)}", type="function", function=function)]
            return ChatMessage(MessageRole.ASSISTANT, None, calls, token_usage=TokenUsage(1, 1))
        return ChatMessage(MessageRole.ASSISTANT, turn if isinstance(turn, str) else turn())

    @property
    def told(self) -> str:
        """The last thing it was told."""
        return str(self.heard[-1][-1].content)


def code(*lines: str) -> str:
    return "\n".join(["I think.", "<code>", *lines, "</code>"])


def test_it_is_made_by_name(backend: Backend) -> None:
    assert isinstance(create_agent("smolagents", backend=backend, model=Scripted()), SmolagentsAgent)


def test_what_is_no_model_is_refused(backend: Backend) -> None:
    with pytest.raises(TypeError) as raised:
        SmolagentsAgent(backend, 5)
    assert str(raised.value) == "model is a model of smolagents or the name of one, not 5"


def test_an_answer_by_the_framework_s_tool_for_answers(backend: Backend) -> None:
    assert SmolagentsAgent(backend, Scripted(("final_answer", {"answer": "Done."}))).run("Go.").output == "Done."


def test_an_answer_in_plain_text(backend: Backend) -> None:
    assert SmolagentsAgent(backend, Scripted("The answer is 4.")).run("Go.").output == "The answer is 4."


def test_a_call_written_as_text_is_made(backend: Backend) -> None:
    call = 'Action:\n{"name": "write_file", "arguments": {"absolute_path": "a.txt", "content": "a"}}'
    SmolagentsAgent(backend, Scripted(call, "Done.")).run("Go.")
    assert backend.workspace.read_bytes("a.txt") == b"a"


def test_a_call_written_as_text_that_is_torn_is_asked_for_again(backend: Backend) -> None:
    model = Scripted('Action:\n{"name": "write_file", "arguments": {"absol', "Done.")
    assert SmolagentsAgent(backend, model).run("Go.").output == "Done."
    assert "Error while parsing tool call from model output" in model.told


@pytest.mark.parametrize(
    "answer",
    [
        "It prints {} now.",
        'Its settings are {"name": "glob"} and so on.',
        '{"name": "app", "version": "0.1.0"}',
        '```json\n{\n  "name": "app"\n}\n```',
        "def f():\n    return {1: 2",
    ],
)
def test_an_answer_with_braces_is_no_call(backend: Backend, answer: str) -> None:
    result = SmolagentsAgent(backend, Scripted(answer)).run("Go.")
    assert (result.output, result.tool_calls, result.refused) == (answer, [], False)


@pytest.mark.parametrize("form", ["{}", "I look.\n{}", "```json\n{}\n```", "<tool_call>\n{}\n</tool_call>"])
def test_a_call_written_as_text_needs_no_word_before_it(backend: Backend, form: str) -> None:
    call = form.replace("{}", '{"name": "glob", "arguments": {"pattern": "*"}}')
    result = SmolagentsAgent(backend, Scripted(call, "Done.")).run("Go.")
    assert (result.output, [each.name for each in result.tool_calls]) == ("Done.", ["glob"])


def test_an_empty_answer_is_no_refusal(backend: Backend) -> None:
    result = SmolagentsAgent(backend, Scripted("")).run("Go.")
    assert (result.output, result.refused) == ("", False)


def test_a_model_that_takes_text_only_gets_no_image(backend: Backend) -> None:
    backend.workspace.write_bytes("a.png", b"\x89PNG\r\n\x1a\n")
    model = Scripted(("read_file", {"absolute_path": "a.png"}), "Done.", flatten_messages_as_text=True)
    SmolagentsAgent(backend, model).run("Go.")
    assert "[a.png is not shown: this model takes no images.]" in model.told


def test_a_model_that_cannot_stream_is_heard_turn_by_turn(backend: Backend) -> None:
    events = list(SmolagentsAgent(backend, Scripted("All at once.")).stream("Go."))
    assert events[0] == TextDelta("All at once.")


def test_nothing_is_printed(backend: Backend, capfd: pytest.CaptureFixture[str]) -> None:
    list(SmolagentsAgent(backend, Scripted(("glob", {}), "Done.")).stream("Go."))
    assert capfd.readouterr() == ("", "")


def test_a_lost_environment_ends_the_run(backend: Backend) -> None:
    def lose() -> str:
        backend.shutdown()
        return '{"name": "glob", "arguments": {"pattern": "*"}}'

    with pytest.raises(BackendNotStartedError):
        SmolagentsAgent(backend, Scripted(lose, "Done.")).run("Go.")


def test_a_missing_key_is_the_framework_s_error_and_our_hint(backend: Backend) -> None:
    with pytest.raises(ModelError) as raised:
        SmolagentsAgent(backend, "OpenAIModel:gpt-4.1")
    assert "OPENAI_API_KEY is not set. Set it where this program runs" in str(raised.value)
    assert type(raised.value.__cause__).__module__.startswith("openai")


@pytest.mark.parametrize(
    ("name", "kind", "model_id"),
    [
        ("Qwen/Qwen3-Coder-480B-A35B-Instruct", "InferenceClientModel", "Qwen/Qwen3-Coder-480B-A35B-Instruct"),
        ("Qwen/Qwen3-Coder-480B-A35B-Instruct:novita", "InferenceClientModel", None),
        ("OpenAIServerModel:gpt-4.1", "OpenAIModel", "gpt-4.1"),
    ],
)
def test_names_of_models(
    backend: Backend, monkeypatch: pytest.MonkeyPatch, name: str, kind: str, model_id: str | None
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "unused")
    monkeypatch.setenv("HF_TOKEN", "unused")
    made = SmolagentsAgent(backend, name).smolagents_model
    assert isinstance(made, getattr(smolagents, kind))
    assert made.model_id == (model_id or name)


def written(backend: Backend) -> bool:
    """Whether the process has said who it is, to the end of the line."""
    return backend.workspace.exists("pid") and backend.workspace.read_bytes("pid").endswith(b"\n")


class TestCode:
    """A ``CodeAgent``."""

    def test_code_runs_in_the_workspace_and_calls_tools(self, backend: Backend) -> None:
        model = Scripted(
            code(
                "names = ['a', 'b']", "for name in names:", "    write_file(f'{name}.txt', name)", "print(len(names))"
            ),
            code("import os", "final_answer({'cwd': os.getcwd(), 'files': sorted(os.listdir())})"),
        )
        result = SmolagentsAgent(backend, model, code=True).run("Go.")
        assert result.output == {"cwd": backend.workspace.root, "files": ["a.txt", "b.txt"]}
        assert [call.name for call in result.tool_calls] == ["write_file", "write_file"]
        assert "Execution logs:\\n2\\n" in model.told

    def test_code_that_fails_is_repaired(self, backend: Backend) -> None:
        model = Scripted(code("1 / 0"), code("final_answer('repaired')"))
        assert SmolagentsAgent(backend, model, code=True).run("Go.").output == "repaired"
        assert "ZeroDivisionError: division by zero" in model.told

    def test_every_run_has_a_new_python_and_leaves_none(self, backend: Backend) -> None:
        model = Scripted(
            code("import os", "x = 1", "final_answer(os.getpid())"), code("final_answer('x' in globals())")
        )
        agent = SmolagentsAgent(backend, model, code=True)
        pid = agent.run("Go.").output
        until(lambda: not alive(backend, pid), f"process {pid} ends")
        assert agent.run("Again.").output is False

    def test_the_step_limit(self, backend: Backend) -> None:
        with pytest.raises(StepLimitError):
            SmolagentsAgent(backend, Scripted(*[code("1")] * 3), code=True, max_steps=2).run("Go.")

    def test_a_time_limit_for_a_step(self, backend: Backend) -> None:
        model = Scripted(code("while True: pass"), code("final_answer(1)"))
        assert SmolagentsAgent(backend, model, code=True, code_timeout_seconds=3).run("Go.").output == 1
        assert "The code was stopped after 3 s." in model.told

    def test_cancelling_a_run_ends_its_python(self, backend: Backend) -> None:
        begun = threading.Event()
        endless = code("import os, time", "open('pid', 'w').write(f'{os.getpid()}\\n')", "while True: time.sleep(1)")

        def begin() -> str:
            begun.set()
            return endless

        async def scenario() -> None:
            agent = SmolagentsAgent(backend, Scripted(begin, code("final_answer(1)")), code=True)
            run = asyncio.ensure_future(agent.arun("Go."))
            await asyncio.to_thread(until, lambda: written(backend), "the code runs")
            run.cancel()
            with pytest.raises(asyncio.CancelledError):
                await run

        asyncio.run(scenario())
        pid = int(backend.workspace.read_bytes("pid"))
        until(lambda: not alive(backend, pid), f"process {pid} ends")

    def test_a_lost_environment_ends_the_run(self, backend: Backend) -> None:
        def lose() -> str:
            backend.shutdown()
            return code("1")

        with pytest.raises(BackendNotStartedError):
            SmolagentsAgent(backend, Scripted(lose, code("final_answer(1)")), code=True).run("Go.")
