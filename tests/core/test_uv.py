"""uv through a real LocalBackend, without a network."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from tests.core.local_backends import running_backend

from omniagents.backends.local_backend import LocalBackend
from omniagents.tools.uv_tool import UVTool, refused_subcommand

UV_DIRECTORY = str(Path(sys.executable).parent)


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalBackend]:
    environment = {"PATH": f"{UV_DIRECTORY}{os.pathsep}{os.defpath}", "UV_OFFLINE": "1"}
    with running_backend(tmp_path_factory.mktemp("uv"), environment=environment) as backend:
        yield backend


@pytest.fixture
def tool(running: LocalBackend) -> UVTool:
    return UVTool(backend=running)


@pytest.fixture
def unasked() -> UVTool:
    """A tool whose backend must not be asked anything."""

    def fail(*request: object) -> None:
        pytest.fail(f"asked for {request}")

    backend: Any = SimpleNamespace(workspace=SimpleNamespace(request=fail))
    return UVTool(backend=backend)


def test_a_string_is_split_like_a_shell_does(tool: UVTool) -> None:
    result = tool.execute(args="""run --no-project python -c 'import sys; print(sys.argv[1:])' "a b" $HOME *""")
    assert (result.content, result.is_error) == ("['a b', '$HOME', '*']", False)


def test_a_list_is_taken_as_it_is(tool: UVTool) -> None:
    result = tool.execute(args=["run", "--no-project", "python", "-c", "import sys; print(sys.argv[1:])", "a b", "'c"])
    assert result.content == """['a b', "'c"]"""


@pytest.mark.parametrize("name", ["args", "command", "uv_command"])
def test_a_leading_uv_is_dropped(tool: UVTool, name: str) -> None:
    assert tool.execute(**{name: "uv --version"}).content.startswith("uv ")
    assert tool.execute(**{name: ["uv", "--version"]}).content.startswith("uv ")


def test_aexecute_does_the_same(tool: UVTool) -> None:
    assert asyncio.run(tool.aexecute(args="--version")).content.startswith("uv ")


def test_a_project_can_be_made_and_run(tool: UVTool, running: LocalBackend) -> None:
    assert not tool.execute(args="init --bare --no-workspace --name demo project").is_error
    (Path(running.workspace.root) / "project" / "demo.py").write_text("print('it runs')")
    result = tool.execute(args=["run", "--no-sync", "--python", sys.executable, "demo.py"], directory="project")
    assert result.content.splitlines()[-1] == "it runs"


def test_exit_codes_are_uvs_own(tool: UVTool) -> None:
    result = tool.execute(args="run --no-project python -c 'raise SystemExit(3)'")
    assert (result.content, result.error_type) == ("(no output)\n[exit code: 3]", "COMMAND_FAILED")
    assert tool.execute(args="no-such-subcommand").data["exit_code"] == 2


def test_the_time_limit_is_kept(tool: UVTool) -> None:
    result = tool.execute(args="run --no-project python -c 'import time; time.sleep(60)'", timeout=1)
    assert result.content == "(no output)\n[timed out after 1 s; process group killed]"
    assert result.error_type == "COMMAND_TIMEOUT"


def test_a_long_output_has_a_log(tool: UVTool) -> None:
    result = tool.execute(args=["run", "--no-project", "python", "-c", "for n in range(20000): print(n)"])
    assert (
        f"108,890 bytes in all. All of it is in {result.data['output_file']}: read on with read_file(" in result.content
    )


def test_a_directory_outside_the_workspace_is_refused(tool: UVTool) -> None:
    assert tool.execute(args="--version", directory="/").error_type == "PATH_OUTSIDE_WORKSPACE"


def test_a_missing_directory_is_not_a_missing_uv(tool: UVTool) -> None:
    assert tool.execute(args="--version", directory="uv").error_type == "FILE_NOT_FOUND"


def test_an_environment_without_uv_says_how_to_get_it(tmp_path: Path) -> None:
    with running_backend(tmp_path, environment={"PATH": str(tmp_path)}) as backend:
        result = UVTool(backend=backend).execute(args="sync")
    assert (result.is_error, result.error_type) == (True, "UV_NOT_FOUND")
    assert result.content == (
        "The environment has no uv on its PATH. Install it with run_shell_command: 'python -m pip install uv', or "
        "'curl -LsSf https://astral.sh/uv/install.sh | sh', which puts it into ~/.local/bin. Or use pip instead."
    )


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ("", "a subcommand is needed, such as 'add requests' or 'run pytest'"),
        ("uv", "a subcommand is needed, such as 'add requests' or 'run pytest'"),
        ([], "a subcommand is needed, such as 'add requests' or 'run pytest'"),
        ("add 'x", "the string cannot be split into words: No closing quotation; pass a list of words instead"),
        (["add", "a\0"], "an argument cannot contain a NUL character"),
        (["add", 3], "Input should be a valid string"),
    ],
)
def test_arguments_that_cannot_be_words_are_refused(unasked: UVTool, arguments: object, reason: str) -> None:
    result = unasked.execute(args=arguments)
    assert result.error_type == "INVALID_ARGUMENTS"
    assert reason in result.content


@pytest.mark.parametrize(
    ("arguments", "content"),
    [
        ("publish", "uv publish is refused: it would upload packages in the user's name. Leave that to the user."),
        (
            "uv auth login example.org",
            "uv auth is refused: it would read or change the user's credentials. Leave that to the user.",
        ),
        (
            "--color never self update",
            "uv self is refused: it would replace the environment's uv. Leave that to the user.",
        ),
    ],
)
def test_refused_subcommands_never_reach_the_environment(unasked: UVTool, arguments: str, content: str) -> None:
    result = unasked.execute(args=arguments)
    assert (result.content, result.is_error, result.error_type) == (content, True, "COMMAND_REFUSED")


def test_refused_subcommands_are_refused_by_aexecute_too(unasked: UVTool) -> None:
    assert asyncio.run(unasked.aexecute(args="publish")).error_type == "COMMAND_REFUSED"


@pytest.mark.parametrize(
    "arguments",
    [
        "-q publish",
        "--offline -vn publish",
        "--directory x publish",
        "--directory=x publish",
        "--project run publish",
        "--cache-dir sync --config-file add publish",
        "--preview-features a,b publish",
        "-- publish",
    ],
)
def test_global_options_do_not_hide_a_refused_subcommand(arguments: str) -> None:
    assert refused_subcommand(arguments.split()) == "publish"


@pytest.mark.parametrize(
    "arguments",
    ["run publish", "add auth", "--directory publish sync", "--project self lock", "--help", "-q", "help self"],
)
def test_the_same_words_elsewhere_are_allowed(arguments: str) -> None:
    assert refused_subcommand(arguments.split()) is None
