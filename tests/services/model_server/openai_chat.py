"""OpenAI's chat completions: https://platform.openai.com/docs/api-reference/chat."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from tests.services.model_server.pieces import pieces

from omniagents.testing.scripts import Failure, Turn

__all__ = ["error", "stream", "whole"]


def error(failure: Failure) -> dict[str, Any]:
    """The body of a failed request."""
    kind = {401: "invalid_api_key", 429: "rate_limit_exceeded"}.get(failure.status)
    return {"error": {"message": failure.message, "type": kind or "error", "param": None, "code": kind}}


def whole(turn: Turn, body: Mapping[str, Any], number: int) -> dict[str, Any]:
    """The answer in one piece."""
    message: dict[str, Any] = {"role": "assistant", "content": turn.text or None, "refusal": turn.refusal or None}
    if turn.calls:
        message["tool_calls"] = _calls(turn, number)
    choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": _reason(turn)}
    return {**_envelope(body, number, "chat.completion"), "choices": [choice], "usage": _usage(turn)}


def stream(turn: Turn, body: Mapping[str, Any], number: int) -> Iterator[str]:
    """The answer as server-sent events."""
    envelope = _envelope(body, number, "chat.completion.chunk")

    def event(delta: Mapping[str, Any], reason: str | None = None) -> str:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": reason}
        return _event({**envelope, "choices": [choice]})

    yield event({"role": "assistant", "content": "", "refusal": None})
    for piece in pieces(turn.text):
        yield event({"content": piece})
    for piece in pieces(turn.refusal):
        yield event({"refusal": piece})
    for index, call in enumerate(_calls(turn, number)):
        function = call["function"]
        begun = {**call, "function": {"name": function["name"], "arguments": ""}}
        yield event({"tool_calls": [{"index": index, **begun}]})
        for piece in pieces(function["arguments"]):
            yield event({"tool_calls": [{"index": index, "function": {"arguments": piece}}]})
    yield event({}, _reason(turn))
    if (body.get("stream_options") or {}).get("include_usage"):
        yield _event({**envelope, "choices": [], "usage": _usage(turn)})
    yield "data: [DONE]\n\n"


def _event(data: Mapping[str, Any]) -> str:
    return f"data: {json.dumps(data)}\n\n"


def _envelope(body: Mapping[str, Any], number: int, kind: str) -> dict[str, Any]:
    return {"id": f"chatcmpl-{number}", "object": kind, "created": 1_700_000_000 + number, "model": body["model"]}


def _calls(turn: Turn, number: int) -> list[dict[str, Any]]:
    return [
        {
            "id": call.id or f"call_{number}_{index}",
            "type": "function",
            "function": {"name": call.name, "arguments": call.text},
        }
        for index, call in enumerate(turn.calls)
    ]


def _reason(turn: Turn) -> str:
    if turn.filtered:
        return "content_filter"
    return "tool_calls" if turn.calls else "stop"


def _usage(turn: Turn) -> dict[str, Any]:
    read, written = turn.usage
    return {"prompt_tokens": read, "completion_tokens": written, "total_tokens": read + written}
