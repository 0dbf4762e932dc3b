"""run_shell_command through a real LocalBackend."""

from __future__ import annotations

import asyncio
import os
import re
import resource
import socket
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.core.local_backends import eventually, living, running_backend

from omniagents.backends.local_backend import LocalBackend
from omniagents.guest.protocol import PREAMBLE
from omniagents.tools.base import ToolResult
from omniagents.tools.read_file_tool import ReadFileTool
from omniagents.tools.run_shell_command_tool import RunShellCommandTool


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalBackend]:
    with running_backend(tmp_path_factory.mktemp("shell")) as backend:
        yield backend


@pytest.fixture
def tool(running: LocalBackend) -> RunShellCommandTool:
    return RunShellCommandTool(backend=running)


@pytest.fixture
def root(running: LocalBackend) -> Path:
    return Path(running.workspace.root)


@pytest.fixture
def marker() -> str:
    """A number of seconds nobody else sleeps."""
    return f"{3000 + uuid.uuid4().int % 10**6 / 10**6:.6f}"


def log_of(result: ToolResult, root: Path) -> bytes:
    path: str = result.data["output_file"]
    return (root / path).read_bytes()


def test_the_content_is_the_output_without_its_last_line_feed(tool: RunShellCommandTool) -> None:
    result = tool.execute(command="""python -c "print('Hello!')" """)
    assert (result.content, result.is_error, result.error_type) == ("Hello!", False, None)


def test_aexecute_does_the_same(tool: RunShellCommandTool) -> None:
    assert asyncio.run(tool.aexecute(command="echo one; echo two")).content == "one\ntwo"


def test_the_facts_of_a_command(tool: RunShellCommandTool) -> None:
    data = tool.execute(command="echo hi").data
    assert data.pop("pid") > 0
    assert 0 <= data.pop("duration_seconds") < 60
    assert data == {"exit_code": 0, "signal": None, "timed_out": False, "background_pids": [], "output_file": None}


def test_silence_is_said(tool: RunShellCommandTool) -> None:
    assert tool.execute(command="true").content == "(no output)"


def test_a_failure_shows_the_output_and_the_exit_code(tool: RunShellCommandTool) -> None:
    result = tool.execute(command="echo wrong >&2; exit 7")
    assert (result.content, result.is_error, result.error_type) == ("wrong\n[exit code: 7]", True, "COMMAND_FAILED")
    assert result.data["exit_code"] == 7


def test_a_signal_is_named(tool: RunShellCommandTool) -> None:
    result = tool.execute(command="kill -9 $$")
    assert result.content == "(no output)\n[killed by signal 9 (SIGKILL)]"
    assert (result.error_type, result.data["exit_code"], result.data["signal"]) == ("COMMAND_FAILED", 137, 9)


def test_both_streams_come_in_the_order_they_were_written(tool: RunShellCommandTool) -> None:
    assert tool.execute(command="echo 1; echo 2 >&2; echo 3; echo 4 >&2").content == "1\n2\n3\n4"


def test_standard_input_is_at_its_end(tool: RunShellCommandTool) -> None:
    assert tool.execute(command="cat; read line; echo $?").content == "1"


def test_calls_share_no_shell(tool: RunShellCommandTool) -> None:
    tool.execute(command="cd /; export LEFT=behind")
    assert tool.execute(command='pwd -P; echo "[$LEFT]"').content.endswith("workspace\n[]")


def test_the_command_is_given_to_the_shell_as_it_is(tool: RunShellCommandTool) -> None:
    command = "cat <<'END'\n$HOME `id` \"quoted\" \\ é 🎉\nEND"
    assert tool.execute(command=command).content == '$HOME `id` "quoted" \\ é 🎉'


def test_a_command_over_128_kib_works(tool: RunShellCommandTool) -> None:
    assert tool.execute(command=f"# {'é' * 200_000}\necho $#; cat; echo end").content == "0\nend"


def test_the_directory_may_be_named(tool: RunShellCommandTool, root: Path) -> None:
    (root / "package").mkdir()
    assert tool.execute(command="pwd -P", directory="package").content == str(root / "package")
    assert tool.execute(command="pwd -P", dir_path=str(root / "package")).content == str(root / "package")


