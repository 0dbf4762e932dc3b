"""The program as a whole: without its extra, its help, its errors, what it lists, and the check-up of a machine."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from tests.core.cli_support import Program

import omniagents
from omniagents.cli import main


def test_without_click_and_rich_it_says_what_installs_them(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "click", None)
    monkeypatch.setitem(sys.modules, "rich", None)
    assert main(["plugins"]) == 2
    assert capsys.readouterr() == (
        "",
        "omniagents: the command line needs click and rich, which the extra 'cli' installs; "
        "run: pip install click rich\n",
    )


@pytest.mark.extra
def test_python_m_omniagents_is_the_same_program(program: Program) -> None:
    finished = program.process("--version")
    assert finished.communicate() == (f"omniagents, version {omniagents.__version__}\n".encode(), b"")
    assert finished.returncode == 0


@pytest.mark.extra
@pytest.mark.parametrize("command", ["", "run", "shell", "plugins", "doctor", "demo"])
def test_every_command_has_help(program: Program, command: str) -> None:
    answer = program(*command.split(), "--help")
    assert answer.code == 0
    assert answer.out.startswith("Usage: omniagents")


@pytest.mark.extra
def test_wrong_usage_is_exit_code_2_and_says_how_to_get_help(program: Program) -> None:
    answer = program("run", "alice")
    assert answer.code == 2
    assert "Try 'omniagents run -" in answer.err  # -h or --help, as click's version has it
    assert "Missing argument 'COMMAND...'" in answer.err


@pytest.mark.extra
def test_an_error_is_one_line_and_exit_code_1(program: Program) -> None:
    answer = program("run", "--backend", "lokal", "alice", "--", "true")
    assert answer.code == 1
    assert answer.err.startswith("omniagents: no backend named 'lokal'; did you mean 'local'?")
    assert answer.err.count("\n") == 1


@pytest.mark.extra
def test_debug_shows_the_traceback(program: Program) -> None:
    finished = program.process("--debug", "run", "--backend", "lokal", "alice", "--", "true")
    _, errors = finished.communicate()
    assert finished.returncode == 1
    assert b"Traceback (most recent call last)" in errors
    assert b"UnknownComponentError: no backend named 'lokal'" in errors


@pytest.mark.extra
def test_a_reader_that_leaves_early_is_no_error(program: Program) -> None:
    with program.process("plugins") as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        assert b"Traceback" not in process.stderr.read()


@pytest.mark.extra
def test_plugins_lists_components_and_what_is_not_installed(program: Program) -> None:
    answer = program("plugins")
    assert answer.code == 0
    assert "This machine, for development only." in answer.out
    listed = program("plugins", "--json").json
    assert [one["status"] for one in listed["components"] if (one["kind"], one["name"]) == ("backend", "local")] == [
        "ready"
    ]
    for missing in listed["not_installed"]:
        assert missing["distribution"] in missing["install"]


@pytest.mark.extra
def test_doctor_finds_what_everything_needs(program: Program) -> None:
    answer = program("doctor", "--json")
    status = {finding["name"]: finding["status"] for finding in answer.json}
    assert answer.code == 0
    assert {name: status[name] for name in ("python", "kernel", "data directory", "local backend")} == dict.fromkeys(
        ("python", "kernel", "data directory", "local backend"), "ok"
    )


@pytest.mark.extra
def test_doctor_gives_a_fix_for_everything_that_is_not_there(program: Program) -> None:
    findings = program("doctor", "--json").json
    assert [finding for finding in findings if (finding["status"] == "ok") is bool(finding["fix"])] == []
    text = program("doctor").out
    assert all(finding["fix"] in text for finding in findings)


@pytest.mark.extra
def test_doctor_fails_where_the_data_directory_cannot_be_made(
    program: Program, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "file"))
    answer = program("doctor", "--json")
    failed = {finding["name"]: finding["fix"] for finding in answer.json if finding["status"] == "failed"}
    assert answer.code == 1
    assert failed["data directory"].startswith("export XDG_DATA_HOME=")


@pytest.mark.extra
def test_doctor_asks_the_docker_engine_and_not_the_client(program: Program, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_HOST", "tcp://127.0.0.1:1")
    [finding] = [one for one in program("doctor", "--json").json if one["name"] == "docker engine"]
    assert finding["status"] == "missing"
    assert finding["detail"].startswith("no Docker Engine answers: no Docker Engine at tcp://127.0.0.1:1: ")
    assert finding["fix"] == "correct DOCKER_HOST=tcp://127.0.0.1:1, or unset it, or start the engine that it names"


@pytest.mark.extra
def test_nothing_heavy_is_imported_to_say_the_version() -> None:
    script = (
        "import sys; from omniagents.cli import main; main(['--version']); print('omniagents_snapshot' in sys.modules)"
    )
    finished = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, env={**os.environ})
    assert finished.stdout.splitlines()[-1] == "False"


@pytest.mark.extra
def test_json_is_ascii_whatever_a_name_holds(program: Program, capsys: pytest.CaptureFixture[str]) -> None:
    from omniagents.cli.output import print_json, printable

    print_json({"path": "caf\udce9"})
    assert json.loads(capsys.readouterr().out) == {"path": "caf\udce9"}
    assert printable("a\x1b[31mb\udce9") == "a\\x1b[31mb\\udce9"


@pytest.mark.extra
def test_a_line_end_in_a_name_makes_no_line(program: Program, capsys: pytest.CaptureFixture[str]) -> None:
    from omniagents.cli.output import print_table

    print_table(["path", "size"], [["a\n-  b", "1 B"]])
    assert capsys.readouterr().out == "path     size\na\\n-  b  1 B \n"
