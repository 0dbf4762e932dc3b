"""Every Python block of the README and docs/ runs as it stands; every `omniagents` command in them exists.

A block that needs distributions which come later has ``<!-- needs: omniagents-docker -->`` above its fence. It is run
as soon as they are all importable; until then a reader must get the error that says how to install one of them.
What ``print(…)  # so`` says in a comment is what it must print.
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
from tests.docs.examples import PAGES, Block, blocks, story
from tests.services.model_server import Call, ModelServer, Request, Turn

from omniagents.plugins.first_party import install_command

_PRINTED = re.compile(r"^\s*print\(.*\)  # (?P<said>.+)$", re.MULTILINE)


def missing(block: Block) -> list[str]:
    """Which distributions a block needs that are not installed."""
    return [name for name in block.needs if find_spec(name.replace("-", "_")) is None]


def model(request: Request) -> Turn:
    """Writes a program, runs it, and tells what it printed, whatever it is asked."""
    done = len(request.results)
    if done == 0:
        return Turn(calls=[Call("write_file", {"absolute_path": "app.py", "content": "print('hello')\n"})])
    if done == 1:
        return Turn(calls=[Call("run_shell_command", {"command": "python3 app.py"})])
    return Turn(f"app.py runs, and prints: {request.results[1].text}")


def run(block: Block, place: Path, server: ModelServer) -> subprocess.CompletedProcess[str]:
    """The block as a program of its own, in an empty directory, with all its data there; its model is a script."""
    program = place / "example.py"
    program.write_text(block.code, encoding="utf-8")
    home = {"XDG_DATA_HOME": str(place / "data"), "XDG_CACHE_HOME": str(place / "cache"), "PYTHONWARNINGS": "error"}
    keys = {"OPENAI_API_KEY": "unused", "OPENAI_BASE_URL": server.openai_url, "ANTHROPIC_API_KEY": "unused"}
    home = {**home, **keys, "ANTHROPIC_BASE_URL": server.anthropic_url}
    work = place / "work"
    work.mkdir()
    return subprocess.run(
        [sys.executable, program], cwd=work, env={**os.environ, **home}, capture_output=True, text=True, timeout=100
    )


@pytest.mark.parametrize("block", [block for block in blocks("python") if block != story()], ids=str)
def test_block_does_what_it_says(block: Block, tmp_path: Path) -> None:
    with ModelServer(model) as server:
        finished = run(block, tmp_path, server)
    absent = missing(block)
    if absent:
        last = finished.stderr.splitlines()[-1]
        assert last.startswith("omniagents.errors.MissingPluginError: ")
        assert any(last.endswith(install_command(name)) for name in absent)
        return
    assert finished.returncode == 0, finished.stderr
    printed = iter(finished.stdout.splitlines())
    said = [match["said"] for match in _PRINTED.finditer(block.code)]
    assert [line for line in said if line not in printed] == [], finished.stdout


def test_the_readme_is_where_a_reader_begins() -> None:
    assert len([block for block in blocks("python") if block.page == PAGES[0]]) >= 3


@pytest.mark.parametrize(
    ("block", "line"),
    [(block, line) for block in blocks("console") for line in block.code.splitlines() if "omniagents " in line],
    ids=str,
)
def test_commands_are_what_the_program_takes(block: Block, line: str) -> None:
    import click

    from omniagents.cli.program import program

    words = shlex.split(line.rpartition("| ")[2] if "| omniagents" in line else line, comments=True)
    if words.pop(0) != "omniagents":
        return
    command: click.Command = program
    context = command.make_context("omniagents", words[:1], resilient_parsing=True)
    while isinstance(command, click.Group):
        name = words.pop(0)
        found = command.get_command(context, name)
        if missing(block):
            assert found is None
            return
        assert found is not None, f"{block}: no command {name!r}"
        command = found
    command.make_context(name, words)
