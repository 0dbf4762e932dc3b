"""``glob``: find files by the pattern of their path."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from omniagents.guest.root import display
from omniagents.records import Reply
from omniagents.tools._rendering import cap_lines, plural, quoted, skipped_note
from omniagents.tools.base import Tool, ToolArguments, ToolResult, names

__all__ = ["GlobTool"]

_INCLUDE_SKIPPED = "Set respect_git_ignore to false to include ignored files."


class GlobTool(Tool):
    """Files by glob pattern, recently changed ones first."""

    name = "glob"
    description = (
        "Find files by a glob pattern such as `src/**/*.py` or `*.{ts,tsx}`. `*` and `?` stay within one directory, "
        "`**` goes through any number of them, `{a,b}` and `[abc]` are alternatives. Returns paths relative to the "
        "workspace: files changed in the last 24 hours first, newest first, then the rest by path; at most 500. "
        "What .gitignore names and caches such as node_modules are passed over unless asked for."
    )
    operation = "glob"

    class Arguments(ToolArguments):
        """What a call takes."""

        pattern: str = Field(description="Glob pattern; a leading / means the top of the workspace.", min_length=1)
        path: str = Field(
            ".",
            validation_alias=names("path", "dir_path", "absolute_path"),
            description="Directory the pattern starts in, relative to the workspace.",
        )
        case_sensitive: bool = Field(False, description="Tell upper and lower case apart.")
        respect_git_ignore: bool = Field(
            True, description="Pass over what .gitignore names, .git, node_modules and other caches."
        )

    def result(self, arguments: Any, reply: Reply) -> ToolResult:
        """The paths, one a line, under a line that counts them."""
        value: dict[str, Any] = reply.value
        if not value["total"]:
            return ToolResult(_nothing(arguments, value), data=value)
        shown = [display(path) for path in value["paths"]]
        lines, count = cap_lines(shown)
        found = f"Found {plural(value['total'], 'file')} matching {quoted(arguments.pattern)}"
        if count < value["total"]:
            found += f"; showing the first {count:,}, recently changed ones first."
            found += " Narrow the pattern or path to see the others"
        return ToolResult("\n".join(filter(None, [f"{found}:", *lines, _note(value)])), data=value)


def _nothing(arguments: Any, value: dict[str, Any]) -> str:
    pattern = quoted(arguments.pattern)
    if value["directory"] is not None:
        directory = display(value["directory"])
        below = "**" if directory == "." else f"{directory}/**"
        return f"{pattern} is a directory, and glob finds files. To list all files below it, use pattern '{below}'."
    where = "the workspace" if value["searched"] == "." else display(value["searched"])
    parts = [f"No files match {pattern} in {where}."]
    if value["deeper"]:
        deeper = quoted("**/" + arguments.pattern.lstrip("/"))
        parts.append(f"{deeper} would find {plural(value['deeper'], 'file')} in directories below.")
    if arguments.case_sensitive:
        parts.append("The search was case-sensitive.")
    return " ".join(filter(None, [*parts, _note(value)]))


def _note(value: dict[str, Any]) -> str:
    return skipped_note(value["skipped"], _INCLUDE_SKIPPED if "ignored" in value["skipped"] else "")