def test_a_missing_directory_names_similar_ones(tool: RunShellCommandTool, root: Path) -> None:
    (root / "source").mkdir()
    result = tool.execute(command="ls", directory="sorce")
    assert result.content == "sorce does not exist. Similar directories: source"
    assert result.error_type == "FILE_NOT_FOUND"


def test_a_file_is_no_directory_to_run_in(tool: RunShellCommandTool, root: Path) -> None:
    (root / "a.txt").write_text("")
    result = tool.execute(command="ls", directory="a.txt")
    assert result.content == "a.txt is not a directory; the directory to run in is needed"
    assert result.error_type == "NOT_A_DIRECTORY"


def test_a_directory_outside_the_workspace_is_refused(tool: RunShellCommandTool, root: Path) -> None:
    (root / "way-out").symlink_to("/")
    for directory in ("/etc", "..", "way-out"):
        assert tool.execute(command="ls", directory=directory).error_type == "PATH_OUTSIDE_WORKSPACE"


@pytest.mark.parametrize("timeout", [0, -1, 3601, True, 1.5, "soon"])
def test_a_timeout_that_is_no_number_of_seconds_up_to_an_hour_is_refused(
    tool: RunShellCommandTool, timeout: object
) -> None:
    assert tool.execute(command="true", timeout=timeout).error_type == "INVALID_ARGUMENTS"


@pytest.mark.parametrize(
    ("command", "reason"),
    [("", "the command is empty"), (" \n", "the command is empty"), ("a\0b", "NUL"), ("a\ud800", "surrogate")],
)
def test_a_command_no_shell_takes_is_refused(tool: RunShellCommandTool, command: str, reason: str) -> None:
    result = tool.execute(command=command)
    assert result.error_type == "INVALID_ARGUMENTS"
    assert reason in result.content


def test_nothing_pages_or_prompts(tool: RunShellCommandTool) -> None:
    command = 'echo "$PAGER $GIT_PAGER $MANPAGER $SYSTEMD_PAGER $GIT_TERMINAL_PROMPT $PIP_NO_INPUT $DEBIAN_FRONTEND"'
    assert tool.execute(command=command).content == "cat cat cat cat 0 1 noninteractive"


def test_the_environment_of_the_user_wins_over_the_defaults(tmp_path: Path) -> None:
    with running_backend(tmp_path, environment={"PAGER": "most"}) as backend:
        assert RunShellCommandTool(backend=backend).execute(command="echo $PAGER $GIT_PAGER").content == "most cat"


def test_secrets_of_the_host_are_not_passed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET_TOKEN", "hidden")
    with running_backend(tmp_path) as backend:
        assert "SECRET_TOKEN" not in RunShellCommandTool(backend=backend).execute(command="env").content


def test_terminal_control_is_removed(tool: RunShellCommandTool) -> None:
    result = tool.execute(command=r"printf '\033[1mbold\033[0m \377\0\n10%%\r100%%\ndos\r\n'")
    assert result.content == (
        "bold \ufffd\ufffd\n100%\ndos\r\n[left out: 1 update overwritten after a carriage return]"
    )


def test_long_output_shows_its_first_fifth_and_last_four_fifths(tool: RunShellCommandTool, root: Path) -> None:
    result = tool.execute(command="seq 20000")
    log = result.data["output_file"]
    marker = (
        "[Lines 1-2,221 and 13,335-20,000 of 20,000 are shown, 108,894 bytes in all. All of it is in "
        f'{log}: read on with read_file(absolute_path="{log}", offset=2221).]'
    )
    first, last = "\n".join(map(str, range(1, 2222))), "\n".join(map(str, range(13335, 20001)))
    assert result.content == f"{first}\n{marker}\n{last}"
    assert log_of(result, root) == b"".join(b"%d\n" % number for number in range(1, 20001))


def test_the_call_in_the_marker_reads_on(running: LocalBackend, tool: RunShellCommandTool) -> None:
    log, offset = re.search(r'"(.*)", offset=(\d+)', tool.execute(command="seq 20000").content).groups()  # type: ignore[union-attr]
    page = ReadFileTool(backend=running).execute(absolute_path=log, offset=int(offset), limit=1)
    assert page.content.splitlines()[-1] == "2222"


