"""The guest's process part under attack, through ``Workspace.run`` and ``start_process``."""

from __future__ import annotations

import json
import os
import pwd
import subprocess
import sys
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from tests.core.local_backends import eventually, living, running_backend

from omniagents.backends.local_backend import LocalBackend
from omniagents.errors import GuestCallError
from omniagents.guest import loader
from omniagents.workspace import Workspace

MIB = 1 << 20


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalBackend]:
    with running_backend(tmp_path_factory.mktemp("processes")) as backend:
        yield backend


@pytest.fixture
def workspace(running: LocalBackend) -> Workspace:
    return running.workspace


@pytest.fixture
def guest_pid(workspace: Workspace) -> int:
    return int(workspace.run("echo $PPID").stdout)


@pytest.fixture
def marker() -> str:
    """A number of seconds nobody else sleeps."""
    return f"{3000 + uuid.uuid4().int % 10**6 / 10**6:.6f}"


@pytest.fixture
def somebody() -> str:
    """A user without rights, as whom a guest that is root can run commands."""
    if os.geteuid() != 0:
        pytest.skip("only root can become another user")
    return pwd.getpwuid(65534).pw_name


def peak_kib(pid: int) -> int:
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0])


def living_with(variable: str) -> set[str]:
    """The processes, not zombies, that have this in their environment."""
    return {path.parent.name for path in Path("/proc").glob("[0-9]*/environ") if variable in environment_of(path)}


def environment_of(path: Path) -> list[str]:
    try:
        return path.read_text(errors="replace").split("\0")
    except OSError:
        return []  # it ended meanwhile


def open_files(pid: int) -> int:
    return len(os.listdir(f"/proc/{pid}/fd"))


@pytest.mark.platform
@pytest.mark.parametrize("bomb", ["b() { b | b & }; b; sleep 60", "b() { b & b & wait; }; b"])
def test_a_fork_bomb_under_a_limit_is_killed_with_all_its_processes(
    workspace: Workspace, somebody: str, marker: str, bomb: str
) -> None:
    options: dict[str, Any] = {"user": somebody, "env": {"BOMB": marker}}
    harmless = workspace.start_process(["sleep", marker], **options)
    assert eventually(lambda: living_with(f"BOMB={marker}") == {str(harmless.pid)})
    harmless.kill()
    harmless.wait()
    result = workspace.run(f"ulimit -u 150; {bomb}", timeout_seconds=1, max_output_bytes=1000, **options)
    assert (result.timed_out, result.background_pids) == (True, ())
    assert living_with(f"BOMB={marker}") == set()


@pytest.mark.platform
def test_a_user_at_the_limit_of_processes_is_told_so(workspace: Workspace, somebody: str) -> None:
    command = ["python3", "-c", "import os, resource; resource.setrlimit(resource.RLIMIT_NPROC, (0, 0)); os.fork()"]
    result = workspace.run(command, user=somebody)
    assert b"Resource temporarily unavailable" in result.stderr


def test_output_without_end_on_both_streams_keeps_head_and_tail_of_each(workspace: Workspace, guest_pid: int) -> None:
    result = workspace.run("yes out & yes err >&2", timeout_seconds=1, max_output_bytes=MIB)
    assert (len(result.stdout), len(result.stderr)) == (MIB, MIB)
    assert (set(result.stdout.split()[:1000]), set(result.stderr.split()[-1000:])) == ({b"out"}, {b"err"})
    assert peak_kib(guest_pid) < 100 << 10


def test_closing_its_output_early_ends_nothing(workspace: Workspace) -> None:
    assert workspace.run("exec >&- 2>&-; sleep 0.2; exit 3").exit_code == 3


def test_ignoring_every_signal_does_not_help(workspace: Workspace, marker: str) -> None:
    result = workspace.run(f"trap '' TERM INT HUP QUIT; sleep {marker}; sleep {marker}", timeout_seconds=0.2)
    assert (result.timed_out, result.exit_code, result.signal) == (True, 137, 9)
    assert living(marker) == []


