"""``run_shell_command``: one command in the environment's shell."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import AfterValidator, Field

from omniagents.records import Reply
from omniagents.tools._commands import RESULT_DESCRIPTION, Seconds, command_request, command_result
from omniagents.tools._sendable import SendableText
from omniagents.tools.base import Tool, ToolArguments, ToolResult, names

__all__ = ["RunShellCommandTool"]


def _refuse_what_no_shell_takes(command: str) -> str:
    if not command.strip():
        raise ValueError("the command is empty")
    if "\0" in command:
        raise ValueError("a command cannot contain a NUL character; let the command make it, with printf '\\0'")
    return command


class RunShellCommandTool(Tool):
    """Runs a command, waits for its end, and kills all it has started when its time is up."""

    name = "run_shell_command"
    operation = "run"
    description = (
        "Run a command with bash (sh where there is no bash) in the workspace: build, test, install, git. Each call "
        "is a new shell: directory and variables are not kept. Nothing can be typed in: stdin is empty, pagers and "
        "prompts are off. After the timeout everything the call started is killed, and what was printed until then is "
        "shown. Start a server or watcher with background=true, or with a trailing &: the call returns at once with "
        f"its pid. {RESULT_DESCRIPTION} To read, search or edit files the other tools are better than cat, grep or sed."
    )

    class Arguments(ToolArguments):
        """What ``run_shell_command`` is called with."""

        command: Annotated[SendableText, AfterValidator(_refuse_what_no_shell_takes)] = Field(
            description="Passed to the shell as it is; may have many lines and be of any length."
        )
        description: str | None = Field(None, description="What the command is for, in a few words.")
        directory: str | None = Field(
            None,
            validation_alias=names("directory", "dir_path"),
            description="Where to run it: relative to the workspace, or absolute inside it. The workspace by default.",
        )
        timeout: Seconds = Field(120, description="Seconds until it is killed, at most 3600. Not with background.")
        background: bool = Field(
            False,
            description="Return at once; it runs on without a time limit and prints into a log read_file can read.",
        )

    def request(self, arguments: Any) -> tuple[dict[str, Any], bytes]:
        """The guest's ``run``."""
        background: bool = arguments.background
        return command_request(arguments.command, arguments.directory, arguments.timeout, background=background), b""

    def result(self, arguments: Any, reply: Reply) -> ToolResult:
        """What it printed, and below it what is unusual."""
        return command_result(reply, arguments.timeout)
