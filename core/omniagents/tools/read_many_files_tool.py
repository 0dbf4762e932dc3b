"""``read_many_files``: the texts of many files in one result."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BeforeValidator, Field

from omniagents.guest.hints import tool_call
from omniagents.guest.root import display
from omniagents.records import Reply
from omniagents.tools._rendering import plural, skipped_note
from omniagents.tools.base import DocumentPart, ImagePart, Tool, ToolArguments, ToolResult, names

__all__ = ["ReadManyFilesTool"]

_END = "--- End of content ---"
_NAMED_LINES = 5
_HOW_TO_INCLUDE = {
    "ignored": "Set use_default_excludes to false to include ignored files.",
    "images or PDFs not asked for": "Name an image or PDF, or its extension (`*.png`), to include it.",
    "without room": "Ask for fewer files at a time to see the others.",
}


def _as_list(value: object) -> object:
    return [value] if isinstance(value, str) else value


_Names = Annotated[list[str], BeforeValidator(_as_list, json_schema_input_type=list[str])]


class ReadManyFilesTool(Tool):
    """Reads files by name, directory and glob, sharing one result's room among them."""

    name = "read_many_files"
    operation = "read_many_files"
    description = (
        "Read many files of the workspace at once, named by path, directory or glob. Each comes as a block that begins "
        "with `--- path ---`, sorted by path; the last line is `--- End of content ---`. All together are at most "
        "50,000 characters: small files are whole, large ones share the rest and say how to read on with read_file. "
        "Lines in square brackets before the first block, or at the head of one, are not part of any file. Binary "
        "files, what .gitignore names and caches such as node_modules are passed over and counted. PNG, JPEG, GIF and "
        "WebP images and PDFs are shown only if their name or extension is in paths or include."
    )

    class Arguments(ToolArguments):
        """What a call takes."""

        paths: _Names = Field(
            validation_alias=names("paths", "absolute_paths"),
            min_length=1,
            max_length=1_000,
            description=(
                "Files, directories and globs such as `src/**/*.py`, relative to the workspace or absolute inside it."
            ),
        )
        include: _Names = Field(
            default_factory=list,
            description=(
                "Globs. If there are any, only matching files are taken of what directories and globs in paths find; "
                "one without a slash is matched against names."
            ),
        )
        exclude: _Names = Field(
            default_factory=list,
            description="Files and directories to leave out, as in a .gitignore: `tests/`, `*.min.js`, `docs/**`.",
        )
        recursive: bool = Field(True, description="Read a directory in paths with everything below it.")
        use_default_excludes: bool = Field(
            True, description="Pass over what .gitignore names, .git, node_modules and other caches."
        )

    def result(self, arguments: Any, reply: Reply) -> ToolResult:
        """The blocks, below one line for each thing that cannot be had and one for what was passed over."""
        facts: dict[str, Any] = dict(reply.value)
        notices = [*_problems(facts), *_skips(facts["skipped"])]
        if not facts["files"]:
            problems = facts["problems"]
            content = "\n".join(notices if problems else ["Nothing was read.", *notices])
            return ToolResult(content, bool(problems), problems[0]["code"] if problems else None, facts)
        blocks, parts, position = [], [], 0
        for file in facts["files"]:
            content_bytes = reply.payload[position : position + file["length"]]
            position += file["length"]
            if file["kind"] == "text":
                blocks.append(_text_block(file, content_bytes.decode("utf-8")))
            else:
                blocks.append(_block(file, f"[{file['mime_type']}, {plural(file['length'], 'byte')}: attached]\n"))
                parts.append(_part(file, content_bytes))
        head = "".join(f"[{notice}]\n" for notice in notices)
        return ToolResult(head + "".join(blocks) + _END, data=facts, parts=tuple(parts))


def _problems(facts: dict[str, Any]) -> list[str]:
    messages = [problem["message"] for problem in facts["problems"]]
    more = facts["problems_total"] - len(messages)
    return [*messages, f"{more:,} more of the paths cannot be read"] if more else messages


def _skips(skipped: dict[str, Any]) -> list[str]:
    cures = [cure for reason, cure in _HOW_TO_INCLUDE.items() if reason in skipped]
    note = skipped_note(skipped, " ".join(cures))
    return [note] if note else []


def _part(file: dict[str, Any], content: bytes) -> ImagePart | DocumentPart:
    part_type = ImagePart if file["kind"] == "image" else DocumentPart
    return part_type(content, file["mime_type"], display(file["path"]))


def _text_block(file: dict[str, Any], text: str) -> str:
    notices = _notices(file)
    return _block(file, (f"[{' '.join(notices)}]\n" if notices else "") + text)


def _block(file: dict[str, Any], content: str) -> str:
    end = "" if content.endswith("\n") else "\n"
    return f"--- {display(file['path'])} ---\n{content}{end}"


def _notices(file: dict[str, Any]) -> list[str]:
    total, call = file["total_lines"], file["next_call"]
    notices = []
    if not total:
        notices.append("This file is empty.")
    elif file["next_offset"] == 0:
        notices.append(f"Only the beginning of line 1 of {total} is shown: read on with {call}.")
    elif file["next_offset"] is not None:
        notices.append(f"Lines 1-{file['shown_lines']} of {total} are shown: read on with {call}.")
    if file["cut_lines"]:
        notices.append(_cut_notice(file))
    if file["is_guess"]:
        notices.append("Not valid UTF-8: shown as Latin-1, so some characters may be wrong.")
    return notices


def _cut_notice(file: dict[str, Any]) -> str:
    lines = file["cut_lines"]
    named = ", ".join(map(str, lines[:_NAMED_LINES])) + (", …" if len(lines) > _NAMED_LINES else "")
    which = f"Line {named} is" if len(lines) == 1 else f"Lines {named} are"
    call = tool_call("read_file", absolute_path=file["path"], start_line=lines[0], end_line=lines[0])
    return f"{which} cut at 2,000 characters: {call} says how to see the rest."
