"""The group of commands, and what becomes of errors: one line for a person, a traceback with ``--debug``."""

from __future__ import annotations

import errno
from collections.abc import Sequence
from typing import Any

import click

from omniagents._version import __version__
from omniagents.cli import demo, doctor, extensions, plugins, reap, run_command, shell, state
from omniagents.cli.output import note
from omniagents.errors import OmniagentsError

__all__ = ["program", "run"]


class _Program(click.Group):
    """Our commands, and those of plugins under other names."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted({*super().list_commands(ctx), *extensions.names()})

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        return super().get_command(ctx, cmd_name) or extensions.find(cmd_name)

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except (OmniagentsError, OSError) as error:
            is_for_click = isinstance(error, OSError) and error.errno == errno.EPIPE
            if ctx.params["debug"] or is_for_click:
                raise
            note(f"omniagents: {_one_line(error)}")
            return 1


@click.group(cls=_Program, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, "-V", "--version", prog_name="omniagents")
@click.option("--debug", is_flag=True, help="Show the traceback of an error.")
def program(debug: bool) -> None:
    """Coding environments for the users of your product.

    A project is any string: whose workspace it is, such as a user's id. Its workspace is loaded when a command
    starts and saved when it ends.
    """


for _command in (run_command.run, shell.shell, state.state, plugins.plugins, doctor.doctor, demo.demo, reap.reap):
    program.add_command(_command)


def run(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code."""
    try:
        code = program.main(args=arguments, prog_name="omniagents", standalone_mode=False)
    except click.Abort:
        note("omniagents: stopped")
        return 130  # 128 + SIGINT, as shells have it
    except click.ClickException as error:
        error.show()
        return error.exit_code
    return code if isinstance(code, int) else 0


def _one_line(error: Exception) -> str:
    text = " ".join(str(error).split())
    return text if isinstance(error, OmniagentsError) and text else f"{type(error).__name__}: {text}"
