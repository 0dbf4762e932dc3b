"""``Workspace.start_process``: a command that one talks with."""

from __future__ import annotations

import asyncio
import os
import signal

import pytest

from omniagents.backends.base import Backend
from omniagents.errors import PathOutsideWorkspaceError
from omniagents.testing._support import BackendTests, alive, until
from omniagents.workspace import Process, Workspace

__all__ = ["StreamTests"]


def _line(process: Process) -> bytes:
    """The next output up to a line feed."""
    line = b""
    for _, data in process.output():
        line += data
        if line.endswith(b"\n"):
            break
    return line


class StreamTests(BackendTests):
    """Output as it comes, input, signals, the end."""

    def test_output_comes_while_the_command_runs_and_waits_for_input(self, workspace: Workspace) -> None:
        process = workspace.start_process("echo ready; read line; echo got $line; exit 4")
        assert _line(process) == b"ready\n"
        process.write(b"hello\n")
        assert _line(process) == b"got hello\n"
        assert process.wait().exit_code == 4

    def test_every_piece_says_which_stream_it_is_of(self, workspace: Workspace) -> None:
        process = workspace.start_process("echo out; echo err >&2")
        pieces = list(process.output())
        assert sorted(pieces) == [("stderr", b"err\n"), ("stdout", b"out\n")]

    def test_merged_streams_are_one(self, workspace: Workspace) -> None:
        process = workspace.start_process("echo out; echo err >&2; echo out", merge_streams=True)
        pieces = list(process.output())
        assert b"".join(data for _, data in pieces) == b"out\nerr\nout\n"
        assert {stream for stream, _ in pieces} == {"stdout"}

    def test_closing_the_input_is_end_of_file(self, workspace: Workspace) -> None:
        process = workspace.start_process("cat; echo end")
        process.write(b"one ")
        process.write(b"two ")
        process.close_input()
        assert b"".join(data for _, data in process.output()) == b"one two end\n"

    def test_large_input_and_output_are_exact(self, workspace: Workspace) -> None:
        content = os.urandom(8 << 20)
        process = workspace.start_process("cat")

        async def feed_and_read() -> bytes:
            def feed() -> None:
                process.write(content)
                process.close_input()

            feeding = asyncio.create_task(asyncio.to_thread(feed))
            read = b"".join([data async for _, data in process.aoutput()])
            await feeding
            return read

        assert asyncio.run(feed_and_read()) == content
        assert process.wait().exit_code == 0

    def test_its_pid_is_the_commands(self, backend: Backend) -> None:
        process = backend.workspace.start_process("echo $$; cat")
        assert int(_line(process)) == process.pid
        assert alive(backend, process.pid) == [process.pid]
        process.close_input()
        process.wait()

    def test_variables_and_directory_are_as_for_run(self, workspace: Workspace) -> None:
        workspace.make_dir("sub")
        process = workspace.start_process('printf %s "$X"; basename "$PWD"', cwd="sub", env={"X": "it's "})
        assert b"".join(data for _, data in process.output()) == b"it's sub\n"

    def test_a_signal_reaches_it(self, workspace: Workspace) -> None:
        process = workspace.start_process("trap 'echo caught; exit 5' INT; echo ready; while :; do sleep 0.02; done")
        assert _line(process) == b"ready\n"
        process.send_signal(signal.SIGINT)
        assert _line(process) == b"caught\n"
        assert process.wait().exit_code == 5

    def test_kill_ends_its_whole_tree(self, backend: Backend) -> None:
        process = backend.workspace.start_process("setsid sleep 300 & echo $! $$; wait")
        pids = [int(pid) for pid in _line(process).split()]
        process.kill()
        result = process.wait()
        assert (result.exit_code, result.signal) == (137, 9)
        until(lambda: not alive(backend, *pids), "its tree is killed")

    def test_signalling_what_has_ended_is_process_lookup_error_and_killing_it_is_nothing(
        self, workspace: Workspace
    ) -> None:
        process = workspace.start_process("true")
        process.wait()
        with pytest.raises(ProcessLookupError):
            process.send_signal(signal.SIGTERM)
        process.kill()

    def test_waiting_again_gives_the_same_result(self, workspace: Workspace) -> None:
        process = workspace.start_process("exit 6")
        assert process.wait() == process.wait()
        assert process.wait().exit_code == 6

    def test_a_time_limit_ends_it(self, workspace: Workspace) -> None:
        process = workspace.start_process("echo out; sleep 300", timeout_seconds=0.3)
        assert b"".join(data for _, data in process.output()) == b"out\n"
        assert (process.wait().timed_out, process.wait().exit_code) == (True, 137)

    def test_a_process_of_a_missing_program_is_file_not_found(self, workspace: Workspace) -> None:
        process = workspace.start_process(["no-such-program"])
        with pytest.raises(FileNotFoundError) as raised:
            _ = process.pid
        assert raised.value.filename == "no-such-program"
        with pytest.raises(FileNotFoundError):
            process.wait()

    def test_a_process_outside_needs_to_be_asked_for(self, workspace: Workspace) -> None:
        with pytest.raises(PathOutsideWorkspaceError):
            workspace.start_process("pwd", cwd="/").wait()
        assert workspace.start_process("pwd", cwd="/", outside=True).wait().exit_code == 0

    def test_output_nobody_reads_does_not_pile_up(self, backend: Backend) -> None:
        process = backend.workspace.start_process("yes")
        pieces = process.output()
        read = 0
        while read < 1 << 20:
            read += len(next(pieces)[1])
        others = [backend.workspace.run("echo on").stdout for _ in range(5)]
        assert others == [b"on\n"] * 5
        process.kill()
        assert process.wait().signal == 9

    def test_many_processes_stream_at_once(self, workspace: Workspace) -> None:
        processes = [workspace.start_process(f"cat; echo {number}") for number in range(8)]
        for process in reversed(processes):
            process.close_input()
        printed = [b"".join(data for _, data in process.output()) for process in processes]
        assert printed == [b"%d\n" % number for number in range(8)]

    def test_cancelling_who_waits_for_it_kills_it(self, backend: Backend) -> None:
        process = backend.workspace.start_process("echo ready; sleep 300")
        assert _line(process) == b"ready\n"

        async def give_up() -> None:
            waiting = asyncio.create_task(process.await_())
            await asyncio.sleep(0)
            waiting.cancel()
            with pytest.raises(asyncio.CancelledError):
                await waiting

        asyncio.run(give_up())
        until(lambda: not alive(backend, process.pid), "it is killed")
