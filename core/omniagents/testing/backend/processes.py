"""Time limits, whole trees of processes, and those that are left running."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from omniagents.backends.base import Backend
from omniagents.testing._support import BackendTests, alive, until
from omniagents.workspace import Workspace

__all__ = ["ProcessTests"]


class ProcessTests(BackendTests):
    """What a command starts ends with it when it is killed, and lives on when it is not."""

    def test_a_time_limit_is_a_result_with_the_output_until_then(self, workspace: Workspace) -> None:
        result = workspace.run("echo out; echo err >&2; sleep 300; echo never", timeout_seconds=0.5)
        assert (result.timed_out, result.stdout, result.stderr) == (True, b"out\n", b"err\n")
        assert (result.exit_code, result.signal) == (137, 9)

    def test_a_command_within_its_time_limit_has_not_timed_out(self, workspace: Workspace) -> None:
        result = workspace.run("echo out", timeout_seconds=60)
        assert (result.timed_out, result.exit_code, result.stdout) == (False, 0, b"out\n")

    def test_at_its_time_limit_a_whole_tree_is_killed(self, backend: Backend) -> None:
        script = "echo $$; sleep 300 & echo $!; setsid sleep 300 & echo $!; nohup sh -c 'sleep 300' & echo $!; wait"
        result = backend.workspace.run(script, timeout_seconds=0.5)
        pids = [int(pid) for pid in result.stdout.split()]
        assert (result.timed_out, len(pids)) == (True, 4)
        until(lambda: not alive(backend, *pids), "all of the tree is killed")

    def test_a_command_that_ignores_signals_is_killed_at_its_time_limit(self, backend: Backend) -> None:
        result = backend.workspace.run("trap '' TERM INT HUP; echo $$; while :; do sleep 1; done", timeout_seconds=0.5)
        pid = int(result.stdout)
        assert result.timed_out
        until(lambda: not alive(backend, pid), "it is killed")

    def test_output_without_end_is_bounded(self, workspace: Workspace) -> None:
        result = workspace.run("yes", timeout_seconds=0.5, max_output_bytes=1 << 20)
        assert (result.timed_out, result.truncated, len(result.stdout)) == (True, True, 1 << 20)
        assert result.stdout[:2] == b"y\n"

    def test_a_command_is_done_when_it_exits_whoever_holds_its_output(self, backend: Backend) -> None:
        result = backend.workspace.run("sleep 300 & echo $!")
        pid = int(result.stdout)
        with _killed(backend, pid):
            assert (result.exit_code, result.background_pids) == (0, (pid,))
            assert alive(backend, pid) == [pid]

    def test_a_process_left_running_serves_later_commands(self, backend: Backend) -> None:
        backend.workspace.run("mkfifo in out")
        result = backend.workspace.run('(while read line < in; do echo "got $line" > out; done) & echo $!')
        with _killed(backend, *result.background_pids):
            answer = backend.workspace.run("echo hello > in; cat out", timeout_seconds=30)
            assert answer.stdout == b"got hello\n"

    def test_a_later_time_limit_leaves_processes_of_earlier_commands_alone(self, backend: Backend) -> None:
        pid = int(backend.workspace.run("sleep 300 & echo $!").stdout)
        with _killed(backend, pid):
            assert backend.workspace.run("sleep 300", timeout_seconds=0.2).timed_out
            assert alive(backend, pid) == [pid]

    def test_orphans_leave_no_zombies_behind(self, backend: Backend) -> None:
        backend.workspace.run("for i in 1 2 3 4 5; do (sleep 0.1 &) ; done")
        own = "import os; print(*[s.split()[1] for s in os.popen('ps -A -o ppid=,stat= 2>/dev/null') if ' Z' in s])"

        def zombies_of_the_guest() -> bool:
            result = backend.workspace.run(["sh", "-c", 'echo $PPID; exec "$@"', "sh", *backend.python, "-c", own])
            guest, *rest = result.stdout_text.split("\n")
            return guest in rest[0].split()

        until(lambda: not zombies_of_the_guest(), "ended orphans are collected")


@contextlib.contextmanager
def _killed(backend: Backend, *pids: int) -> Iterator[None]:
    """Kill these processes when the test is over."""
    try:
        yield
    finally:
        backend.workspace.run(["kill", "-9", *map(str, pids)])
