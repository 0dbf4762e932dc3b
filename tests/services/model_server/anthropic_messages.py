"""Anthropic's messages: https://docs.anthropic.com/en/api/messages and …/messages-streaming."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from tests.services.model_server.pieces import pieces

from omniagents.testing.scripts import Call, Failure, Turn

__all__ = ["error", "stream", "whole"]

_KINDS = {
    400: "invalid_request_error",
    401: "authentication_error",
    429: "rate_limit_error",
    529: "overloaded_error",
}


def error(failure: Failure) -> dict[str, Any]:
    """The body of a failed request."""
    kind = _KINDS.get(failure.status, "api_error")
    return {"type": "error", "error": {"type": kind, "message": failure.message}}


def whole(turn: Turn, body: Mapping[str, Any], number: int) -> dict[str, Any]:
    """The answer in one piece."""
    content: list[dict[str, Any]] = [{"type": "text", "text": text} for text in _texts(turn)]
    for index, call in enumerate(turn.calls):
        content.append({**_tool_use(call, number, index), "input": _input(call)})
    read, written = turn.usage
    usage = {"input_tokens": read, "output_tokens": written}
    return {**_envelope(body, number), "content": content, "stop_reason": _reason(turn), "usage": usage}


def stream(turn: Turn, body: Mapping[str, Any], number: int) -> Iterator[str]:
    """The answer as server-sent events."""
    read, written = turn.usage
    started = {**_envelope(body, number), "content": [], "stop_reason": None}
    yield _event("message_start", message={**started, "usage": {"input_tokens": read, "output_tokens": 1}})
    blocks: list[tuple[dict[str, Any], str, str, str]] = [
        ({"type": "text", "text": ""}, "text_delta", "text", text) for text in _texts(turn)
    ]
    for index, call in enumerate(turn.calls):
        begun = {**_tool_use(call, number, index), "input": {}}
        blocks.append((begun, "input_json_delta", "partial_json", call.text))
    for index, (block, kind, key, text) in enumerate(blocks):
        yield _event("content_block_start", index=index, content_block=block)
        for piece in pieces(text):
            yield _event("content_block_delta", index=index, delta={"type": kind, key: piece})
        yield _event("content_block_stop", index=index)
    stop = {"stop_reason": _reason(turn), "stop_sequence": None}
    yield _event("message_delta", delta=stop, usage={"input_tokens": read, "output_tokens": written})
    yield _event("message_stop")


def _event(name: str, **data: Any) -> str:
    return f"event: {name}\ndata: {json.dumps({'type': name, **data})}\n\n"


def _envelope(body: Mapping[str, Any], number: int) -> dict[str, Any]:
    return {
        "id": f"msg_{number}",
        "type": "message",
        "role": "assistant",
        "model": body["model"],
        "stop_sequence": None,
    }


def _texts(turn: Turn) -> list[str]:
    return [text for text in (turn.text, turn.refusal) if text]


def _tool_use(call: Call, number: int, index: int) -> dict[str, Any]:
    return {"type": "tool_use", "id": call.id or f"toolu_{number}_{index}", "name": call.name}


def _input(call: Call) -> dict[str, Any]:
    # This API has objects only; what streaming clients make of text that is not JSON is an empty one, too.
    return {} if isinstance(call.arguments, str) else dict(call.arguments)


def _reason(turn: Turn) -> str:
    if turn.refusal or turn.filtered:
        return "refusal"
    return "tool_use" if turn.calls else "end_turn"
