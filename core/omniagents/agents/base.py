"""What the adapters of all frameworks share: ``Agent``, and the ``AgentResult`` of a run."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from omniagents.presets.base import Preset
from omniagents.presets.generic import GenericPreset

if TYPE_CHECKING:
    from omniagents.backends.base import Backend
    from omniagents.tools.base import Tool, ToolResult

__all__ = ["DEFAULT_MAX_STEPS", "Agent", "AgentResult", "ToolCall"]

#: Turns of the model in one run.
DEFAULT_MAX_STEPS: Final = 50


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
    """

    output: Any
    usage: Any = None
    tool_calls: list[ToolCall] = field(default_factory=list)
    messages: Sequence[Any] = ()

    def __str__(self) -> str:
        return str(self.output)


class Agent(ABC):
    """A framework's agent with Omniagents' tools on one backend.

    Running changes the workspace only through the tools: nothing is deleted or reset before or after, and a
    second run continues in the same workspace. The backend is started and shut down by its owner.

    Args:
        backend: Where the tools work.
        model: The framework's own model object, or a name the framework understands.
        preset: Sets tools and instructions; by default the backend's own preset, or ``generic``.
        tools: Instead of the preset's: tools, or names of tools.
        system_prompt: Instead of the preset's instructions.
        max_steps: Turns of the model in one run, at least 1.
    """

    def __init__(
        self,
        backend: Backend,
        model: Any,
        *,
        preset: Preset | None = None,
        tools: Sequence[Tool | str] | None = None,
        system_prompt: str | None = None,
        max_steps: int = DEFAULT_MAX_STEPS,
    ) -> None:
        if max_steps < 1:
            raise ValueError(f"max_steps is at least 1, not {max_steps!r}")
        self.backend = backend
        self.model = model
        self.preset = preset or getattr(backend, "preset", None) or GenericPreset()
        self.tools = _made(self.preset.tools if tools is None else tools, backend)
        self.system_prompt = self.preset.instructions if system_prompt is None else system_prompt
        self.max_steps = max_steps

    @abstractmethod
    def run(self, task: str) -> AgentResult:
        """Work on the task until the model has its answer. Also works where an event loop is running."""

    @abstractmethod
    async def arun(self, task: str) -> AgentResult:
        """Like ``run``; cancelling it stops the tool call under way."""


def _made(tools: Sequence[Tool | str], backend: Backend) -> list[Tool]:
    # The package, not the registry: it decides how names become tools.
    import omniagents

    return [omniagents.create_tools(backend, [tool])[0] if isinstance(tool, str) else tool for tool in tools]
