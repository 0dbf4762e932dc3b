"""What a client sent: the body as it is, and what a model would read in it, in the same form for all APIs."""

from __future__ import annotations

import base64
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from tests.services.model_server import openai_responses

from omniagents.testing.scripts import Media, Received

__all__ = ["Request"]

_OBSERVATION = "Observation:\n"


@dataclass(frozen=True)
class Request:
    """One request: its headers in lower case, and its JSON body."""

    api: Literal["openai", "responses", "anthropic"]
    headers: Mapping[str, str]
    body: Mapping[str, Any]

    @property
    def messages(self) -> list[Mapping[str, Any]]:
        """The conversation; that of responses as chat completions have it."""
        return list(openai_responses.messages(self.body) if self.api == "responses" else self.body["messages"])

    @property
    def model(self) -> str:
        """The name the client asked for."""
        return str(self.body.get("model", ""))

    @property
    def system(self) -> str:
        """All instructions."""
        if self.api == "anthropic":
            return _text(self.body.get("system") or "")
        return "\n".join(_text(m["content"]) for m in self.messages if m["role"] in ("system", "developer"))

    @property
    def tools(self) -> dict[str, dict[str, Any]]:
        """What is offered: name to ``{"description": …, "parameters": JSON schema}``."""
        offered = {}
        for tool in self.body.get("tools") or ():
            of = tool["function"] if self.api == "openai" else tool
            parameters = of.get("input_schema" if self.api == "anthropic" else "parameters")
            offered[str(of["name"])] = {"description": of.get("description", ""), "parameters": parameters}
        return offered

    @property
    def task(self) -> str:
        """The text of the last message a person wrote: no tool result."""
        texts = [
            _text(parts)
            for message in self.messages
            if message["role"] == "user"
            and (parts := [p for p in _parts(message["content"]) if p["type"] != "tool_result"])
        ]
        written = [text for text in texts if text and not text.startswith(_OBSERVATION)]
        return written[-1] if written else ""

    @property
    def results(self) -> list[Received]:
        """Every tool result in the conversation, in its order."""
        return [result for message in self.messages for result in self._results_of(message)]

    @property
    def media(self) -> list[Media]:
        """Images and documents anywhere in the messages after the model's last turn, tool results included."""
        messages = self.messages
        last = max((i for i, message in enumerate(messages) if message["role"] == "assistant"), default=-1)
        return [media for message in messages[last + 1 :] for media in _media(message["content"])]

    def _results_of(self, message: Mapping[str, Any]) -> Iterator[Received]:
        content = message["content"]
        if message["role"] == "tool":
            yield Received(message["tool_call_id"], _text(content), tuple(_media(content)))
        elif message["role"] == "user":
            for part in _parts(content):
                if part["type"] == "tool_result":
                    inside = part.get("content") or ""
                    media = tuple(_media(inside))
                    yield Received(part["tool_use_id"], _text(inside), media, bool(part.get("is_error")))
                elif part["type"] == "text" and part["text"].startswith(_OBSERVATION):
                    yield Received("", part["text"].removeprefix(_OBSERVATION))


def _parts(content: object) -> list[Mapping[str, Any]]:
    if isinstance(content, str):
        return [{"type": "text", "text": content}]
    return list(content) if isinstance(content, list) else []


def _text(content: object) -> str:
    return "".join(part["text"] for part in _parts(content) if part["type"] == "text")


def _media(content: object) -> Iterator[Media]:
    for part in _parts(content):
        if part["type"] == "image_url":
            yield _from_data_url(part["image_url"]["url"])
        elif part["type"] == "file":
            yield _from_data_url(part["file"]["file_data"])
        elif part["type"] in ("image", "document"):
            source = part["source"]
            yield Media(source["media_type"], base64.b64decode(source["data"], validate=True))
        elif part["type"] == "tool_result":
            yield from _media(part.get("content"))


def _from_data_url(url: str) -> Media:
    mime_type, separator, data = url.removeprefix("data:").partition(";base64,")
    if not separator:
        raise ValueError(f"not a data URL with base64: {url!r:.80}")
    return Media(mime_type, base64.b64decode(data, validate=True))
