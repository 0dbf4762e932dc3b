"""``search_file_content``: find lines by regular expression."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field

from omniagents.guest.root import display
from omniagents.records import Reply
from omniagents.tools._rendering import cap_lines, plural, quoted, skipped_note
from omniagents.tools.base import Tool, ToolArguments, ToolResult, names, not_boolean

__all__ = ["SearchFileContentTool"]

_Positive = Annotated[int, Field(ge=1), not_boolean]


class SearchFileContentTool(Tool):
    """Lines that match a pattern, grouped by file."""

    name = "search_file_content"
    description = (
        "Search the contents of files for a Python regular expression, line by line. Matches are grouped by file, "
        "sorted by path, each as `L<number>: <line>`; ask for lines around them with `context`. Case is ignored unless "
        "`case_sensitive` is set. What .gitignore names, caches such as node_modules and binary files are passed over."
    )
    operation = "grep"

    class Arguments(ToolArguments):
        """What a call takes."""

        pattern: str = Field(description="Python regular expression, matched within single lines.", min_length=1)
        path: str = Field(
            ".",
            validation_alias=names("path", "dir_path", "absolute_path"),
            description="Directory or single file to search, relative to the workspace.",
        )
        include: str | None = Field(
            None,
            validation_alias=names("include", "glob"),
            description="Only files whose name or path matches this glob, such as `*.{ts,tsx}` or `src/**/*.py`.",
        )
        case_sensitive: bool = Field(False, description="Tell upper and lower case apart.")
        fixed_strings: bool = Field(False, description="Take the pattern as plain text.")
        context: Annotated[int, Field(ge=0, le=50), not_boolean] | None = Field(
            None, description="Lines to show before and after each match; a single match alone gets many by itself."
        )
        names_only: bool = Field(False, description="Return only the paths of files with a match.")
        max_matches_per_file: _Positive | None = Field(None, description="Show at most so many matches of each file.")
        max_matches: Annotated[int, Field(ge=1, le=5000), not_boolean] = Field(
            100, description="Stop after so many matches (files, with names_only)."
        )
        no_ignore: bool = Field(False, description="Search ignored files, .git, node_modules and caches too.")

    def result(self, arguments: Any, reply: Reply) -> ToolResult:
        """The matches under a line that counts them, and what was passed over."""
        value: dict[str, Any] = reply.value
        body = _file_names(value) if arguments.names_only else _matches(value)
        lines, shown = cap_lines(body)
        parts = [_header(arguments, value), *lines]
        if shown < len(body):
            others = "" if arguments.names_only else ", with max_matches_per_file, or with names_only=true"
            parts.append(
                f"[Showing {shown:,} of {len(body):,} lines of results. To see the others, call again with a narrower "
                f"path or include{others}.]"
            )
        return ToolResult("\n".join([*parts, *_notes(arguments, value)]), data=value)


def _header(arguments: Any, value: dict[str, Any]) -> str:
    where = "" if value["searched_path"] == "." else f" in {display(value['searched_path'])}"
    asked = f"{quoted(arguments.pattern)}{where}"
    if not value["matches"]:
        searched = plural(value["searched"], "file")
        return f"No matches for {asked}: searched {searched}{_kind(arguments)}."
    if arguments.names_only:
        first = "the first " if value["more"] else ""
        return f"Found {first}{plural(value['matches'], 'file')} with matches for {asked}:"
    files = plural(len(value["files"]), "file")
    if value["more"]:
        return f"Found {plural(value['matches'], 'match', 'matches')} for {asked} in {files}, and there are more:"
    return f"Found {plural(value['matches'], 'match', 'matches')} for {asked} in {files}:"


def _kind(arguments: Any) -> str:
    case = "with case told apart" if arguments.case_sensitive else "ignoring case"
    return f" matching {quoted(arguments.include)}, {case}" if arguments.include else f", {case}"


def _file_names(value: dict[str, Any]) -> list[str]:
    return [display(file["path"]) for file in value["files"]]


def _matches(value: dict[str, Any]) -> list[str]:
    shown: list[str] = []
    for file in value["files"]:
        if shown:
            shown.append("")
        shown.append(display(file["path"]))
        previous = None
        for line in file["lines"]:
            if previous is not None and _has_context(file) and line[0] > previous + 1:
                shown.append("--")
            shown.append(_line(*line))
            previous = line[0]
        if file["more"]:
            shown.append("… more matches in this file: raise max_matches_per_file to see them.")
    return shown


def _has_context(file: dict[str, Any]) -> bool:
    return any(not line[1] for line in file["lines"])


def _line(number: int, is_match: int, text: str, length: int, cut_before: int) -> str:
    shown = f"L{number}{':' if is_match else '-'} {text}"
    if len(text) == length:
        return shown
    part = f"characters {cut_before + 1:,} to {cut_before + len(text):,} of {length:,}"
    return f"{shown} [{part}; read_file shows the line]"


def _notes(arguments: Any, value: dict[str, Any]) -> list[str]:
    notes = []
    if value["more"]:
        nouns = ("file", "files") if arguments.names_only else ("match", "matches")
        stopped = plural(value["matches"], *nouns)
        raised = ", or raise max_matches," if value["matches"] >= arguments.max_matches else ""
        notes.append(f"Stopped after {stopped}. Narrow path or include{raised} to see more.")
    if value["unfinished"]["count"]:
        files = ", ".join(display(name) for name in value["unfinished"]["names"])
        notes.append(
            f"Not finished in time: {plural(value['unfinished']['count'], 'file')} ({files}); matches there may be "
            "missing. Make the pattern simpler, or narrow path or include."
        )
    if value["stopped"] and not value["more"]:
        notes.append("The time for one search ran out before all files were searched: narrow path or include.")
    if not value["matches"]:
        notes.extend(_hints(arguments, value))
    notes.append(skipped_note(value["skipped"], _how_to_include(value["skipped"])))
    return [note for note in notes if note]


def _hints(arguments: Any, value: dict[str, Any]) -> list[str]:
    hints = []
    if value["literal_in"] is not None:
        hints.append(
            f"The pattern taken as plain text occurs in {display(value['literal_in'])}: "
            "call again with fixed_strings=true, or escape its special characters."
        )
    if value["spans_lines"]:
        hints.append("Matching goes line by line: a pattern with a line feed never matches.")
    if arguments.include and not value["searched"]:
        hints.append(f"No file is included by {quoted(arguments.include)}.")
    if arguments.case_sensitive:
        hints.append("Without case_sensitive, upper and lower case match each other.")
    return hints


def _how_to_include(skipped: dict[str, Any]) -> str:
    ways = []
    if "ignored" in skipped:
        ways.append("Set no_ignore=true to search ignored files.")
    if "larger than 50 MiB" in skipped:
        ways.append("Search very large files with grep through run_shell_command.")
    return " ".join(ways)