def test_fifty_thousand_characters_are_shown_whole_however_many_bytes_they_are(tool: RunShellCommandTool) -> None:
    result = tool.execute(command="python -c \"print('é' * 50_000)\"")
    assert result.content == "é" * 50_000


def test_one_long_line_is_cut_by_characters(tool: RunShellCommandTool) -> None:
    result = tool.execute(command="python -c \"print('€' * 400_000 + 'end')\"")
    head, marker, tail = result.content.split("\n")
    assert (head, tail) == ("€" * 10_000, "€" * 39_997 + "end")
    assert marker.startswith("[The first 10,000 and the last 40,000 characters of 1,200,004 bytes are shown. All of ")


def test_a_log_can_be_read_although_nul_bytes_were_printed(running: LocalBackend, tool: RunShellCommandTool) -> None:
    result = tool.execute(command="head -c 60000 /dev/zero")
    page = ReadFileTool(backend=running).execute(absolute_path=result.data["output_file"])
    assert not page.is_error


def test_output_that_cannot_be_logged_is_shown_all_the_same(tmp_path: Path) -> None:
    with running_backend(tmp_path) as backend:
        (tmp_path / "workspace" / ".omniagents").write_text("in the way")
        result = RunShellCommandTool(backend=backend).execute(command="seq 20000")
    assert result.data["output_file"] is None
    assert (
        "108,894 bytes in all. No log of the rest could be written: run it again with its output filtered, "
        "or sent to a file.]\n" in result.content
    )


def test_a_timeout_shows_what_was_printed_until_then(tool: RunShellCommandTool) -> None:
    result = tool.execute(command="echo before; sleep 60; echo after", timeout=1)
    assert result.content == "before\n[timed out after 1 s; process group killed]"
    assert (result.error_type, result.data["timed_out"], result.data["exit_code"]) == ("COMMAND_TIMEOUT", True, 137)


def test_a_timeout_leaves_no_process(tool: RunShellCommandTool, marker: str) -> None:
    result = tool.execute(command=f'sh -c "sleep {marker} & sleep {marker}"', timeout=1)
    assert result.error_type == "COMMAND_TIMEOUT"
    assert living(marker) == []


@pytest.mark.parametrize(
    "escape", ["setsid sleep {0}", "(setsid sleep {0} &)", "env -i setsid sleep {0}", "nohup sleep {0}"]
)
def test_a_timeout_finds_processes_that_have_hidden(tool: RunShellCommandTool, marker: str, escape: str) -> None:
    result = tool.execute(command=f"{escape.format(marker)} & sleep {marker}", timeout=1)
    assert result.data["background_pids"] == []
    assert living(marker) == []


def test_processes_of_earlier_calls_survive_a_timeout(tool: RunShellCommandTool, marker: str) -> None:
    earlier = tool.execute(command=f"sleep {marker} &").data["background_pids"]
    assert eventually(lambda: living(marker) == earlier)
    tool.execute(command="sleep 60", timeout=1)
    assert living(marker) == earlier
    tool.execute(command=f"kill {earlier[0]}")


def test_a_background_process_is_listed_and_lives_on(tool: RunShellCommandTool, marker: str, root: Path) -> None:
    result = tool.execute(command=f"echo started; sleep {marker} &")
    (pid,) = result.data["background_pids"]
    log = result.data["output_file"]
    assert result.content == f"started\n[background processes: {pid}; further output goes to {log}]"
    assert eventually(lambda: living(marker) == [pid])
    assert log_of(result, root) == b"started\n"
    tool.execute(command=f"kill {pid}")
    assert eventually(lambda: not living(marker))


def test_a_background_process_that_keeps_no_output_open_needs_no_log(tool: RunShellCommandTool, marker: str) -> None:
    result = tool.execute(command=f"sleep {marker} > /dev/null 2>&1 &")
    assert result.data["output_file"] is None
    tool.execute(command=f"kill {result.data['background_pids'][0]}")


def test_a_background_process_that_fails_at_once_shows_it(tool: RunShellCommandTool) -> None:
    result = tool.execute(command="sh -c 'echo no such server >&2; exit 3' &")
    assert (result.content, result.data["background_pids"]) == ("no such server", [])


