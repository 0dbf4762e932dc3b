"""OpenAI's responses: https://platform.openai.com/docs/api-reference/responses and …/responses-streaming."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from tests.services.model_server.openai_chat import error
from tests.services.model_server.pieces import pieces

from omniagents.testing.scripts import Turn

__all__ = ["error", "messages", "stream", "whole"]

# Kinds of content, and how chat completions have the same.
_MEDIA = {
    "input_image": lambda part: {"type": "image_url", "image_url": {"url": part["image_url"]}},
    "input_file": lambda part: {"type": "file", "file": {"file_data": part["file_data"]}},
}


def messages(body: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The input as chat completions would have it."""
    given = body["input"]
    items = [{"role": "user", "content": given}] if isinstance(given, str) else given
    instructions = body.get("instructions")
    system = [{"role": "system", "content": instructions}] if instructions else []
    return [*system, *map(_as_message, items)]


def whole(turn: Turn, body: Mapping[str, Any], number: int) -> dict[str, Any]:
    """The answer in one piece."""
    return _response(turn, body, number, _reason(turn), _items(turn, number))


def stream(turn: Turn, body: Mapping[str, Any], number: int) -> Iterator[str]:
    """The answer as server-sent events."""
    events: list[dict[str, Any]] = [
        {"type": f"response.{kind}", "response": _response(turn, body, number, "in_progress", [])}
        for kind in ("created", "in_progress")
    ]
    for index, item in enumerate(_items(turn, number)):
        empty: dict[str, Any] = {"arguments": ""} if item["type"] == "function_call" else {"content": []}
        at = {"output_index": index}
        events.append({"type": "response.output_item.added", **at, "item": {**item, **empty, "status": "in_progress"}})
        events += _growing(item, {**at, "item_id": item["id"]})
        events.append({"type": "response.output_item.done", **at, "item": item})
    ended = whole(turn, body, number)
    events.append({"type": f"response.{ended['status']}", "response": ended})
    for sequence_number, event in enumerate(events):
        yield f"event: {event['type']}\ndata: {json.dumps({**event, 'sequence_number': sequence_number})}\n\n"


def _growing(item: Mapping[str, Any], at: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """The events of one item between its beginning and its end."""
    if item["type"] == "function_call":
        kind = "response.function_call_arguments"
        for piece in pieces(item["arguments"]):
            yield {"type": f"{kind}.delta", **at, "delta": piece}
        yield {"type": f"{kind}.done", **at, "name": item["name"], "arguments": item["arguments"]}
        return
    for index, part in enumerate(item["content"]):
        key = "refusal" if part["type"] == "refusal" else "text"
        kind, place = f"response.{part['type']}", {**at, "content_index": index}
        yield {"type": "response.content_part.added", **place, "part": {**part, key: ""}}
        for piece in pieces(part[key]):
            yield {"type": f"{kind}.delta", **place, "delta": piece, "logprobs": []}
        yield {"type": f"{kind}.done", **place, key: part[key], "logprobs": []}
        yield {"type": "response.content_part.done", **place, "part": part}


def _items(turn: Turn, number: int) -> list[dict[str, Any]]:
    parts: list[dict[str, Any]] = []
    if turn.text:
        parts.append({"type": "output_text", "text": turn.text, "annotations": [], "logprobs": []})
    if turn.refusal:
        parts.append({"type": "refusal", "refusal": turn.refusal})
    said = {"type": "message", "id": f"msg_{number}", "status": "completed", "role": "assistant", "content": parts}
    calls = [
        {
            "type": "function_call",
            "id": f"fc_{number}_{index}",
            "call_id": call.id or f"call_{number}_{index}",
            "name": call.name,
            "arguments": call.text,
            "status": "completed",
        }
        for index, call in enumerate(turn.calls)
    ]
    return [said] * bool(parts) + calls


def _response(
    turn: Turn, body: Mapping[str, Any], number: int, status: str, output: list[dict[str, Any]]
) -> dict[str, Any]:
    read, written = turn.usage
    usage = {
        "input_tokens": read,
        "input_tokens_details": {"cached_tokens": 0},
        "output_tokens": written,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": read + written,
    }
    return {
        "id": f"resp_{number}",
        "object": "response",
        "created_at": 1_700_000_000 + number,
        "model": body["model"],
        "status": status,
        "error": None,
        "incomplete_details": {"reason": "content_filter"} if status == "incomplete" else None,
        "instructions": body.get("instructions"),
        "metadata": {},
        "output": output,
        "parallel_tool_calls": True,
        "temperature": 1.0,
        "tool_choice": "auto",
        "tools": [],
        "top_p": 1.0,
        "usage": None if status == "in_progress" else usage,
    }


def _reason(turn: Turn) -> str:
    return "incomplete" if turn.filtered else "completed"


def _as_message(item: Mapping[str, Any]) -> dict[str, Any]:
    if item.get("type") == "function_call":
        return {"role": "assistant", "content": ""}
    if item.get("type") == "function_call_output":
        return {"role": "tool", "tool_call_id": item["call_id"], "content": _as_content(item["output"])}
    return {"role": item["role"], "content": _as_content(item["content"])}


def _as_content(content: Any) -> Any:
    return content if isinstance(content, str) else [_as_part(part) for part in content]


def _as_part(part: Mapping[str, Any]) -> dict[str, Any]:
    make = _MEDIA.get(part["type"])
    return make(part) if make else {"type": "text", "text": part.get("text") or part.get("refusal") or ""}
