"""``Workspace.run``: one command, to its end."""

from __future__ import annotations

import hashlib
import os
import signal

import pytest

from omniagents.backends.base import Backend
from omniagents.errors import GuestCallError, PathOutsideWorkspaceError
from omniagents.testing._support import BackendTests
from omniagents.workspace import Workspace

__all__ = ["RunningTests"]


class RunningTests(BackendTests):
    """What a command is given, and what is known of it afterwards."""

    def test_a_string_runs_in_a_shell(self, workspace: Workspace) -> None:
        assert workspace.run('echo $((6 * 7)) | tr 4 x && printf %s "a  b"').stdout == b"x2\na  b"

    def test_a_sequence_is_an_argv_that_no_shell_sees(self, workspace: Workspace) -> None:
        workspace.write_bytes("file.txt", b"")
        arguments = ["a  b", "$HOME", "*", "", "it's", 'say "x"', "new\nline", "back\\slash", "émoji 🎉", "; exit 9"]
        result = workspace.run(["printf", "<%s>", *arguments])
        assert result.stdout.decode() == "".join(f"<{argument}>" for argument in arguments)

    def test_a_command_runs_in_the_workspace(self, workspace: Workspace) -> None:
        workspace.write_bytes("here.txt", b"x")
        assert workspace.run("ls").stdout == b"here.txt\n"
        assert workspace.run("pwd -P").stdout_text == workspace.root + "\n"

    def test_a_command_runs_in_the_directory_it_is_told(self, workspace: Workspace) -> None:
        workspace.write_bytes("with space/here.txt", b"x")
        assert workspace.run("ls", cwd="with space").stdout == b"here.txt\n"
        assert workspace.run("ls", cwd=workspace.root + "/with space").stdout == b"here.txt\n"

    def test_a_missing_directory_is_file_not_found(self, workspace: Workspace) -> None:
        with pytest.raises(FileNotFoundError) as raised:
            workspace.run("true", cwd="missing")
        assert raised.value.filename == "missing"

    def test_a_file_as_directory_is_not_a_directory(self, workspace: Workspace) -> None:
        workspace.write_bytes("a.txt", b"x")
        with pytest.raises(NotADirectoryError) as raised:
            workspace.run("true", cwd="a.txt")
        assert raised.value.filename == "a.txt"

    def test_a_directory_outside_needs_to_be_asked_for(self, workspace: Workspace) -> None:
        with pytest.raises(PathOutsideWorkspaceError):
            workspace.run("pwd", cwd="/")
        assert workspace.run("pwd", cwd="/", outside=True).stdout == b"/\n"

    def test_variables_are_added_for_one_command_only(self, workspace: Workspace) -> None:
        value = 'it\'s "$HOME"\nand more'
        assert workspace.run('printf %s "$GREETING"', env={"GREETING": value}).stdout_text == value
        assert workspace.run('printf %s "${GREETING-unset} ${PATH:+path}"').stdout == b"unset path"

    def test_a_directory_change_does_not_outlive_its_command(self, workspace: Workspace) -> None:
        workspace.run("mkdir sub && cd sub")
        assert workspace.run("ls").stdout == b"sub\n"

    def test_input_is_what_the_command_reads_and_then_end_of_file(self, workspace: Workspace) -> None:
        assert workspace.run("cat; echo end", input=b"\0\xff\r\n\x04").stdout == b"\0\xff\r\n\x04end\n"

    def test_without_input_the_command_reads_end_of_file(self, workspace: Workspace) -> None:
        assert workspace.run("cat; echo end").stdout == b"end\n"

    def test_fifty_mebibytes_go_in_and_come_out(self, workspace: Workspace) -> None:
        content = os.urandom(1 << 20) * 50
        result = workspace.run("cat", input=content)
        assert len(result.stdout) == len(content)
        assert hashlib.sha256(result.stdout).digest() == hashlib.sha256(content).digest()
        assert not result.truncated

    def test_input_that_is_not_read_holds_nothing_up(self, workspace: Workspace) -> None:
        assert workspace.run("exec true", input=bytes(20 << 20)).exit_code == 0

    def test_a_mebibyte_of_arguments_works(self, backend: Backend) -> None:
        arguments = [letter * 100_000 for letter in "abcdefghij"]
        program = "import sys; print(sum(map(len, sys.argv[1:])))"
        result = backend.workspace.run([*backend.python, "-c", program, *arguments])
        assert result.stdout == b"1000000\n"

    def test_a_mebibyte_of_shell_script_works(self, workspace: Workspace) -> None:
        script = "\n".join([": " + "x" * 1000] * 1000) + "\necho end; exit 3"
        result = workspace.run(script)
        assert (result.exit_code, result.stdout, result.stderr) == (3, b"end\n", b"")

    @pytest.mark.parametrize("code", [0, 1, 2, 124, 126, 127, 255])
    def test_an_exit_code_is_an_answer(self, workspace: Workspace, code: int) -> None:
        result = workspace.run(f"echo out; exit {code}")
        assert (result.exit_code, result.signal, result.timed_out, result.stdout) == (code, None, False, b"out\n")

    @pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL, signal.SIGSEGV])
    def test_a_signal_is_an_answer(self, backend: Backend, number: signal.Signals) -> None:
        program = f"import os; os.kill(os.getpid(), {int(number)})"
        result = backend.workspace.run([*backend.python, "-c", program])
        assert (result.exit_code, result.signal) == (128 + number, number)

    def test_a_missing_program_is_file_not_found(self, workspace: Workspace) -> None:
        with pytest.raises(FileNotFoundError) as raised:
            workspace.run(["no-such-program", "x"])
        assert raised.value.filename == "no-such-program"

    def test_a_program_that_may_not_be_run_is_permission_denied(self, workspace: Workspace) -> None:
        workspace.write_bytes("a.sh", b"#!/bin/sh\n", mode=0o644)
        with pytest.raises(PermissionError):
            workspace.run(["./a.sh"])

    def test_an_empty_command_is_refused(self, workspace: Workspace) -> None:
        with pytest.raises(GuestCallError) as raised:
            workspace.run([])
        assert raised.value.code == "INVALID_ARGUMENTS"

    def test_an_unknown_user_is_refused(self, workspace: Workspace) -> None:
        with pytest.raises((GuestCallError, PermissionError), match=r"no-such-user|not permitted"):
            workspace.run("true", user="no-such-user")

    def test_output_and_errors_are_apart(self, workspace: Workspace) -> None:
        result = workspace.run("echo out; echo err >&2; echo out2")
        assert (result.stdout, result.stderr) == (b"out\nout2\n", b"err\n")

    def test_merged_streams_are_in_arrival_order(self, workspace: Workspace) -> None:
        result = workspace.run("for i in 1 2 3 4 5; do echo out $i; echo err $i >&2; done", merge_streams=True)
        expected = "".join(f"out {i}\nerr {i}\n" for i in range(1, 6))
        assert (result.stdout_text, result.stderr) == (expected, b"")

    def test_output_is_bytes_and_its_text_shows_what_cannot_be_decoded(self, workspace: Workspace) -> None:
        result = workspace.run(r"printf 'caf\351 \000 \303\251'; printf '\377' >&2")
        assert (result.stdout, result.stdout_text) == (b"caf\xe9 \0 \xc3\xa9", "caf\ufffd \0 é")
        assert (result.stderr, result.stderr_text) == (b"\xff", "\ufffd")

    def test_output_of_exactly_the_limit_is_whole(self, workspace: Workspace) -> None:
        result = workspace.run("printf 0123456789", max_output_bytes=10)
        assert (result.stdout, result.truncated) == (b"0123456789", False)

    def test_of_more_output_than_the_limit_the_first_fifth_and_the_end_are_kept(self, backend: Backend) -> None:
        program = "import sys; sys.stdout.write(''.join('%09d\\n' % n for n in range(200000)))"
        whole = b"".join(b"%09d\n" % number for number in range(200_000))
        result = backend.workspace.run([*backend.python, "-c", program], max_output_bytes=100_000)
        assert result.truncated
        assert result.stdout == whole[:20_000] + whole[-80_000:]

    def test_each_stream_has_the_limit_for_itself(self, workspace: Workspace) -> None:
        result = workspace.run("printf 0123456789ABCDEF; printf err >&2", max_output_bytes=10)
        assert (result.stdout, result.stderr, result.truncated) == (b"0189ABCDEF", b"err", True)

    def test_the_duration_is_the_commands(self, workspace: Workspace) -> None:
        assert workspace.run("sleep 0.05").duration_seconds >= 0.05
