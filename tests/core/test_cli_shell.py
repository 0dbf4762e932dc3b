"""``omniagents shell``: lines go to one shell; where each line's output ends is found whatever the pieces are."""

from __future__ import annotations

import itertools
import os
import pty
import signal
import subprocess

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.core.cli_support import Program

pytestmark = pytest.mark.extra


def piped(program: Program, text: str, *options: str) -> tuple[int, str]:
    """What the shell prints for lines from a pipe, and its exit code."""
    process = program.process("shell", *options, "alice", stderr=subprocess.STDOUT)
    output, _ = process.communicate(text.encode())
    return process.returncode, output.decode()


@given(
    outputs=st.lists(st.binary(max_size=40).filter(lambda data: b"MARK" not in data), min_size=1, max_size=4),
    cuts=st.lists(st.integers(0, 200), max_size=8),
)
def test_marks_are_found_in_any_pieces(outputs: list[bytes], cuts: list[int]) -> None:
    from omniagents.cli.shell import Finished, Lines

    whole = b"".join(output + b"MARK%d 7 /home/a b\n" % number for number, output in enumerate(outputs))
    bounds = [0, *sorted(min(cut, len(whole)) for cut in cuts), len(whole)]
    lines = Lines(b"MARK")
    pieces = [whole[start:end] for start, end in itertools.pairwise(bounds)]
    parts = [part for piece in pieces for part in lines.feed(piece)]
    assert [part for part in parts if isinstance(part, Finished)] == [
        Finished(number, 7, "/home/a b") for number in range(len(outputs))
    ]
    assert b"".join(part for part in parts if isinstance(part, bytes)) == b"".join(outputs)


def test_directory_variables_and_functions_last(program: Program) -> None:
    text = 'mkdir sub; cd sub\nX=5\nf() { echo "f $X"; }\nf\nbasename $PWD\n'
    assert piped(program, text, "-s", "none") == (0, "f 5\nsub\n")


def test_the_workspace_is_saved_at_the_end(program: Program) -> None:
    piped(program, "echo kept > a.txt\n")
    assert piped(program, "cat a.txt\n") == (0, "kept\n")


def test_the_exit_code_is_that_of_the_last_line(program: Program) -> None:
    assert piped(program, "true\nfalse\n", "-s", "none")[0] == 1


def test_exit_ends_the_shell_with_its_code(program: Program) -> None:
    code, output = piped(program, "exit 4\necho never\n", "-s", "none")
    assert code == 4
    assert "never" not in output


def test_a_command_cannot_eat_the_next_line(program: Program) -> None:
    assert piped(program, "cat\necho next\n", "-s", "none") == (0, "next\n")


def test_an_unfinished_line_is_an_error_of_its_own(program: Program) -> None:
    code, output = piped(program, "echo 'a\necho next\n", "-s", "none")
    assert code == 0
    assert output.endswith("\nnext\n")


def test_a_backslash_goes_on_in_the_next_line(program: Program) -> None:
    assert piped(program, "echo a \\\nb\n", "-s", "none") == (0, "a b\n")


def test_output_without_a_line_end_is_shown_as_it_is(program: Program) -> None:
    assert piped(program, "printf a\nprintf b\n", "-s", "none") == (0, "ab")


def test_ctrl_c_interrupts_the_line_and_not_the_shell(program: Program) -> None:
    ours, theirs = pty.openpty()
    process = program.process("shell", "-s", "none", "alice", stdin=theirs, stdout=theirs, stderr=theirs)
    os.close(theirs)
    screen = _Screen(ours)
    screen.until(b"alice:~$ ")
    os.write(ours, b"X=kept; sh -c 'echo started; exec sleep 600'; echo $?\n")
    # Not before: a shell that is about to start a program may miss an interrupt.
    screen.until(b"\nstarted")
    process.send_signal(signal.SIGINT)
    screen.until(b"alice:~$ ")
    os.write(ours, b"echo X is $X\n")
    screen.until(b"X is kept")
    os.write(ours, b"exit 3\n")
    assert process.wait() == 3
    os.close(ours)


class _Screen:
    """What a terminal shows."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._shown = b""

    def until(self, text: bytes) -> None:
        """Read until ``text`` is shown; it and what is before it are then done with."""
        while text not in self._shown.replace(b"\r", b""):
            self._shown += os.read(self._descriptor, 4096)
        self._shown = self._shown.replace(b"\r", b"").partition(text)[2]