def test_a_background_process_belongs_to_the_call_that_started_it(tool: RunShellCommandTool, marker: str) -> None:
    (parent,) = tool.execute(command=f"sh -c 'sleep {marker} & sleep 1' &").data["background_pids"]
    assert eventually(lambda: not Path(f"/proc/{parent}").exists())
    assert tool.execute(command="true").data["background_pids"] == []
    tool.execute(command=f"kill {living(marker)[0]}")


def test_a_server_in_the_background_is_reachable_and_its_output_is_logged(
    tool: RunShellCommandTool, root: Path
) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    result = tool.execute(command=f"python -m http.server {port} --bind 127.0.0.1 &")
    assert eventually(lambda: reachable(port))
    assert eventually(lambda: b'"GET / HTTP/1.1" 200' in log_of(result, root))
    tool.execute(command=f"kill {result.data['background_pids'][0]}")


def reachable(port: int) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=5) as client:
            client.sendall(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
            return client.recv(100).startswith(b"HTTP/1.0 200")
    except OSError:
        return False


def test_background_returns_at_once_with_the_pid_and_the_log(
    tool: RunShellCommandTool, marker: str, root: Path
) -> None:
    result = tool.execute(command=f"echo begun; sleep {marker}; echo not reached", background=True, timeout=1)
    pid, log = result.data["pid"], result.data["output_file"]
    assert result.content == (
        f"begun\n[running in the background: pid {pid}; further output goes to {log}; stop it with: kill -- -{pid}]"
    )
    assert (result.is_error, result.data["exit_code"], result.data["background_pids"]) == (False, None, [pid])
    assert log_of(result, root) == b"begun\n"
    tool.execute(command=f"kill -- -{pid}")
    assert eventually(lambda: not living(marker))


def test_background_output_goes_on_into_the_log(tool: RunShellCommandTool, root: Path) -> None:
    result = tool.execute(command="until [ -e go ]; do sleep 0.01; done; echo gone", background=True)
    assert result.content.startswith("(no output yet)\n[running in the background: pid ")
    (root / "go").touch()
    assert eventually(lambda: log_of(result, root) == b"gone\n")


def test_background_that_fails_at_once_is_a_failure(tool: RunShellCommandTool) -> None:
    result = tool.execute(command="echo no such thing; exit 3", background=True)
    assert (result.content, result.error_type) == ("no such thing\n[exit code: 3]", "COMMAND_FAILED")


def test_output_without_end_is_bounded_everywhere(tool: RunShellCommandTool, root: Path) -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    result = tool.execute(command="yes", timeout=2)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 32 << 10  # KiB
    assert len(result.content) < 51_000
    assert "Its first 67,108,864 bytes are in " in result.content
    assert log_of(result, root).endswith(b"\n[log ends here: 67108864 bytes is the most one log holds]\n")


def test_the_guests_own_frames_are_only_output(tool: RunShellCommandTool) -> None:
    frame = PREAMBLE.decode() + '\\0\\0\\0\\43\\0\\0\\0\\0{"type":"reply","id":1,"value":{}}'
    assert '"type":"reply"' in tool.execute(command=f"printf '{frame}' | tee /dev/stderr").content
    assert tool.execute(command="echo still here").content == "still here"


def test_cancelling_kills_the_tree(tool: RunShellCommandTool, marker: str) -> None:
    async def cancelled() -> None:
        task = asyncio.create_task(tool.aexecute(command=f"setsid sleep {marker} & sleep {marker}"))
        await asyncio.to_thread(eventually, lambda: len(living(marker)) == 2)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(cancelled())
    assert eventually(lambda: not living(marker))


def test_a_shell_without_bash_is_sh(tmp_path: Path) -> None:
    programs = tmp_path / "bin"
    programs.mkdir()
    (programs / "sh").symlink_to("/bin/sh")
    with running_backend(tmp_path, environment={"PATH": str(programs)}) as backend:
        assert RunShellCommandTool(backend=backend).execute(command="echo $0").content == "sh"


def test_python_works_without_being_on_the_path(tmp_path: Path) -> None:
    with running_backend(tmp_path, environment={"PATH": os.defpath}) as backend:
        assert RunShellCommandTool(backend=backend).execute(command="python -c 'print(6 * 7)'").content == "42"
