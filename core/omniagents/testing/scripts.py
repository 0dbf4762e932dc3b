"""A model by script: what it answers, and what it was told. ``AgentContract`` is written in these terms."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeAlias

__all__ = ["Call", "Failure", "Media", "ModelRequest", "Received", "Script", "Step", "Turn"]


@dataclass(frozen=True)
class Call:
    """One tool call of a turn.

    Attributes:
        name: The tool; it need not exist.
        arguments: An object, or text that is sent as it is and need not be JSON. (Anthropic's API carries such text
            only in a stream; unstreamed, the call's ``input`` is then empty.)
        id: By default one that no other call of the server has.
    """

    name: str
    arguments: Mapping[str, Any] | str = field(default_factory=dict)
    id: str | None = None

    @property
    def text(self) -> str:
        """The arguments as they go over the wire in a stream."""
        return self.arguments if isinstance(self.arguments, str) else json.dumps(self.arguments)


@dataclass(frozen=True)
class Turn:
    """One answer of the model.

    Attributes:
        text: What it says; may come with calls.
        calls: The tools it calls, all in one turn.
        refusal: It declines, in these words (OpenAI's ``refusal``, Anthropic's stop reason of that name).
        filtered: The provider's filter cut it off (OpenAI's finish reason ``content_filter``; a refusal at Anthropic).
        cut_off: The connection breaks in the middle of the answer.
        gate: The answer waits until this is set, or the server ends.
        usage: Tokens read and written.
    """

    text: str = ""
    calls: Sequence[Call] = ()
    refusal: str = ""
    filtered: bool = False
    cut_off: bool = False
    gate: threading.Event | None = None
    usage: tuple[int, int] = (100, 10)


@dataclass(frozen=True)
class Failure:
    """An HTTP error instead of an answer, in the provider's format; ``retry_after`` in seconds, sent as the header."""

    status: int
    retry_after: float | None = None
    message: str = "scripted failure"


@dataclass(frozen=True)
class Media:
    """An image or a document, as bytes."""

    mime_type: str
    data: bytes


@dataclass(frozen=True)
class Received:
    """What the model was told about one call.

    Attributes:
        call_id: The call's id; empty where the framework writes results into plain user messages (smolagents).
        text: All the text of the result.
        media: Images and documents inside the result itself.
        is_error: Anthropic's flag; OpenAI has none.
    """

    call_id: str
    text: str
    media: tuple[Media, ...] = ()
    is_error: bool = False


class ModelRequest(Protocol):
    """What a model was asked, whatever the API."""

    @property
    def system(self) -> str:
        """All instructions."""

    @property
    def tools(self) -> Mapping[str, Mapping[str, Any]]:
        """What is offered: name to ``{"description": …, "parameters": JSON schema}``."""

    @property
    def task(self) -> str:
        """The text of the last message a person wrote."""

    @property
    def results(self) -> Sequence[Received]:
        """Every tool result in the conversation, in its order."""

    @property
    def media(self) -> Sequence[Media]:
        """Images and documents that came after the model's last turn, in tool results or behind them."""


Step: TypeAlias = Turn | Failure | Callable[[Any], Turn | Failure]
Script: TypeAlias = Sequence[Step] | Callable[[Any], Turn | Failure]
