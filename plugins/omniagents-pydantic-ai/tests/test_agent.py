"""What ``PydanticAIAgent`` adds to what every agent promises (tests/frameworks)."""

from __future__ import annotations

import asyncio

import pytest
from pydantic import BaseModel
from pydantic_ai.messages import ModelMessage, ModelResponse, TextPart, ToolCallPart
from pydantic_ai.models.function import AgentInfo, FunctionModel
from pydantic_ai.models.test import TestModel
from pydantic_ai.usage import RunUsage

from omniagents import create_agent
from omniagents.agents.events import TextDelta
from omniagents.backends.base import Backend
from omniagents.errors import ModelError, StepLimitError
from omniagents_pydantic_ai.agent import PydanticAIAgent


class Answer(BaseModel):
    lines: int


def test_it_is_made_by_name(backend: Backend) -> None:
    assert isinstance(create_agent("pydantic-ai", backend=backend, model=TestModel()), PydanticAIAgent)


def test_a_structured_output(backend: Backend) -> None:
    def answer(messages: list[ModelMessage], info: AgentInfo) -> ModelResponse:
        return ModelResponse(parts=[ToolCallPart(info.output_tools[0].name, {"lines": 3})])

    agent = PydanticAIAgent(backend, FunctionModel(answer), output_type=Answer)
    assert agent.run("Count.").output == Answer(lines=3)


def test_a_missing_key_is_the_framework_s_error_and_our_hint(backend: Backend) -> None:
    with pytest.raises(ModelError) as raised:
        PydanticAIAgent(backend, "openai:gpt-4.1")
    assert "OPENAI_API_KEY is not set. Set it where this program runs" in str(raised.value)
    assert type(raised.value.__cause__).__module__.startswith(("openai", "pydantic_ai"))


def test_a_name_that_the_framework_does_not_know(backend: Backend) -> None:
    with pytest.raises(ModelError, match="no-such-provider"):
        PydanticAIAgent(backend, "no-such-provider:model")


def test_unknown_tools_until_the_steps_are_used_up(backend: Backend) -> None:
    def answer(messages: list[ModelMessage], info: AgentInfo) -> ModelResponse:
        return ModelResponse(parts=[ToolCallPart("no_such_tool", {})])

    with pytest.raises(StepLimitError) as raised:
        PydanticAIAgent(backend, FunctionModel(answer), max_steps=6).run("Go.")
    assert isinstance(raised.value.result.usage, RunUsage)
    assert raised.value.result.usage.requests == 6


def test_an_error_in_the_model_object_is_a_model_error(backend: Backend) -> None:
    def answer(messages: list[ModelMessage], info: AgentInfo) -> ModelResponse:
        raise RuntimeError("out of order")

    with pytest.raises(ModelError, match="the model failed: RuntimeError: out of order"):
        PydanticAIAgent(backend, FunctionModel(answer)).run("Go.")


def test_a_run_begins_a_conversation_of_its_own(backend: Backend) -> None:
    lengths = []

    def answer(messages: list[ModelMessage], info: AgentInfo) -> ModelResponse:
        lengths.append(len(messages))
        return ModelResponse(parts=[TextPart("Done.")])

    agent = PydanticAIAgent(backend, FunctionModel(answer))
    assert [str(agent.run("One.")), str(agent.run("Two."))] == ["Done.", "Done."]
    assert lengths == [1, 1]


def test_a_model_that_cannot_stream_is_heard_turn_by_turn(backend: Backend) -> None:
    def answer(messages: list[ModelMessage], info: AgentInfo) -> ModelResponse:
        if len(messages) > 1:
            return ModelResponse(parts=[TextPart("Done.")])
        return ModelResponse(parts=[TextPart("I look."), ToolCallPart("glob", {"pattern": "*"})])

    events = list(PydanticAIAgent(backend, FunctionModel(answer)).stream("Go."))
    assert [event.text for event in events if isinstance(event, TextDelta)] == ["I look.", "Done."]


def test_a_run_that_is_cancelled_twice_closes_its_client_all_the_same(backend: Backend) -> None:
    asked, leaving = asyncio.Event(), asyncio.Event()

    async def answer(messages: list[ModelMessage], info: AgentInfo) -> ModelResponse:
        asked.set()
        await asyncio.Event().wait()
        raise AssertionError

    class Closing(FunctionModel):
        is_closed = False

        async def __aexit__(self, *error: object) -> None:
            leaving.set()
            await asyncio.sleep(0)
            self.is_closed = True

    model = Closing(answer)

    async def scenario() -> None:
        run = asyncio.ensure_future(PydanticAIAgent(backend, model).arun("Go."))
        for moment in (asked, leaving):
            await moment.wait()
            run.cancel()
        with pytest.raises(asyncio.CancelledError):
            await run

    asyncio.run(scenario())
    assert model.is_closed
