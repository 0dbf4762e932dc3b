"""``read_file``: one page of a text, an image or a PDF."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field

from omniagents.guest.hints import shown
from omniagents.guest.root import display
from omniagents.records import Reply
from omniagents.tools._rendering import plural
from omniagents.tools.base import DocumentPart, ImagePart, Tool, ToolArguments, ToolResult, names, not_boolean

__all__ = ["ReadFileTool"]

_NAMED_LINES = 5

_Count = Annotated[int, Field(ge=0), not_boolean]
_LineNumber = Annotated[int, Field(ge=1), not_boolean]


class ReadFileTool(Tool):
    """Reads text files of any size page by page, and hands on images and PDFs."""

    name = "read_file"
    operation = "read_file"
    description = (
        "Read a file in the workspace. A text comes back exactly as it is, at most 2,000 lines and 50,000 characters "
        "a call, and 2,000 characters a line. If there is more, the result begins with one line in square brackets "
        "that states which lines are shown, how many there are and the call that reads on; that line is not part of "
        "the file. Read a part with offset and limit, or with start_line and end_line. PNG, JPEG, GIF and WebP images "
        "(up to 5 MiB as base64) and PDFs (up to 20 MiB) are shown to you as they are, without offset or limit. "
        "For several files at once use read_many_files; for directories list_directory."
    )

    class Arguments(ToolArguments):
        """What ``read_file`` is called with."""

        absolute_path: str = Field(
            validation_alias=names("absolute_path", "file_path", "path"),
            min_length=1,
            description="The file: relative to the workspace, or absolute inside it. Taken literally, no wildcards.",
        )
        offset: _Count | None = Field(
            None, description="How many lines to pass over; 0 (the default) begins with the first line."
        )
        limit: _LineNumber | None = Field(None, description="How many lines to read at most; 2,000 by default.")
        line_numbers: bool = Field(
            False, description="Put its number, counted from 1, and a tab before each line. Not part of the file."
        )
        start_line: _LineNumber | None = Field(
            None, description="Instead of offset and limit: the first line to read, counted from 1."
        )
        end_line: _LineNumber | None = Field(
            None, description="Instead of offset and limit: the last line to read, counted from 1."
        )

    def result(self, arguments: Any, reply: Reply) -> ToolResult:
        """The page, below a line that says what is not shown of the file; or the image or document as a part."""
        facts: dict[str, Any] = dict(reply.value)
        if facts["kind"] != "text":
            return _media_result(facts, reply.payload)
        text = reply.payload.decode("utf-8")
        notices = _notices(facts)
        head = [f"[{' '.join(notices)}]"] if notices else []
        return ToolResult("\n".join([*head, text] if text else head), data=facts)


def _media_result(facts: dict[str, Any], content: bytes) -> ToolResult:
    name, mime_type = facts["path"], facts["mime_type"]
    part_type = ImagePart if facts["kind"] == "image" else DocumentPart
    line = f"Read {facts['kind']} {shown(name)} ({mime_type}, {plural(len(content), 'byte')})"
    return ToolResult(line, data=facts, parts=(part_type(content, mime_type, display(name)),))


def _notices(facts: dict[str, Any]) -> list[str]:
    total, first, last = facts["total_lines"], facts["first_line"], facts["last_line"]
    notices = []
    if not total:
        mark = " but for a byte-order mark" if facts["bytes"] else ""
        notices.append(f"{shown(facts['path'])} is empty{mark}.")
    elif facts["next_offset"] is not None:
        notices.append(
            f"Lines {first}-{last} of {total} are shown; the next offset is {facts['next_offset']}: "
            f"read on with {facts['next_call']}."
        )
    elif first > 1:
        notices.append(f"Lines {first}-{last} of {total} are shown; this is the end of the file.")
    if facts["cut_lines"]:
        notices.append(_cut_notice([line["line"] for line in facts["cut_lines"]], facts["rest_call"]))
    if facts["is_guess"]:
        notices.append("The file is not valid UTF-8; it is shown as Latin-1, so some characters may be wrong.")
    return notices


def _cut_notice(lines: list[int], rest_call: str) -> str:
    named = ", ".join(map(str, lines[:_NAMED_LINES]))
    if len(lines) == 1:
        return f"Line {named} is cut at 2,000 characters: see the rest with {rest_call}."
    more = f" and {len(lines) - _NAMED_LINES} more" if len(lines) > _NAMED_LINES else ""
    return (
        f"Lines {named}{more} are cut at 2,000 characters: see the rest of line {lines[0]} with {rest_call}, "
        "and of the others likewise."
    )
