"""What a model is told that has called a tool there is none of: the same as under every framework."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from pydantic_ai import RunContext
from pydantic_ai.capabilities import AbstractCapability
from pydantic_ai.messages import ModelRequest, ModelRequestPart, ModelResponse, ToolCallPart, ToolReturnPart
from pydantic_ai.models import ModelRequestContext

from omniagents.agents.run import Run

__all__ = ["UnknownTools"]


@dataclass
class UnknownTools(AbstractCapability[Any]):
    """Answers such calls in the framework's stead, and has them in the run's record like any other."""

    run: Run

    async def before_model_request(
        self, ctx: RunContext[Any], request_context: ModelRequestContext
    ) -> ModelRequestContext:
        """Put our answers in place of the framework's in the last message; they stay there."""
        asked, told = ([None, *ctx.messages])[-2:]
        known = (ctx.tool_manager and ctx.tool_manager.tools) or {}
        if isinstance(asked, ModelResponse) and isinstance(told, ModelRequest):
            calls = [p for p in asked.parts if isinstance(p, ToolCallPart) and p.tool_name not in known]
            answers: dict[str, ModelRequestPart] = {call.tool_call_id: await self._answer(call) for call in calls}
            told.parts = [answers.get(getattr(part, "tool_call_id", ""), part) for part in told.parts]
        return request_context

    async def _answer(self, call: ToolCallPart) -> ToolReturnPart:
        result = await self.run.acall(call.tool_name, call.args or {})
        return ToolReturnPart(call.tool_name, result.content, call.tool_call_id)
