"""Import shim: ``PydanticAIAgent`` lives in the distribution omniagents-pydantic-ai."""

from typing import TYPE_CHECKING

from omniagents._shim import from_plugins

if TYPE_CHECKING:
    from omniagents_pydantic_ai.agent import PydanticAIAgent as PydanticAIAgent  # type: ignore[import-not-found,unused-ignore]
else:
    __getattr__ = from_plugins(__name__, PydanticAIAgent="omniagents_pydantic_ai.agent")
