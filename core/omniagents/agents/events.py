"""What ``Agent.stream`` yields, the same for every framework."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    from omniagents.agents.base import AgentResult, ToolCall

__all__ = ["AgentEvent", "RunFinished", "TextDelta", "ToolCallFinished", "ToolCallStarted"]


@dataclass(frozen=True)
class TextDelta:
    """The next piece of what the model says."""

    text: str


@dataclass(frozen=True)
class ToolCallStarted:
    """A tool begins to work. ``number`` counts the calls of a run from 1; calls of one turn may overlap."""

    number: int
    name: str
    arguments: Mapping[str, Any]


@dataclass(frozen=True)
class ToolCallFinished:
    """The tool call of this number has its result."""

    number: int
    call: ToolCall


@dataclass(frozen=True)
class RunFinished:
    """The last event of a run that has an answer."""

    result: AgentResult


AgentEvent: TypeAlias = TextDelta | ToolCallStarted | ToolCallFinished | RunFinished
