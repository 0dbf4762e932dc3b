"""What happens around each turn of the model and each tool call of one run."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from langchain.agents.middleware import AgentMiddleware, ModelRequest, ModelResponse
from langchain.tools.tool_node import ToolCallRequest
from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.messages import AIMessage, AIMessageChunk, AnyMessage, BaseMessage, HumanMessage, ToolMessage
from langchain_core.messages.ai import add_usage
from langchain_core.messages.tool import tool_call
from langchain_core.outputs import ChatGenerationChunk
from pydantic import ValidationError

from omniagents.agents.run import Run, is_object
from omniagents.errors import AgentError

__all__ = ["RunCallbacks", "RunMiddleware"]

_UNREADABLE = "Your last tool call could not be read: its arguments were no JSON object. Nothing was done; try again."
_ABOUT_MEDIA = "What the tool results above show:"


class RunCallbacks(BaseCallbackHandler):
    """Hears a streamed answer: emits its text, and keeps what the arguments of its calls literally were."""

    # What goes wrong is an error, not a line in a log.
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

    def __init__(self, run: Run, callbacks: RunCallbacks, profile: Mapping[str, Any], model: object) -> None:
        super().__init__()
        self._run = run
        self._callbacks = callbacks
        self._profile = profile
        self._model = model
        # Call ids to arguments that are no JSON object.
        self._malformed: dict[str | None, str] = {}

    def wrap_model_call(
        self, request: ModelRequest[Any], handler: Callable[[ModelRequest[Any]], ModelResponse[Any]]
    ) -> ModelResponse[Any]:
        self._note(request.messages)
        self._run.begin_step()
        self._callbacks.answer = None
        try:
            response = handler(request.override(messages=_movable(request.messages, self._profile)))
        except AgentError:
            raise
        except Exception as error:
            if not _is_about_calls(error):
                raise self._run.model_error(error, self._model) from error
            again = [*request.messages, HumanMessage(_UNREADABLE)]
            return self.wrap_model_call(request.override(messages=again), handler)
        response.result = [self._checked(m) if isinstance(m, AIMessage) else m for m in response.result]
        self._note([*request.messages, *response.result])
        return response

    def wrap_tool_call(self, request: ToolCallRequest, handler: Callable[[ToolCallRequest], Any]) -> Any:
        with self._run.active():
            return self._answered(request) or handler(request)

    def _note(self, messages: Sequence[BaseMessage]) -> None:
        self._run.messages = messages
        usage = None
        for message in messages:
            if isinstance(message, AIMessage) and message.usage_metadata:
                usage = add_usage(usage, message.usage_metadata)
        self._run.usage = usage

    def _checked(self, message: AIMessage) -> AIMessage:
        """The message with the calls that cannot be parsed among the others, so that they are answered."""
        invalid = message.invalid_tool_calls
        self._malformed = {call["id"]: call["args"] or "" for call in invalid}
        for chunk in self._callbacks.answer.tool_call_chunks if self._callbacks.answer else ():
            if not is_object(chunk["args"] or "{}"):  # a stream's are completed by guessing
                self._malformed[chunk["id"]] = chunk["args"] or ""
        calls = [tool_call(id=call["id"], name=call["name"] or "", args={}) for call in invalid]
        return message.model_copy(update={"tool_calls": [*message.tool_calls, *calls], "invalid_tool_calls": []})

    def _answered(self, request: ToolCallRequest) -> ToolMessage | None:
        """The answer to a call that LangChain could not make: of no known tool, or with arguments it cannot read."""
        call = request.tool_call
        given = self._malformed.get(call["id"], None if request.tool else call["args"])
        if given is None:
            return None
        result = self._run.call(call["name"], given)
        status = "error" if result.is_error else "success"
        return ToolMessage(result.content, artifact=result, tool_call_id=call["id"], name=call["name"], status=status)


def _is_about_calls(error: Exception) -> bool:
    """Whether LangChain could not make a message of an answer, because the arguments of a call in it are no object."""
    return isinstance(error, ValidationError) and any("tool_calls" in problem["loc"] for problem in error.errors())


def _movable(messages: Sequence[AnyMessage], profile: Mapping[str, Any]) -> list[AnyMessage]:
    """The messages with what the model takes, but not in tool messages, in a user message behind them."""
    kept = {"image": profile.get("image_tool_message", False), "file": profile.get("pdf_tool_message", False)}
    moved: list[AnyMessage] = []
    waiting: list[str | dict[Any, Any]] = []
    for message in [*messages, None]:
        if waiting and not isinstance(message, ToolMessage):
            moved.append(HumanMessage([{"type": "text", "text": _ABOUT_MEDIA}, *waiting]))
            waiting = []
        if isinstance(message, ToolMessage) and isinstance(message.content, list):
            out = [b for b in message.content if isinstance(b, dict) and not kept.get(b["type"], True)]
            staying = [block for block in message.content if block not in out]
            message, waiting = message.model_copy(update={"content": staying}), [*waiting, *out]
        moved += [message] if message else []
    return moved
