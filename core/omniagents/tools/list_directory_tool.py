"""``list_directory``: what one directory holds."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from omniagents.guest.hints import shell_word, shown, tool_call
from omniagents.guest.root import display
from omniagents.records import Reply
from omniagents.tools._rendering import cap_lines, plural, skipped_note
from omniagents.tools.base import Tool, ToolArguments, ToolResult, names

__all__ = ["ListDirectoryTool"]

_INCLUDE_IGNORED = "Set respect_git_ignore to false to include ignored entries."


class ListDirectoryTool(Tool):
    """The entries of a directory, with sizes and where links point."""

    name = "list_directory"
    operation = "list_directory"
    description = (
        "List what one directory of the workspace holds, without going into the directories below. Directories come "
        "first and end with a slash; then files with their sizes in bytes, links as `name -> target`, and the rest. "
        "Hidden entries are shown; what .gitignore names is left out and counted, unless asked for. At most 1,000 "
        "entries. To find files in a whole tree use glob."
    )

    class Arguments(ToolArguments):
        """What a call takes."""

        path: str = Field(
            ".",
            validation_alias=names("path", "absolute_path", "dir_path"),
            min_length=1,
            description="The directory: relative to the workspace, or absolute inside it.",
        )
        ignore: list[str] = Field(
            default_factory=list, description="Globs; entries whose names match one are left out, such as `*.pyc`."
        )
        respect_git_ignore: bool = Field(True, description="Leave out what .gitignore names.")

    def result(self, arguments: Any, reply: Reply) -> ToolResult:
        """One entry a line, below a line that counts them."""
        facts: dict[str, Any] = dict(reply.value)
        note = skipped_note(facts["skipped"], _INCLUDE_IGNORED if "ignored" in facts["skipped"] else "")
        where = "The workspace" if facts["path"] == "." else shown(facts["path"] + "/")
        if not facts["total"]:
            nothing = "has nothing to show." if note else "is empty."
            return ToolResult(f"{where} {nothing} {note}".rstrip(), data=facts)
        lines, count = cap_lines([_line(entry) for entry in facts["entries"]])
        head = f"{where} has {plural(facts['total'], 'entry', 'entries')}:"
        if count < facts["total"]:
            head = f"{where} has {facts['total']:,} entries; the first {count:,} are shown. {_cure(facts['path'])}"
        return ToolResult("\n".join(filter(None, [head, *lines, note])), data=facts)


def _line(entry: dict[str, Any]) -> str:
    name, kind = display(entry["name"]), entry["kind"]
    if kind == "directory":
        return name + "/"
    if kind == "link":
        return f"{name} -> {display(entry['target'])}{' (broken link)' if entry['is_broken'] else ''}"
    return f"{name} ({plural(entry['bytes'], 'byte') if kind == 'file' else kind})"


def _cure(path: str) -> str:
    every = tool_call("run_shell_command", command="ls -Ap " + shell_word(path))
    return f"Leave some out with ignore, or list all with {every}:"
