"""What a run leaves behind."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from omniagents.tools.base import ToolResult

__all__ = ["AgentResult", "ToolCall"]


@dataclass(frozen=True)
class ToolCall:
    """One call a model made: what it asked for, what it was told, and the wall clock it took in seconds."""

    name: str
    arguments: Mapping[str, Any]
    result: ToolResult
    seconds: float


@dataclass(frozen=True)
class AgentResult:
    """How a run ended; prints as its output.

    Attributes:
        output: The model's final answer: text, or the framework's structured output.
        usage: Tokens and costs, as the framework reports them.
        tool_calls: In the order they finished.
        messages: The conversation, in the framework's own type.
        refused: The model or its provider's filter declined; ``output`` is what it said instead.
    """

    output: Any
    usage: Any = None
    tool_calls: list[ToolCall] = field(default_factory=list)
    messages: Sequence[Any] = ()
    refused: bool = False

    def __str__(self) -> str:
        return str(self.output)
