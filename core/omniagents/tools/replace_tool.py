"""``replace``: one text in a file becomes another."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field, model_validator

from omniagents.guest.hints import shown
from omniagents.records import Reply
from omniagents.tools._rendering import plural
from omniagents.tools._sendable import SendableText
from omniagents.tools.base import Tool, ToolArguments, ToolResult, names, not_boolean

__all__ = ["ReplaceTool"]

_Count = Annotated[int, Field(ge=1), not_boolean]


class ReplaceTool(Tool):
    """Edits a file by exact text; every byte outside the text replaced stays as it is."""

    name = "replace"
    operation = "replace"
    description = (
        "Replace text in a file of the workspace. old_string must be the text as it stands in the file, with its "
        "indentation and without line numbers, and with enough lines around the change to stand for one place only; "
        "new_string is what comes there instead. With expected_replacements=N, or replace_all=true, all places are "
        "changed. If the text is not there exactly, one single place that differs only in line endings, in white "
        "space at the end of lines, or in the indentation of the whole block is taken, and the result says so. "
        "Otherwise nothing is changed and the result shows the closest text, or the lines of all places. An empty "
        "old_string creates a file with new_string. Returns a diff."
    )

    class Arguments(ToolArguments):
        """What ``replace`` is called with."""

        absolute_path: str = Field(
            validation_alias=names("absolute_path", "file_path", "path"),
            description="The file: relative to the workspace, or absolute inside it. Taken literally, no wildcards.",
        )
        old_string: SendableText = Field(
            validation_alias=names("old_string", "old_text"),
            description="The text to replace, exactly as in the file; empty to create a new file.",
        )
        new_string: SendableText = Field(
            validation_alias=names("new_string", "new_text"),
            description="The text to put there; empty to delete old_string.",
        )
        expected_replacements: _Count = Field(
            1, description="In how many places old_string stands; with another number nothing is changed."
        )
        replace_all: bool = Field(
            False,
            validation_alias=names("replace_all", "allow_multiple"),
            description="Change all places, however many; not together with expected_replacements.",
        )

        @model_validator(mode="after")
        def _refuse_both(self) -> ReplaceTool.Arguments:
            if self.replace_all and "expected_replacements" in self.model_fields_set:
                raise ValueError("give either replace_all or expected_replacements, not both")
            return self

    def request(self, arguments: Any) -> tuple[dict[str, Any], bytes]:
        """Both texts travel as payload: they may be larger than a request's header."""
        old = arguments.old_string.encode()
        expected = None if arguments.replace_all else arguments.expected_replacements
        header = {"path": arguments.absolute_path, "old_bytes": len(old), "expected": expected}
        return header, old + arguments.new_string.encode()

    def result(self, arguments: Any, reply: Reply) -> ToolResult:
        """``Replaced 1 place in a.py (line 3).``, what was looked past, and the diff."""
        facts: dict[str, Any] = dict(reply.value)
        sentences = [_done(facts, is_filled=not arguments.old_string)]
        if facts["differences"]:
            ignored = " and ".join(facts["differences"])
            sentences.append(f"old_string was not there exactly; only {ignored} differed.")
        return ToolResult("\n".join(filter(None, [" ".join(sentences + facts["notes"]), facts["diff"]])), data=facts)


def _done(facts: dict[str, Any], *, is_filled: bool) -> str:
    path = shown(facts["path"])
    if is_filled:
        return f"Created {path}." if facts["created"] else f"Filled {path}, which was empty."
    lines = facts["lines"]
    more = ", …" if facts["replacements"] > len(lines) else ""
    where = f"line{'s' * (facts['replacements'] != 1)} {', '.join(map(str, lines))}{more}"
    return f"Replaced {plural(facts['replacements'], 'place')} in {path} ({where})."
