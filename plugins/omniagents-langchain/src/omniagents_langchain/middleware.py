"""What happens around each turn of the model and each tool call of one run."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from langchain.agents.middleware import AgentMiddleware, ModelRequest, ModelResponse
from langchain.tools.tool_node import ToolCallRequest
from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.messages import AIMessage, AIMessageChunk, AnyMessage, BaseMessage, HumanMessage, ToolMessage
from langchain_core.messages.ai import add_usage
from langchain_core.outputs import ChatGenerationChunk
from pydantic import ValidationError

from omniagents.agents.run import Run
from omniagents.errors import AgentError, ModelError

__all__ = ["RunCallbacks", "RunMiddleware"]

_UNREADABLE = (
    "Your last tool call could not be read: its arguments were no JSON object. Nothing was done; try again."
)
_ABOUT_MEDIA = "What the tool results above show:"


class RunCallbacks(BaseCallbackHandler):
    """Hears a streamed answer: emits its text, and keeps what the arguments of its calls literally were."""

    # In the event loop itself, in order; and what goes wrong is an error, not a line in a log.
    run_inline = True
    raise_error = True

    def __init__(self, run: Run) -> None:
        self._run = run
        self.answer: AIMessageChunk | None = None

    def on_llm_new_token(self, token: object, *, chunk: object = None, **about: Any) -> None:
        if isinstance(chunk, ChatGenerationChunk) and isinstance(chunk.message, AIMessageChunk):
            self._run.text(str(chunk.message.text))
            self.answer = chunk.message if self.answer is None else self.answer + chunk.message


class RunMiddleware(AgentMiddleware):
    """Counts turns, records calls, mends what would end a run: calls that cannot be parsed, or of unknown tools."""

    def __init__(self, run: Run, callbacks: RunCallbacks, profile: Mapping[str, Any], known: Sequence[str]) -> None:
        super().__init__()
        self._run = run
        self._callbacks = callbacks
        self._profile = profile
        self._known = frozenset(known)
        # Call ids to arguments that are no JSON.
        self._malformed: dict[str | None, str] = {}

    def wrap_model_call(
        self, request: ModelRequest[Any], handler: Callable[[ModelRequest[Any]], ModelResponse[Any]]
    ) -> ModelResponse[Any]:
        try:
            with self._turn(request) as adapted:
                return self._finished(request, handler(adapted))
        except ModelError as error:
            return self.wrap_model_call(_asked_again(request, error), handler)

    async def awrap_model_call(
        self, request: ModelRequest[Any], handler: Callable[[ModelRequest[Any]], Awaitable[ModelResponse[Any]]]
    ) -> ModelResponse[Any]:
        try:
            with self._turn(request) as adapted:
                return self._finished(request, await handler(adapted))
        except ModelError as error:
            return await self.awrap_model_call(_asked_again(request, error), handler)

    def wrap_tool_call(self, request: ToolCallRequest, handler: Callable[[ToolCallRequest], Any]) -> Any:
        given = self._hopeless(request)
        if given is not None:
            return _message(request, self._run, given)
        with self._run.active():
            return handler(request)

    async def awrap_tool_call(
        self, request: ToolCallRequest, handler: Callable[[ToolCallRequest], Awaitable[Any]]
    ) -> Any:
        given = self._hopeless(request)
        if given is not None:
            return _message(request, self._run, given)
        with self._run.active():
            return await handler(request)

    @contextmanager
    def _turn(self, request: ModelRequest[Any]) -> Iterator[ModelRequest[Any]]:
        self._note(request.messages)
        self._run.begin_step()
        self._callbacks.answer = None
        try:
            yield request.override(messages=_movable(request.messages, self._profile))
        except AgentError:
            raise
        except Exception as error:
            raise self._run.model_error(error, request.model) from error

    def _finished(self, request: ModelRequest[Any], response: ModelResponse[Any]) -> ModelResponse[Any]:
        response.result = [self._checked(m) if isinstance(m, AIMessage) else m for m in response.result]
        self._note([*request.messages, *response.result])
        return response

    def _note(self, messages: Sequence[BaseMessage]) -> None:
        self._run.messages = messages
        usage = None
        for message in messages:
            if isinstance(message, AIMessage) and message.usage_metadata:
                usage = add_usage(usage, message.usage_metadata)
        self._run.usage = usage

    def _checked(self, message: AIMessage) -> AIMessage:
        """The message with the calls that cannot be parsed among the others, so that they are answered."""
        self._malformed = {call["id"]: call["args"] or "" for call in message.invalid_tool_calls}
        for chunk in self._callbacks.answer.tool_call_chunks if self._callbacks.answer else ():
            if not _is_json(chunk["args"] or "{}"):  # a stream's are completed by guessing
                self._malformed[chunk["id"]] = chunk["args"] or ""
        calls = [*message.tool_calls]
        calls += [
            {"type": "tool_call", "id": call["id"], "name": call["name"] or "", "args": {}}
            for call in message.invalid_tool_calls
        ]
        return message.model_copy(update={"tool_calls": calls, "invalid_tool_calls": []})

    def _hopeless(self, request: ToolCallRequest) -> Mapping[str, Any] | str | None:
        """What the model sent, where LangChain could not call the tool; else None."""
        call = request.tool_call
        if call["id"] in self._malformed:
            return self._malformed[call["id"]]
        return None if call["name"] in self._known else call["args"]


def _asked_again(request: ModelRequest[Any], error: ModelError) -> ModelRequest[Any]:
    """The request once more, where LangChain could not make a message of the answer; any other error is raised."""
    if not isinstance(error.__cause__, ValidationError):
        raise error
    return request.override(messages=[*request.messages, HumanMessage(_UNREADABLE)])


def _message(request: ToolCallRequest, run: Run, given: Mapping[str, Any] | str) -> ToolMessage:
    call = request.tool_call
    result = run.call(call["name"], given)
    return ToolMessage(result.content, artifact=result, tool_call_id=call["id"], name=call["name"], status="error")


def _is_json(text: str) -> bool:
    try:
        json.loads(text)
    except ValueError:
        return False
    return True


def _movable(messages: Sequence[AnyMessage], profile: Mapping[str, Any]) -> list[AnyMessage]:
    """The messages with what the model takes, but not in tool messages, in a user message behind them."""
    kept = {"image": profile.get("image_tool_message", False), "file": profile.get("pdf_tool_message", False)}
    moved: list[AnyMessage] = []
    waiting: list[str | dict[Any, Any]] = []
    for message in messages:
        if isinstance(message, ToolMessage) and isinstance(message.content, list):
            out = [b for b in message.content if isinstance(b, dict) and not kept.get(b["type"], True)]
            waiting += out
            staying = [block for block in message.content if block not in out]
            message = message.model_copy(update={"content": staying})
        elif waiting and not isinstance(message, ToolMessage):
            moved.append(_shown(waiting))
            waiting = []
        moved.append(message)
    return [*moved, _shown(waiting)] if waiting else moved


def _shown(blocks: list[str | dict[Any, Any]]) -> HumanMessage:
    return HumanMessage([{"type": "text", "text": _ABOUT_MEDIA}, *blocks])
