"""``Run``: what has happened in one run of an agent; the tool calls of every framework go through it."""

from __future__ import annotations

import concurrent.futures
import difflib
import itertools
import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any, TypeVar

from omniagents.agents.events import AgentEvent, TextDelta, ToolCallFinished, ToolCallStarted
from omniagents.agents.keys import credentials_hint
from omniagents.agents.records import AgentResult, ToolCall
from omniagents.errors import ModelError, StepLimitError
from omniagents.tools.base import Cancellation, Tool, ToolResult, valid_arguments

__all__ = ["Run", "acall_tool", "call_tool", "is_object", "model_error"]

T = TypeVar("T")

_current: ContextVar[Run | None] = ContextVar("omniagents_run", default=None)


class Run:
    """One run of an agent. Tools may be called from any thread.

    Args:
        tools: What the model is offered.
        max_steps: Turns of the model.
        emit: Gets every event as it happens, from any thread; must not block.
        streamed: Whether anybody sees the text before the end, so that it should come in pieces.

    Attributes:
        usage: Tokens, as the framework reports them; the adapter keeps it up to date.
        messages: The conversation so far, in the framework's type; the adapter keeps it up to date.
        tool_calls: In the order they finished.
    """

    def __init__(
        self,
        tools: Sequence[Tool],
        max_steps: int,
        *,
        emit: Callable[[AgentEvent], object] = lambda event: None,
        streamed: bool = False,
    ) -> None:
        self.streamed = streamed
        self.usage: Any = None
        self.messages: Sequence[Any] = ()
        self.tool_calls: list[ToolCall] = []
        self._tools = {tool.name: tool for tool in tools}
        self._max_steps = max_steps
        self._steps = 0
        self._emit = emit
        self._numbers = itertools.count(1)
        self._cancellation = Cancellation()
        # Cancellation keeps what it cancels only as long as somebody else does.
        self._signals: list[concurrent.futures.Future[None]] = []

    def begin_step(self) -> None:
        """Count a turn of the model, before it.

        Raises:
            StepLimitError: It would be one too many.
        """
        if self._steps == self._max_steps:
            raise self.step_limit()
        self._steps += 1

    def step_limit(self) -> StepLimitError:
        """The error, for frameworks that count turns themselves."""
        turns = f"{self._max_steps} turn{'s' if self._max_steps > 1 else ''} of the model"
        calls = f"{len(self.tool_calls)} tool call{'' if len(self.tool_calls) == 1 else 's'}"
        return StepLimitError(
            f"no answer after {turns} (max_steps) and {calls}. What they did is in the workspace: "
            "run again to go on from there, or raise max_steps",
            result=self.result(""),
        )

    def model_error(self, error: BaseException, model: object) -> ModelError:
        """The error to raise ``from error``, which came from the model, its provider or the way there."""
        return model_error(error, model, self.result(""))

    def result(self, output: Any, *, refused: bool = False) -> AgentResult:
        """A result with what has happened so far."""
        return AgentResult(output, self.usage, list(self.tool_calls), list(self.messages), refused)

    def text(self, delta: str) -> None:
        """Emit a piece of what the model says, unless it is empty."""
        if delta:
            self._emit(TextDelta(delta))

    def call(self, name: str, arguments: Mapping[str, Any] | str) -> ToolResult:
        """Run a tool as a model asked for it, record the call and emit its events.

        Args:
            name: Of one of the tools; any other is answered with a result that lists them.
            arguments: An object; or JSON, where the framework has not parsed it. What is no object is answered so.

        Raises:
            BackendUnavailableError: The environment died. A model's mistake never raises: it is a result.
            concurrent.futures.CancelledError: ``cancel`` was called.
        """
        call = self._begun(name, arguments)
        with self._cancellation.watching():
            result = call.target.execute(**call.arguments) if isinstance(call.target, Tool) else call.target
        return self._ended(call, result)

    async def acall(self, name: str, arguments: Mapping[str, Any] | str) -> ToolResult:
        """Like ``call``, without a thread; cancelling the task stops the work inside the environment."""
        call = self._begun(name, arguments)
        with self._cancellation.watching():
            result = await call.target.aexecute(**call.arguments) if isinstance(call.target, Tool) else call.target
        return self._ended(call, result)

    @contextmanager
    def active(self) -> Iterator[None]:
        """Make ``call_tool`` and ``acall_tool`` in this context go through this run."""
        token = _current.set(self)
        try:
            yield
        finally:
            _current.reset(token)

    def wait(self, future: concurrent.futures.Future[T]) -> T:
        """The future's result; ``cancel`` cancels it."""
        self._cancellation.add(future)
        return future.result()

    def on_cancel(self, stop: Callable[[], object]) -> None:
        """Have ``stop`` called once when ``cancel`` is, or now if it was; from any thread, so it must not block."""
        signal: concurrent.futures.Future[None] = concurrent.futures.Future()
        signal.add_done_callback(lambda _: stop())
        self._signals.append(signal)
        self._cancellation.add(signal)

    def cancel(self) -> None:
        """Stop the calls under way inside the environment, and let no other begin. From any thread."""
        self._cancellation.cancel()

    def _begun(self, name: str, arguments: Mapping[str, Any] | str) -> _Call:
        if self._cancellation.is_cancelled:
            raise concurrent.futures.CancelledError("the run was cancelled")
        target: Tool | ToolResult = self._tools.get(name) or _unknown_tool(name, list(self._tools))
        given = _parsed(arguments) if isinstance(arguments, str) else arguments
        if isinstance(given, str):
            if isinstance(target, Tool):
                target = _malformed(target, given)
            given = {"arguments": arguments}  # what the model sent is kept as it is
        call = _Call(next(self._numbers), name, given, target)
        self._emit(ToolCallStarted(call.number, name, given))
        return call

    def _ended(self, call: _Call, result: ToolResult) -> ToolResult:
        record = ToolCall(call.name, call.arguments, result, time.perf_counter() - call.started)
        self.tool_calls.append(record)
        self._emit(ToolCallFinished(call.number, record))
        return result


