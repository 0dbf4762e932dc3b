"""``PydanticAIAgent``: ``pydantic_ai.Agent`` with the tools of a backend."""

from __future__ import annotations

from collections.abc import AsyncIterable, Callable, Sequence
from concurrent.futures import CancelledError
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pydantic_ai
from pydantic_ai.capabilities import AbstractCapability
from pydantic_ai.exceptions import ContentFilterError, UsageLimitExceeded
from pydantic_ai.messages import (
    AgentStreamEvent,
    ModelMessage,
    ModelResponse,
    PartDeltaEvent,
    PartStartEvent,
    TextPart,
    TextPartDelta,
)
from pydantic_ai.models import Model, ModelRequestContext
from pydantic_ai.usage import RunUsage, UsageLimits

from omniagents.agents.base import DEFAULT_MAX_STEPS, Agent, AgentResult
from omniagents.agents.run import Run, model_error
from omniagents.agents.threads import uninterrupted
from omniagents.errors import OmniagentsError
from omniagents_pydantic_ai.toolset import OmniagentsToolset
from omniagents_pydantic_ai.unknown_tools import UnknownTools

if TYPE_CHECKING:
    from omniagents.backends.base import Backend
    from omniagents.presets.base import Preset
    from omniagents.tools.base import Tool

__all__ = ["PydanticAIAgent"]


class PydanticAIAgent(Agent):
    """Pydantic AI's loop on one backend.

    Args:
        backend: Where the tools work.
        model: A ``pydantic_ai.models.Model``, or a name such as ``openai:gpt-4.1`` or ``anthropic:claude-sonnet-4-5``.
        preset: Sets tools and instructions: a preset, its class or its name; by default the backend's own preset, or
            ``generic``.
        tools: Instead of the preset's: tools, or names of tools.
        system_prompt: Instead of the preset's instructions.
        max_steps: Turns of the model in one run, at least 1; Pydantic AI's ``request_limit``.
        output_type: Pydantic AI's; the ``output`` of results is of this type.

    Attributes:
        agent: The framework's agent, to which instructions, toolsets or hooks of your own can be added.

    Raises:
        ModelError: There is no such model, or no key for it.
    """

    def __init__(
        self,
        backend: Backend,
        model: Any,
        *,
        preset: Preset | Callable[[], Preset] | str | None = None,
        tools: Sequence[Tool | str] | None = None,
        system_prompt: str | None = None,
        max_steps: int = DEFAULT_MAX_STEPS,
        output_type: Any = str,
    ) -> None:
        super().__init__(backend, model, preset=preset, tools=tools, system_prompt=system_prompt, max_steps=max_steps)
        try:
            self.agent: pydantic_ai.Agent[object, Any] = pydantic_ai.Agent(
                model,
                output_type=output_type,
                instructions=self.system_prompt or None,
                toolsets=[OmniagentsToolset(self.tools)],
                # A model that calls tools that do not exist is told so until its turns are used up, like any other.
                retries=max_steps,
            )
        except Exception as error:
            raise model_error(error, model) from error

    async def _awork(self, task: str, run: Run) -> AgentResult:
        run.usage = RunUsage()
        model: Any = self.agent.model
        # Entered, a model has a client of this event loop, which is closed with the last run that goes on in it.
        await model.__aenter__()
        try:
            with pydantic_ai.capture_run_messages() as messages, run.active():
                run.messages = messages
                return await self._answer(task, run, messages)
        finally:
            # A run is cancelled twice where its tool call is, too: no connection of the client stays open for that.
            await uninterrupted(model.__aexit__(None, None, None))

    async def _answer(self, task: str, run: Run, messages: Sequence[ModelMessage]) -> AgentResult:
        streams = run.streamed and _can_stream(self.agent.model)
        whole_turns = [_WholeTurns(run)] if run.streamed and not streams else []
        try:
            done = await self.agent.run(
                task,
                capabilities=[UnknownTools(run), *whole_turns],
                usage=run.usage,
                usage_limits=UsageLimits(request_limit=self.max_steps),
                event_stream_handler=_emitting(run) if streams else None,
                infer_name=False,
            )
        except UsageLimitExceeded as error:
            raise run.step_limit() from error
        except ContentFilterError as error:
            return run.result(_declined(messages) or str(error), refused=True)
        except (OmniagentsError, CancelledError):
            raise  # of the environment, by way of a tool; or ours
        except Exception as error:
            raise run.model_error(error, self.model) from error
        return run.result(done.output, refused=_was_filtered(messages))


@dataclass
class _WholeTurns(AbstractCapability[Any]):
    """Passes the text of a model on that cannot stream."""

    run: Run

    async def after_model_request(
        self, ctx: pydantic_ai.RunContext[Any], *, request_context: ModelRequestContext, response: ModelResponse
    ) -> ModelResponse:
        self.run.text(response.text or "")
        return response


def _can_stream(model: Any) -> bool:
    is_written = getattr(type(model), "request_stream", None) is not Model.request_stream
    return is_written and getattr(model, "stream_function", True) is not None  # a FunctionModel may be made without


def _emitting(run: Run) -> Any:
    """The framework's handler of events that passes pieces of text on; the tools tell of their calls themselves."""

    async def handle(_: pydantic_ai.RunContext[object], events: AsyncIterable[AgentStreamEvent]) -> None:
        async for event in events:
            if isinstance(event, PartStartEvent) and isinstance(event.part, TextPart):
                run.text(event.part.content)
            elif isinstance(event, PartDeltaEvent) and isinstance(event.delta, TextPartDelta):
                run.text(event.delta.content_delta)

    return handle


def _last_response(messages: Sequence[ModelMessage]) -> ModelResponse | None:
    return next((message for message in reversed(messages) if isinstance(message, ModelResponse)), None)


def _was_filtered(messages: Sequence[ModelMessage]) -> bool:
    response = _last_response(messages)
    return response is not None and response.finish_reason == "content_filter"


def _declined(messages: Sequence[ModelMessage]) -> str:
    """The model's own words, where it refused with some."""
    response = _last_response(messages)
    return str(((response and response.provider_details) or {}).get("refusal") or "")
