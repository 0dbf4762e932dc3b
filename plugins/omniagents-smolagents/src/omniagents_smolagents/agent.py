"""``SmolagentsAgent``: smolagents' loop with the tools of a backend."""

from __future__ import annotations

import re
from collections.abc import Callable, Container, Iterator, Sequence
from concurrent.futures import CancelledError, ThreadPoolExecutor
from contextvars import copy_context
from typing import TYPE_CHECKING, Any

import smolagents
from rich.console import Console
from smolagents.agent_types import AgentType
from smolagents.agents import ToolCall, ToolOutput
from smolagents.memory import ActionStep, FinalAnswerStep
from smolagents.models import ChatMessage, ChatMessageStreamDelta, Model
from smolagents.monitoring import AgentLogger, LogLevel, TokenUsage
from smolagents.utils import AgentGenerationError, AgentParsingError

from omniagents.agents.base import DEFAULT_MAX_STEPS, Agent, AgentResult
from omniagents.agents.run import Run, model_error
from omniagents.agents.threads import in_thread
from omniagents.errors import BackendError
from omniagents_smolagents.executor import DEFAULT_TIMEOUT_SECONDS, BackendPythonExecutor
from omniagents_smolagents.tools import BackendTool, show_images

if TYPE_CHECKING:
    from omniagents.backends.base import Backend
    from omniagents.presets.base import Preset
    from omniagents.tools.base import Tool

__all__ = ["SmolagentsAgent"]

# How models that have no tool calls write them: an object that begins a line, in a fence or a tag or without one.
_OBJECT = re.compile(r"^\s*(?:```\w*\s*|<tool_call>\s*)?\{", re.MULTILINE)
_ACTION = re.compile(r"^\s*Action:\s*(?:```\w*\s*)?\{", re.MULTILINE)


class SmolagentsAgent(Agent):
    """A ``ToolCallingAgent`` or ``CodeAgent`` on one backend.

    Args:
        backend: Where the tools work, and the code of a ``CodeAgent``.
        model: A ``smolagents.Model``; or the id of a model for smolagents' ``InferenceClientModel``; or the name of a
            class of smolagents and an id for it, such as ``OpenAIModel:gpt-4.1``.
        preset: Sets tools and instructions: a preset, its class or its name; by default the backend's own preset, or
            ``generic``.
        tools: Instead of the preset's: tools, or names of tools.
        system_prompt: Instead of the preset's instructions; smolagents adds it to its own.
        max_steps: Turns of the model in one run, at least 1.
        code: Have a ``CodeAgent``, whose Python runs inside the backend and can call the tools.
        code_timeout_seconds: For the code of one step.

    Attributes:
        smolagents_model: The model, as an object of smolagents.

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
        code: bool = False,
        code_timeout_seconds: float = DEFAULT_TIMEOUT_SECONDS,
    ) -> None:
        super().__init__(backend, model, preset=preset, tools=tools, system_prompt=system_prompt, max_steps=max_steps)
        self.smolagents_model = _model(model)
        self._runs_code = code
        self._code_timeout_seconds = code_timeout_seconds

    def _work(self, task: str, run: Run) -> AgentResult:
        run.usage = TokenUsage(0, 0)
        executor = BackendPythonExecutor(self.backend, timeout_seconds=self._code_timeout_seconds)
        agent = self._agent(run, executor)
        run.on_cancel(lambda: in_thread(executor.cleanup))
        output: Any = ""
        try:
            with run.active():
                steps = agent.run(task, stream=True)
                run.on_cancel(agent.interrupt)
                for event in steps:
                    if isinstance(event, ChatMessageStreamDelta):
                        run.text(event.content or "")
                    elif isinstance(event, FinalAnswerStep):
                        output = event.output
        except _Answered as answered:
            return run.result(answered.text, refused=answered.is_refusal)
        except AgentGenerationError as error:
            raise run.model_error(error.__cause__ or error, self.model) from error
        finally:
            executor.cleanup()
        return run.result(output.to_raw() if isinstance(output, AgentType) else output)

    def _agent(self, run: Run, executor: BackendPythonExecutor) -> Any:
        """The framework's agent for one run; a run has a memory of its own."""
        images = not getattr(self.smolagents_model, "flatten_messages_as_text", False)
        options: dict[str, Any] = {
            "tools": [BackendTool(tool, images=images) for tool in self.tools],
            "model": self.smolagents_model,
            "instructions": self.system_prompt or None,
            "max_steps": self.max_steps,
            "stream_outputs": run.streamed and hasattr(self.smolagents_model, "generate_stream"),
            "step_callbacks": [_after_step(run)],
            "logger": AgentLogger(level=LogLevel.OFF, console=Console(quiet=True)),
        }
        if self._runs_code:
            agent = _CodeAgent(**options, backend_python=executor, additional_authorized_imports=["*"])
        else:
            agent = _ToolCallingAgent(**options)
            agent.model = _PlainAnswers(agent.model, agent.tools)
        agent.omniagents_run = run
        return agent


class _Answered(Exception):
    """The model's turn was an answer in plain text, which ends the run."""

    def __init__(self, text: str, *, is_refusal: bool) -> None:
        super().__init__(text)
        self.text = text
        self.is_refusal = is_refusal