def test_a_stopped_process_is_killed_too(workspace: Workspace, marker: str) -> None:
    result = workspace.run(f"sleep {marker} & kill -STOP $!; kill -STOP $$", timeout_seconds=0.2)
    assert result.timed_out
    assert living(marker) == []


def test_a_grandchild_that_holds_the_pipe_holds_nobody_up(workspace: Workspace, marker: str) -> None:
    result = workspace.run(f"(sleep {marker} &); echo hi")
    assert result.stdout == b"hi\n"
    assert eventually(lambda: living(marker) == list(result.background_pids))
    workspace.run(["kill", *map(str, result.background_pids)])


def test_many_killed_processes_are_dead_before_the_answer(workspace: Workspace, marker: str) -> None:
    result = workspace.run(f"for i in $(seq 100); do sleep {marker} & done; wait", timeout_seconds=1)
    assert (result.timed_out, result.background_pids) == (True, ())
    assert living(marker) == []


def test_50_mib_of_input_that_nobody_reads_are_dropped(workspace: Workspace, guest_pid: int) -> None:
    assert workspace.run("exit 5", input=bytes(50 * MIB)).exit_code == 5
    assert workspace.run("exec <&-; sleep 0.1; echo hi", input=bytes(50 * MIB)).stdout == b"hi\n"
    assert peak_kib(guest_pid) < 100 << 10


def test_50_mib_go_through_a_command_in_flat_memory(workspace: Workspace, guest_pid: int) -> None:
    data = os.urandom(MIB) * 50
    assert workspace.run("cat", input=data).stdout == data
    assert peak_kib(guest_pid) < 100 << 10


def test_20_commands_run_at_once(workspace: Workspace) -> None:
    script = "touch at-once.{0}; until [ $(ls at-once.* | wc -l) = 20 ]; do sleep 0.01; done; echo {0}"
    with ThreadPoolExecutor(20) as threads:
        results = list(threads.map(lambda number: workspace.run(script.format(number)), range(20)))
    assert [result.stdout for result in results] == [b"%d\n" % number for number in range(20)]


def test_1_mib_of_arguments_arrive(workspace: Workspace) -> None:
    assert len(workspace.run(["printf", "%s", *["x" * 1024] * 1024]).stdout) == MIB


def test_arguments_over_the_systems_limit_are_refused(workspace: Workspace) -> None:
    with pytest.raises(OSError, match="Argument list too long"):
        workspace.run(["printf", "x" * (4 * MIB)])


def test_a_shell_command_of_multibyte_characters_may_be_long(workspace: Workspace) -> None:
    assert workspace.run("echo " + "é" * 90_000).stdout == ("é" * 90_000 + "\n").encode()


@pytest.mark.platform
def test_a_long_shell_command_runs_as_another_user_too(workspace: Workspace, somebody: str) -> None:
    assert workspace.run("# " + "x" * 200_000 + "\nid -un", user=somebody).stdout == somebody.encode() + b"\n"


@pytest.mark.parametrize("number", [6, 9, 11, 15])
def test_a_signalled_process_exits_with_128_and_the_signal(workspace: Workspace, number: int) -> None:
    result = workspace.run(f"ulimit -c 0; kill -{number} $$")
    assert (result.exit_code, result.signal) == (128 + number, number)


def test_a_missing_program_names_itself(workspace: Workspace) -> None:
    with pytest.raises(FileNotFoundError) as caught:
        workspace.run(["no-such-program"])
    assert caught.value.filename == "no-such-program"


def test_a_command_with_a_nul_character_is_refused(workspace: Workspace) -> None:
    with pytest.raises(GuestCallError, match=r"^a command cannot contain a NUL character$"):
        workspace.run("echo \0")


def test_no_descriptor_is_left_open(workspace: Workspace, guest_pid: int) -> None:
    def work() -> None:
        workspace.run("cat; exec >&-", input=bytes(MIB))
        workspace.run("# " + "x" * 200_000)
        workspace.run("sleep 60", timeout_seconds=0.05)
        with pytest.raises(FileNotFoundError):
            workspace.run(["no-such-program"], input=b"x")

    work()
    before = open_files(guest_pid)
    work()
    assert eventually(lambda: open_files(guest_pid) <= before)


