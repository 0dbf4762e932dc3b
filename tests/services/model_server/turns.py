"""What a script consists of."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tests.services.model_server.received import Request

__all__ = ["Call", "Failure", "Step", "Turn"]


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


Step = Turn | Failure | Callable[[Request], Turn | Failure]
