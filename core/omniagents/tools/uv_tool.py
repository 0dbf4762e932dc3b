"""``uv``: Python packages, environments and versions, by the environment's own uv."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Field, WithJsonSchema

from omniagents.errors import GuestCallError
from omniagents.records import Reply
from omniagents.tools._commands import RESULT_DESCRIPTION, Seconds, command_request, command_result
from omniagents.tools._sendable import SendableText
from omniagents.tools.base import Tool, ToolArguments, ToolResult, names

__all__ = ["UVTool", "refused_subcommand"]

_REFUSED = {
    "publish": "it would upload packages in the user's name",
    "auth": "it would read or change the user's credentials",
    "self": "it would replace the environment's uv",
}
# `uv generate-shell-completion fish`, uv 0.13: the global options that take a value.
_OPTIONS_WITH_VALUE = frozenset(
    "--allow-insecure-host --cache-dir --color --config-file --directory --preview-features --project --python-fetch"
    " --python-preference --trusted-host".split()
)
_NOT_FOUND = (
    "The environment has no uv on its PATH. Install it with run_shell_command: 'python -m pip install uv', or "
    "'curl -LsSf https://astral.sh/uv/install.sh | sh', which puts it into ~/.local/bin. Or use pip instead."
)


def _words(arguments: Any) -> Any:
    """A string as the words a shell would make of it, without the leading ``uv`` that models like to write."""
    if isinstance(arguments, str):
        try:
            arguments = shlex.split(arguments)
        except ValueError as error:
            raise ValueError(f"the string cannot be split into words: {error}; pass a list of words instead") from error
    return arguments[1:] if isinstance(arguments, list) and arguments[:1] == ["uv"] else arguments


def _require_words(arguments: list[str]) -> list[str]:
    if not arguments:
        raise ValueError("a subcommand is needed, such as 'add requests' or 'run pytest'")
    if any("\0" in word for word in arguments):
        raise ValueError("an argument cannot contain a NUL character")
    return arguments


def refused_subcommand(arguments: Sequence[str]) -> str | None:
    """``publish``, ``auth`` or ``self``, if ``uv ARGUMENTS`` would run it; global options may come before."""
    words = iter(arguments)
    for word in words:
        if not word.startswith("-"):
            return word if word in _REFUSED else None
        if word in _OPTIONS_WITH_VALUE:
            next(words, None)
    return None


_Words = Annotated[
    list[SendableText],
    BeforeValidator(_words),
    AfterValidator(_require_words),
    WithJsonSchema({"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]}),
]


class UVTool(Tool):
    """Runs the environment's uv, without a shell between."""

    name = "uv"
    operation = "run"
    description = (
        "Run uv, Python's package and project manager, in the workspace: init, add, remove, sync, lock, run, pip, "
        "venv, python, tool, build… Give everything behind the word uv, such as 'add requests' or 'run pytest -q'. No "
        "shell: quotes work, but |, &&, $NAME and wildcards do not; for those use run_shell_command. publish, auth and "
        f"self are refused. {RESULT_DESCRIPTION} A failed uv add or remove leaves the project as it was."
    )

    class Arguments(ToolArguments):
        """What ``uv`` is called with."""

        args: _Words = Field(
            validation_alias=names("args", "command", "uv_command"),
            description="The subcommand and its arguments: one string with shell quoting, or a list of words.",
        )
        directory: str | None = Field(
            None,
            description="Where to run it: relative to the workspace, or absolute inside it. The workspace by default.",
        )
        timeout: Seconds = Field(300, description="Seconds until it is killed, at most 3600.")

    def request(self, arguments: Any) -> tuple[dict[str, Any], bytes]:
        """The guest's ``run`` of an argv. Paths in uv's own options are uv's: they may lead out of the workspace."""
        subcommand = refused_subcommand(arguments.args)
        if subcommand is not None:
            raise GuestCallError(
                f"uv {subcommand} is refused: {_REFUSED[subcommand]}. Leave that to the user.", code="COMMAND_REFUSED"
            )
        return command_request(["uv", *arguments.args], arguments.directory, arguments.timeout), b""

    def result(self, arguments: Any, reply: Reply) -> ToolResult:
        """What uv printed, and below it what is unusual."""
        return command_result(reply, arguments.timeout)

    def refusal(self, arguments: Any, error: GuestCallError) -> ToolResult:
        """A missing uv has its own code, and the hint how to install it."""
        if error.details.get("program") == "uv" and error.code == "FILE_NOT_FOUND":
            return ToolResult(_NOT_FOUND, is_error=True, error_type="UV_NOT_FOUND")
        return super().refusal(arguments, error)
