"""``write_file``: the whole content of one file."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from omniagents.guest.hints import shown
from omniagents.records import Reply
from omniagents.tools._rendering import plural
from omniagents.tools._sendable import SendableText
from omniagents.tools.base import Tool, ToolArguments, ToolResult, names

__all__ = ["WriteFileTool"]


class WriteFileTool(Tool):
    """Creates or overwrites one file, atomically."""

    name = "write_file"
    operation = "write_file"
    description = (
        "Create a file in the workspace, or overwrite it, with exactly the given content; missing directories are "
        "created. Give the complete content: a line such as '// rest of code ...' is refused, because it would "
        "destroy the lines it stands for. To change part of a file use replace instead. If all lines of an existing "
        "file end with CRLF, the content is written with CRLF too; a byte-order mark, the file's mode and a link "
        "to the file are kept. The result says whether the file was created or overwritten, and shows what changed."
    )

    class Arguments(ToolArguments):
        """What ``write_file`` is called with."""

        absolute_path: str = Field(
            validation_alias=names("absolute_path", "file_path", "path"),
            description="The file: relative to the workspace, or absolute inside it. Taken literally, no wildcards.",
        )
        content: SendableText = Field(description="The complete text of the file. An empty string makes an empty file.")

    def request(self, arguments: Any) -> tuple[dict[str, Any], bytes]:
        """The content travels as payload: it may be larger than a request's header."""
        return {"path": arguments.absolute_path}, arguments.content.encode()

    def result(self, arguments: Any, reply: Reply) -> ToolResult:
        """``Created a.py: 3 lines, 40 bytes.``, what must be known besides, and the diff."""
        facts: dict[str, Any] = dict(reply.value)
        path, size = shown(facts["path"]), f"{plural(facts['lines'], 'line')}, {plural(facts['bytes'], 'byte')}"
        if facts["changed"]:
            head = f"{'Created' if facts['created'] else 'Overwrote'} {path}: {size}."
        else:
            head = f"{path} already has exactly this content ({size}); nothing was written."
        return ToolResult("\n".join(filter(None, [" ".join([head, *facts["notes"]]), facts["diff"]])), data=facts)
