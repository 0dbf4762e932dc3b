"""The tools of a backend as LangChain's: for those who have a loop of their own, and for ``LangChainAgent``."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

from langchain_core.messages import ToolMessage
from langchain_core.tools import BaseTool
from pydantic import ConfigDict, Field

from omniagents.agents.rendering import model_content
from omniagents.agents.run import acall_tool, call_tool
from omniagents.agents.tooling import make_tools
from omniagents.tools.base import ImagePart, Tool, ToolResult

if TYPE_CHECKING:
    from omniagents.backends.base import Backend

__all__ = ["WorkspaceTool", "langchain_tools", "message_content"]

#: What is text, or a list of LangChain's content blocks where there are images or documents.
Content = str | list[str | dict[str, Any]]


class WorkspaceTool(BaseTool):
    """One tool on one backend. Its content is what a model reads, its artifact the ``ToolResult``.

    A mistake of the model, wrong arguments included, is a message with the status ``error``; the environment's loss
    raises.
    """

    model_config = ConfigDict(arbitrary_types_allowed=True)

    tool: Tool = Field(exclude=True)
    profile: Mapping[str, Any] = Field(default_factory=dict, exclude=True)
    response_format: Literal["content", "content_and_artifact"] = "content_and_artifact"

    def run(self, *args: Any, **options: Any) -> Any:
        return _with_status(super().run(*args, **options))

    async def arun(self, *args: Any, **options: Any) -> Any:
        return _with_status(await super().arun(*args, **options))

    def _run(self, /, **arguments: Any) -> tuple[Content, ToolResult]:
        result = call_tool(self.tool, arguments)
        return message_content(result, self.profile), result

    async def _arun(self, /, **arguments: Any) -> tuple[Content, ToolResult]:
        result = await acall_tool(self.tool, arguments)
        return message_content(result, self.profile), result


def langchain_tools(
    backend: Backend, tools: Sequence[Tool | str] | None = None, *, profile: Mapping[str, Any] | None = None
) -> list[BaseTool]:
    """Make LangChain tools on a backend.

    Args:
        backend: Where they work; it need not be running yet.
        tools: Tools, or names of tools; by default those of the backend's preset, or else the ten built-in ones.
        profile: The model's (``model.profile``): images and PDFs that it does not take become text. Where it does
            not say, a model takes images and no PDFs.

    Raises:
        PluginError: One of the tools cannot be had; see ``omniagents.errors``.
    """
    return [
        WorkspaceTool(
            name=tool.name,
            description=tool.description,
            # The schema and not the class: the arguments are checked once, by the tool, whose answer a model can use.
            args_schema=tool.schema(),
            tool=tool,
            profile=profile or {},
        )
        for tool in make_tools(backend, tools)
    ]


def message_content(result: ToolResult, profile: Mapping[str, Any]) -> Content:
    """What a ``ToolMessage`` for a model of this profile has in it: text alone, or blocks that begin with it."""
    images, documents = profile.get("image_inputs", True), profile.get("pdf_inputs", False)
    text, parts = model_content(result, images=images, documents=documents)
    if not parts:
        return text
    blocks: list[str | dict[str, Any]] = [{"type": "text", "text": text}]
    for part in parts:
        data = {"base64": base64.b64encode(part.data).decode("ascii"), "mime_type": part.mime_type}
        kind = {"type": "image"} if isinstance(part, ImagePart) else {"type": "file", "filename": part.name}
        blocks.append({**kind, **data})
    return blocks


def _with_status(output: Any) -> Any:
    if isinstance(output, ToolMessage) and isinstance(output.artifact, ToolResult) and output.artifact.is_error:
        output.status = "error"
    return output
