"""``omniagents run``: output as it comes, the command's exit code, and a workspace that is saved whatever happens."""

from __future__ import annotations

import signal
import subprocess

import pytest
from tests.core.cli_support import Program

pytestmark = pytest.mark.extra


def test_the_next_run_finds_what_the_last_one_left(program: Program) -> None:
    assert program("run", "alice", "--", "echo hello > a.txt").code == 0
    assert program("run", "alice", "--", "cat", "a.txt").out == "hello\n"
    assert program("run", "bob", "--", "ls").out == ""


def test_one_argument_is_a_shell_line_and_several_are_an_argv(program: Program) -> None:
    assert program("run", "-s", "none", "alice", "--", "echo $((1+1)) | cat").out == "2\n"
    assert program("run", "-s", "none", "alice", "--", "echo", "$((1+1))").out == "$((1+1))\n"


def test_streams_stay_apart_and_the_exit_code_is_the_commands(program: Program) -> None:
    assert program("run", "-s", "none", "alice", "--", "echo out; echo err >&2; exit 7") == (7, "out\n", "err\n")


def test_a_killed_command_is_128_and_the_signal(program: Program) -> None:
    assert program("run", "-s", "none", "alice", "--", "kill -9 $$").code == 137


def test_an_unknown_program_is_127_as_in_a_shell(program: Program) -> None:
    answer = program("run", "-s", "none", "alice", "--", "no-such-program", "x")
    assert answer == (127, "", "omniagents: No such file or directory: 'no-such-program'\n")


def test_a_timeout_is_124_with_the_output_until_then(program: Program) -> None:
    answer = program("run", "-s", "none", "--timeout", "0.5", "alice", "--", "echo up; sleep 60")
    assert answer == (124, "up\n", "omniagents: timed out after 0.5 s; its processes were killed\n")


def test_variables_are_passed_and_nothing_else_of_this_process(
    program: Program, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SECRET", "s3cret")
    assert program("run", "-s", "none", "-e", "A=1=2", "alice", "--", 'echo "$A-$SECRET"').out == "1=2-\n"


def test_a_variable_without_a_value_is_wrong_usage(program: Program) -> None:
    answer = program("run", "-e", "A", "alice", "--", "true")
    assert answer.code == 2
    assert "NAME=VALUE is needed, not 'A'" in answer.err


def test_an_option_the_backend_does_not_take_is_wrong_usage(program: Program) -> None:
    answer = program("run", "-s", "none", "--backend-option", "workspace_dri=x", "alice", "--", "true")
    assert answer.code == 2
    assert "takes no option 'workspace_dri' (did you mean 'workspace_dir'?)" in answer.err


def test_a_preset_prepares_the_workspace(program: Program) -> None:
    assert program("run", "-s", "none", "-p", "python-uv", "alice", "--", "echo $UV_NO_PROGRESS").out == "1\n"


def test_no_save_discards_what_changed(program: Program) -> None:
    program("run", "--no-save", "alice", "--", "touch a.txt")
    assert program("run", "alice", "--", "ls").out == ""


def test_standard_input_is_empty_unless_it_is_asked_for(program: Program) -> None:
    for options, expected in (((), b""), (("--stdin",), b"HELLO\n")):
        process = program.process("run", "-s", "none", *options, "alice", "--", "tr", "a-z", "A-Z")
        assert process.communicate(b"hello\n") == (expected, b"")


def test_output_comes_while_the_command_runs(program: Program) -> None:
    process = program.process("run", "-s", "none", "-i", "alice", "--", "echo first; read x; echo second")
    assert process.stdout is not None
    assert process.stdin is not None
    assert process.stdout.readline() == b"first\n"
    process.stdin.write(b"go on\n")
    assert process.communicate()[0] == b"second\n"


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_an_interruption_ends_the_whole_tree_and_still_saves(
    program: Program, number: signal.Signals, code: int
) -> None:
    process = program.process("run", "alice", "--", "sleep 600 & echo $! > pid; echo up; sleep 600")
    assert process.stdout is not None
    assert process.stdout.readline() == b"up\n"
    process.send_signal(number)
    _, errors = process.communicate()
    assert (process.returncode, errors) == (code, b"")
    pid = program("run", "alice", "--", "cat", "pid").out.strip()
    assert subprocess.run(["ps", "-p", pid, "-o", "pid="], capture_output=True).stdout == b""


def test_what_a_command_says_when_it_is_interrupted_is_shown(program: Program) -> None:
    line = "trap 'echo cleaned up; exit 3' INT; echo up; sleep 600"
    process = program.process("run", "-s", "none", "alice", "--", line)
    assert process.stdout is not None
    assert process.stdout.readline() == b"up\n"
    process.send_signal(signal.SIGINT)
    assert process.communicate() == (b"cleaned up\n", b"")
    assert process.returncode == 130


def test_a_second_interruption_kills_a_command_that_goes_on(program: Program) -> None:
    line = "trap 'echo asked' INT; echo up; while :; do sleep 600; done"
    process = program.process("run", "-s", "none", "alice", "--", line)
    assert process.stdout is not None
    assert process.stdout.readline() == b"up\n"
    process.send_signal(signal.SIGINT)
    assert process.stdout.readline() == b"asked\n"
    process.send_signal(signal.SIGINT)
    process.communicate()
    assert process.returncode == 130