def test_a_process_sees_no_descriptor_of_the_guest(workspace: Workspace) -> None:
    assert workspace.run(["ls", "/proc/self/fd"]).stdout.split() == [b"0", b"1", b"2", b"3"]


def test_a_stream_nobody_reads_outlives_its_process(workspace: Workspace, guest_pid: int) -> None:
    process = workspace.start_process("head -c 4300000 /dev/zero; echo done > finished")
    assert eventually(lambda: workspace.exists("finished"))
    assert sum(len(data) for _, data in process.output()) == 4_300_000
    assert process.wait().exit_code == 0
    assert int(workspace.run("echo $PPID").stdout) == guest_pid


def test_a_cancelled_stream_leaves_nothing(workspace: Workspace, guest_pid: int, marker: str) -> None:
    before = open_files(guest_pid)
    process = workspace.start_process(f"yes {marker}")
    assert eventually(lambda: living(marker))
    process._call.future.cancel()
    assert eventually(lambda: not living(marker))
    assert eventually(lambda: open_files(guest_pid) <= before)


def test_killing_a_stream_kills_its_tree(workspace: Workspace, marker: str) -> None:
    process = workspace.start_process(f"setsid sleep {marker} & sleep {marker}")
    assert eventually(lambda: len(living(marker)) == 2)
    process.kill()
    assert process.wait().signal == 9
    assert living(marker) == []


def test_calls_that_end_together_each_keep_their_own_processes(workspace: Workspace, marker: str) -> None:
    with ThreadPoolExecutor(8) as threads:
        results = list(threads.map(lambda _: workspace.run(f"sleep {marker} & echo $!"), range(8)))
    assert [result.background_pids for result in results] == [(int(result.stdout),) for result in results]
    workspace.run(["kill", *(result.stdout.decode().strip() for result in results)])


# A guest's own part, in a process of its own: which becomes the parent of what its commands leave behind.
ONE_ENDS_WHILE_ANOTHER_IS_COLLECTED = """
import json, os, selectors, sys
from omniagents.guest import kernel
from omniagents.guest.process import Processes
from omniagents.guest.root import Root

class Call:
    credit = 0
    def __init__(self, id):
        self.id = id
    def reply(self, value, payload):
        print(json.dumps([int(payload), value["background_pids"]]))
        os.kill(int(payload), 9)

kernel.subreaper()
processes = Processes(Root(sys.argv[1]), selectors.DefaultSelector(), {"PATH": os.defpath}, lambda work: work())
for id in range(2):
    processes.start(Call(id), {"command": "sleep 1000 >/dev/null & echo $!"}, b"", False)
first, second = processes._by_pid
for pid in (first, second):
    os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
reap, kernel.reap = kernel.reap, lambda: [os.waitpid(first, 0)]
processes.collect()
kernel.reap = reap
processes.collect()
"""


def test_what_a_call_leaves_that_ends_while_another_is_collected_is_its_own(tmp_path: Path) -> None:
    program = [sys.executable, "-c", ONE_ENDS_WHILE_ANOTHER_IS_COLLECTED, str(tmp_path)]
    answers = [json.loads(line) for line in subprocess.check_output(program, text=True).splitlines()]
    assert [left for _, left in answers] == [[pid] for pid, _ in answers]
    assert len(answers) == 2


def test_the_guest_takes_names_and_commands_as_utf_8_in_any_locale() -> None:
    argv = loader.command([sys.executable], text=False, nonce="")
    options = argv[: argv.index(loader.PROGRAM)]
    printed = subprocess.run([*options, "import sys; print(sys.flags.utf8_mode)"], stdout=subprocess.PIPE, check=True)
    assert printed.stdout == b"1\n"


def test_shutdown_kills_what_was_left_behind(tmp_path: Path, marker: str) -> None:
    with running_backend(tmp_path) as backend:
        backend.workspace.run(f"setsid sleep {marker} & sleep {marker} &")
        assert eventually(lambda: len(living(marker)) == 2)
    assert living(marker) == []