class _StepLimit:
    """No further turn for a summary: as many as were allowed have been."""

    omniagents_run: Run

    def provide_final_answer(self, task: str) -> ChatMessage:
        raise self.omniagents_run.step_limit()


class _CodeAgent(_StepLimit, smolagents.CodeAgent):  # type: ignore[misc]
    def __init__(self, *, backend_python: BackendPythonExecutor, **options: Any) -> None:
        self._backend_python = backend_python
        super().__init__(**options)

    def create_python_executor(self) -> BackendPythonExecutor:
        return self._backend_python


class _ToolCallingAgent(_StepLimit, smolagents.ToolCallingAgent):  # type: ignore[misc]
    def process_tool_calls(self, chat_message: ChatMessage, memory_step: ActionStep) -> Iterator[ToolCall | ToolOutput]:
        """Like the framework's, but no call's failure loses the results of the others, and none is changed."""
        calls = [
            ToolCall(name=call.function.name, arguments=call.function.arguments, id=call.id)
            for call in chat_message.tool_calls or ()
        ]
        yield from calls
        memory_step.tool_calls = calls
        with ThreadPoolExecutor(self.max_tool_threads) as pool:
            futures = [pool.submit(copy_context().run, self._called, call) for call in calls]
            outputs = [future.result() for future in futures]
        yield from outputs
        memory_step.observations = "\n".join(output.observation for output in outputs)

    def _called(self, call: ToolCall) -> ToolOutput:
        is_final, tool = call.name == "final_answer", self.tools.get(call.name)
        output: Any
        if isinstance(tool, BackendTool):
            output = tool.answer(call.arguments)
        elif is_final:
            output = self.execute_tool_call(call.name, {} if call.arguments is None else call.arguments)
        else:
            output = self.omniagents_run.call(call.name, call.arguments if isinstance(call.arguments, dict) else {})
        return ToolOutput(id=call.id, output=output, is_final_answer=is_final, observation=str(output), tool_call=call)


def _after_step(run: Run) -> Any:
    """The step callback: keeps the run's record, shows images, and ends what smolagents would go on with."""

    def after(step: ActionStep, agent: Any) -> None:
        show_images(step, agent)
        if step.token_usage is not None:
            used = (step.token_usage.input_tokens, step.token_usage.output_tokens)
            run.usage = TokenUsage(run.usage.input_tokens + used[0], run.usage.output_tokens + used[1])
        run.messages = [*agent.write_memory_to_messages(), *step.to_messages()]
        if run.streamed and not agent.stream_outputs and isinstance(step.model_output, str):
            run.text(step.model_output)
        for cause in _causes(step.error):
            if isinstance(cause, (BackendError, CancelledError)):
                raise cause
        if isinstance(step.error, AgentParsingError) and step.model_output_message is not None:
            _answer(step.model_output_message, agent, streamed=agent.stream_outputs)

    return after


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def _answer(message: ChatMessage, agent: Any, *, streamed: bool) -> None:
    """Raise ``_Answered`` if the message is no attempt to act: a refusal, or an answer without the tool for answers."""
    choices = getattr(message.raw, "choices", None) or [None]
    refusal = getattr(getattr(choices[0], "message", None), "refusal", None)
    text = message.content if isinstance(message.content, str) else ""
    # smolagents does not pass refusals on in a stream: they are all that comes without any content.
    dropped = streamed and not text
    is_refusal = bool(refusal) or dropped or getattr(choices[0], "finish_reason", None) == "content_filter"
    if is_refusal or (isinstance(agent.model, _PlainAnswers) and not agent.model.is_call(text)):
        raise _Answered(refusal or text, is_refusal=is_refusal)


class _PlainAnswers:
    """The model of a ``ToolCallingAgent``, but text with a brace in it is read as a call only if it looks like one."""

    def __init__(self, model: Model, tools: Container[str]) -> None:
        self._model = model
        self._tools = tools

    def __getattr__(self, name: str) -> Any:
        return getattr(self._model, name)

    def parse_tool_calls(self, message: ChatMessage) -> ChatMessage:
        if not message.tool_calls and not self.is_call(message.content or ""):
            raise ValueError("the text is an answer")
        return self._model.parse_tool_calls(message)

    def is_call(self, text: str) -> bool:
        """Whether the text, whole or torn, has an object behind ``Action:``, or one that names a tool."""
        name = re.search(rf'"{re.escape(self._model.tool_name_key)}"\s*:\s*"([^"]*)"', text)
        is_of_a_tool = name is not None and name[1] in self._tools
        return bool(_ACTION.search(text) or (is_of_a_tool and _OBJECT.search(text)))


def _model(name: Any) -> Any:
    """The model that a name means, or a model object as it is.

    Raises:
        ModelError: It cannot be made.
        TypeError: It is neither.
    """
    if not isinstance(name, str):
        if not hasattr(name, "generate"):
            raise TypeError(f"model is a model of smolagents or the name of one, not {name!r:.200}")
        return name
    kind, separator, model_id = name.partition(":")
    found = getattr(smolagents, kind, None) if separator else None
    try:
        if isinstance(found, type) and issubclass(found, Model):
            return found(model_id=model_id)
        # What smolagents itself takes where none is named; its ids may have a colon, too.
        return smolagents.InferenceClientModel(model_id=name)
    except Exception as error:
        raise model_error(error, name) from error
