"""What ``Agent.stream`` yields, the same for every framework."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Generator, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    from omniagents.agents.records import AgentResult, ToolCall

__all__ = ["AgentEvent", "EventStream", "RunFinished", "TextDelta", "ToolCallFinished", "ToolCallStarted"]


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


class EventStream(Iterator[AgentEvent], AsyncIterator[AgentEvent]):
    """The events of one run, for ``for`` or for ``async for``; it begins when the first is asked for.

    Whoever leaves early closes it, which stops the tool call under way: ``contextlib.closing``, ``aclosing``.
    """

    def __init__(self, events: Generator[AgentEvent, None, None], awaited: AsyncGenerator[AgentEvent, None]) -> None:
        self._events = events
        self._awaited = awaited

    def __next__(self) -> AgentEvent:
        return next(self._events)

    def close(self) -> None:
        """End the run, if it goes on."""
        self._events.close()

    async def __anext__(self) -> AgentEvent:
        return await anext(self._awaited)

    async def aclose(self) -> None:
        """Like ``close``, in an event loop."""
        await self._awaited.aclose()
