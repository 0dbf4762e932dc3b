"""A backend's tools as a Pydantic AI toolset, for agents of your own as for ``PydanticAIAgent``."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from pydantic_ai import AbstractToolset, BinaryContent, RunContext, ToolReturn
from pydantic_ai.messages import UserContent
from pydantic_ai.tools import ToolDefinition
from pydantic_ai.toolsets import ToolsetTool

from omniagents.agents.rendering import model_content
from omniagents.agents.run import acall_tool
from omniagents.agents.tooling import make_tools

if TYPE_CHECKING:
    from omniagents.backends.base import Backend
    from omniagents.tools.base import Tool

__all__ = ["OmniagentsToolset", "omniagents_toolset"]

_PDF = "application/pdf"


def omniagents_toolset(
    backend: Backend, tools: Sequence[Tool | str] | None = None, *, id: str | None = None
) -> OmniagentsToolset:
    """The tools of a backend for ``pydantic_ai.Agent(toolsets=[...])``.

    Args:
        backend: Where they work; must be running when they are called.
        tools: Tools, or names of tools; by default those of the backend's preset.
        id: What durable execution knows the toolset by.

    Raises:
        PluginError: A tool cannot be had.
    """
    return OmniagentsToolset(make_tools(backend, tools), id=id)


class OmniagentsToolset(AbstractToolset[Any]):
    """Tools under their own names, descriptions and schemas.

    Arguments are checked by the tools and nobody else, so that a model reads the same words under every framework:
    what is wrong with a call is its result. Images and documents follow the result in a user message, which all models
    that take them at all accept; the text of a PDF goes to those that take no documents.
    """

    def __init__(self, tools: Iterable[Tool], *, id: str | None = None) -> None:
        self._tools = {tool.name: tool for tool in tools}
        self._id = id

    @property
    def id(self) -> str | None:
        """What durable execution knows the toolset by."""
        return self._id

    async def get_tools(self, ctx: RunContext[Any]) -> dict[str, ToolsetTool[Any]]:
        """Every tool, as the framework describes tools to models."""
        return {
            name: ToolsetTool(
                toolset=self,
                tool_def=ToolDefinition(name=name, description=tool.description, parameters_json_schema=tool.schema()),
                max_retries=ctx.max_retries,
                args_validator=_AsSent(),
            )
            for name, tool in self._tools.items()
        }

    async def call_tool(
        self, name: str, tool_args: dict[str, Any], ctx: RunContext[Any], tool: ToolsetTool[Any]
    ) -> ToolReturn[str]:
        """Run one tool.

        Raises:
            BackendError: The environment is gone, or was never there; a model's mistake is a result.
        """
        arguments = tool_args.text if isinstance(tool_args, _NoObject) else tool_args
        result = await acall_tool(self._tools[name], arguments)
        profile: Mapping[str, Any] = getattr(ctx.model, "profile", {})
        text, parts = model_content(result, images=_takes_images(profile), documents=_takes_pdfs(profile))
        media: list[UserContent] = []
        for part in parts:
            media += [f"{part.name}, from {name}:", BinaryContent(part.data, media_type=part.mime_type)]
        facts = {"is_error": result.is_error, "error_type": result.error_type, "data": result.data}
        return ToolReturn(text, content=media or None, metadata=facts)


class _NoObject(dict[str, Any]):
    """What a model sent where an object of arguments belongs; the framework wants a dict everywhere."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.text = text


class _AsSent:
    """Validates nothing, for the framework: the tools do it, and answer mistakes themselves."""

    def validate_json(self, input: str | bytes | bytearray, **_: Any) -> dict[str, Any]:
        """An object, parsed; or whatever else was sent."""
        text = input if isinstance(input, str) else bytes(input).decode("utf-8", "replace")
        try:
            parsed = json.loads(text)
        except (RecursionError, ValueError):
            return _NoObject(text)
        return parsed if isinstance(parsed, dict) else {} if parsed is None else _NoObject(text)

    def validate_python(self, input: Any, **_: Any) -> dict[str, Any]:
        """An object as it is."""
        return input if isinstance(input, dict) else _NoObject(json.dumps(input))


def _takes_images(profile: Mapping[str, Any]) -> bool:
    return bool(profile.get("supports_image_input", True))


def _takes_pdfs(profile: Mapping[str, Any]) -> bool:
    flags = ("supports_document_input", "openai_chat_supports_document_input")
    return all(profile.get(flag, True) for flag in flags) and _PDF in profile.get(
        "supported_document_media_types", _PDF
    )