@dataclass
class _Call:
    """A call under way; its target is the answer where there is no tool to ask, or nothing to ask it."""

    number: int
    name: str
    arguments: Mapping[str, Any]
    target: Tool | ToolResult
    started: float = field(default_factory=time.perf_counter)


def call_tool(tool: Tool, arguments: Mapping[str, Any] | str) -> ToolResult:
    """Run a tool for a framework's own tool object: within the run that is active here, or by itself."""
    return (_current.get() or Run([tool], 1)).call(tool.name, arguments)


async def acall_tool(tool: Tool, arguments: Mapping[str, Any] | str) -> ToolResult:
    """Like ``call_tool``, without a thread."""
    return await (_current.get() or Run([tool], 1)).acall(tool.name, arguments)


def model_error(error: BaseException, model: object, result: AgentResult | None = None) -> ModelError:
    """The error to raise ``from error``, with our hint where a key is missing."""
    hint = credentials_hint(error, model)
    message = f"the model failed: {type(error).__name__}: {error}"
    return ModelError(f"{message}\n{hint}" if hint else message, result=result or AgentResult(""))


def is_object(arguments: str) -> bool:
    """Whether a tool could be called with this; for frameworks that make something of anything."""
    return not isinstance(_parsed(arguments), str)


def _parsed(text: str) -> Mapping[str, Any] | str:
    """The object, or what is wrong."""
    try:
        # Nothing at all, or null, is what some models send to tools that need no argument.
        parsed = json.loads(text if text.strip() else "null")
    except (RecursionError, ValueError) as error:
        return str(error)
    if parsed is None:
        return {}
    return parsed if isinstance(parsed, dict) else "no object"


def _malformed(tool: Tool, problem: str) -> ToolResult:
    content = (
        f"{tool.name}: the arguments are not a JSON object ({problem}); nothing was done. Send the call again, with "
        f"strings escaped and complete. {valid_arguments(tool)}"
    )
    return ToolResult(content, is_error=True, error_type="INVALID_ARGUMENTS")


def _unknown_tool(name: str, known: Sequence[str]) -> ToolResult:
    close = difflib.get_close_matches(name, known, n=1)
    guess = f" Did you mean {close[0]!r}?" if close else ""
    content = f"there is no tool {name!r}; nothing was done.{guess} Tools: {', '.join(known) or 'none'}."
    return ToolResult(content, is_error=True, error_type="UNKNOWN_TOOL")
