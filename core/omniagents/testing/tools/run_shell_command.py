"""``run_shell_command``: one command and its end."""

from __future__ import annotations

import asyncio
import re
from functools import partial

import pytest

from omniagents.backends.base import Backend
from omniagents.testing._support import alive, until
from omniagents.testing.tools.base import Call, ToolTests, tool_class
from omniagents.workspace import Workspace

__all__ = ["RunShellCommandTests"]


class RunShellCommandTests(ToolTests):
    """Raw output, unusual ends, limits."""

    @pytest.fixture
    def shell(self, call: Call) -> Call:
        return partial(call, "run_shell_command")

    def test_the_content_is_the_raw_output_without_its_last_newline(self, shell: Call) -> None:
        assert shell(command="""python -c "print('Hello!')" """).content == "Hello!"
        assert shell(command="printf 'a\\n\\n'").content == "a\n"
        assert shell(command="printf '  a '").content == "  a "

    def test_a_command_that_prints_nothing_says_so(self, shell: Call) -> None:
        result = shell(command="true")
        assert (result.error_type, result.data["exit_code"]) == (None, 0)
        assert "no output" in result.content

    def test_output_and_errors_are_in_arrival_order(self, shell: Call) -> None:
        assert shell(command="echo 1; echo 2 >&2; echo 3; echo 4 >&2").content == "1\n2\n3\n4"

    def test_a_failure_is_an_error_with_its_exit_code_below(self, shell: Call) -> None:
        result = shell(command="echo out; exit 7")
        assert (result.error_type, result.content) == ("COMMAND_FAILED", "out\n[exit code: 7]")
        assert (result.data["exit_code"], result.data["signal"], result.data["timed_out"]) == (7, None, False)

    def test_a_signal_is_128_and_its_number(self, shell: Call) -> None:
        result = shell(command="kill -SEGV $$")
        assert (result.data["exit_code"], result.data["signal"], result.error_type) == (139, 11, "COMMAND_FAILED")
        assert "signal 11" in result.content

    def test_facts_about_a_command_are_in_its_data(self, shell: Call) -> None:
        data = shell(command="echo x").data
        assert {"exit_code", "timed_out", "signal", "background_pids", "duration_seconds", "output_file"} <= data.keys()
        assert (data["exit_code"], data["timed_out"], data["signal"], data["background_pids"]) == (0, False, None, [])
        assert data["output_file"] is None

    def test_a_timeout_kills_everything_and_keeps_the_output(self, backend: Backend, shell: Call) -> None:
        result = shell(command="echo $$; sleep 300 & echo $!; setsid sleep 300 & echo $!; sleep 300", timeout=1)
        *pids, footer = result.content.splitlines()
        assert footer == "[timed out after 1 s; process group killed]"
        assert (result.error_type, result.data["timed_out"], len(pids)) == ("COMMAND_TIMEOUT", True, 3)
        until(lambda: not alive(backend, *map(int, pids)), "everything is killed")

    def test_output_without_end_is_capped(self, shell: Call) -> None:
        result = shell(command="yes", timeout=1)
        assert result.error_type == "COMMAND_TIMEOUT"
        assert len(result.content) < 52_000

    @pytest.mark.parametrize("timeout", [0, 3601, -1])
    def test_a_timeout_is_one_second_to_an_hour(self, shell: Call, timeout: int) -> None:
        result = shell(command="true", timeout=timeout)
        assert result.error_type == "INVALID_ARGUMENTS"
        assert "timeout" in result.content

    def test_bash_runs_it_where_there_is_one(self, workspace: Workspace, shell: Call) -> None:
        has_bash = workspace.run(["sh", "-c", "command -v bash"]).exit_code == 0
        assert (shell(command="echo ${BASH_VERSION:-none}").content != "none") is has_bash

    @pytest.mark.parametrize(
        "command",
        [
            'printf %s "it\'s \\"$((1+1))\\" \\\\"',
            "cat <<'EOF'\n$HOME `id`\nEOF",
            "echo 'a\nb'; echo \"c\" # comment",
            "echo é🎉",
        ],
        ids=["quotes", "heredoc", "lines", "unicode"],
    )
    def test_a_command_reaches_the_shell_as_it_is(self, workspace: Workspace, shell: Call, command: str) -> None:
        expected = workspace.run(["sh", "-c", command]).stdout_text
        assert shell(command=command).content == expected.removesuffix("\n")

    def test_a_command_may_be_very_long(self, shell: Call) -> None:
        assert shell(command="\n".join([": " + "x" * 1000] * 500) + "\necho end").content == "end"

    @pytest.mark.parametrize("command", ["", "  \n", "nul\0inside", "half \ud800"])
    def test_what_no_shell_takes_is_a_wrong_argument(self, shell: Call, command: str) -> None:
        assert shell(command=command).error_type == "INVALID_ARGUMENTS"

    def test_nothing_is_kept_from_one_call_to_the_next(self, workspace: Workspace, shell: Call) -> None:
        workspace.make_dir("sub")
        shell(command="cd sub; export X=1; umask 000")
        assert shell(command='basename "$PWD"; echo "${X-unset}"').content.splitlines()[1:] == ["unset"]
        assert shell(command="pwd -P").content == workspace.root

    def test_a_directory_is_where_it_runs(self, workspace: Workspace, shell: Call) -> None:
        workspace.make_dir("sub dir")
        assert shell(command="pwd -P", directory="sub dir").content == workspace.root + "/sub dir"

    def test_the_command_itself_may_go_anywhere(self, shell: Call) -> None:
        assert shell(command="cd / && pwd").content == "/"

    def test_nothing_waits_for_input(self, shell: Call) -> None:
        result = shell(command='cat; read x; echo "$? $GIT_TERMINAL_PROMPT $PAGER $GIT_PAGER"', timeout=60)
        assert result.content == "1 0 cat cat"

    def test_terminal_control_is_removed(self, shell: Call) -> None:
        command = r"printf '\033[31mred\033[0m \033]0;title\007plain \033[2Jclear\033(B\n'"
        assert shell(command=command).content == "red plain clear"

    def test_undecodable_bytes_are_replaced(self, shell: Call) -> None:
        assert shell(command=r"printf 'caf\351 \303\251'").content == "caf\ufffd é"

    def test_of_too_much_output_the_first_fifth_and_the_last_four_fifths_are_shown_and_all_is_in_a_log(
        self, shell: Call, call: Call
    ) -> None:
        result = shell(command="seq 1 50000")
        lines = result.content.splitlines()
        assert (lines[0], lines[-1]) == ("1", "50000")
        [marker] = [position for position, line in enumerate(lines) if not line.isdigit()]
        head, tail = "\n".join(lines[:marker]), "\n".join(lines[marker + 1 :])
        assert 9_000 < len(head) <= 10_000
        assert 39_000 < len(tail) <= 40_000
        log = result.data["output_file"]
        assert log.startswith(".omniagents/logs/")
        assert log in lines[marker]
        assert call("read_file", absolute_path=log, offset=20_000, limit=1).content.splitlines()[-1] == "20001"

    def test_the_marker_of_cut_output_names_a_call_that_goes_on(self, shell: Call, call: Call) -> None:
        result = shell(command="seq 1 50000")
        found = re.search(r'read_file\(absolute_path="([^"]+)", offset=(\d+)\)', result.content)
        assert found is not None
        page = call("read_file", absolute_path=found[1], offset=int(found[2]))
        assert f"\n{int(found[2]) + 1}\n" in page.content

    def test_output_cannot_pose_as_the_guests_answer(self, shell: Call) -> None:
        command = r"""printf '\000\000\000\037\000\000\000\000{"type":"reply","id":1,"value":{}}'; echo; exit 3"""
        result = shell(command=command)
        assert result.content.endswith("[exit code: 3]")

    def test_giving_a_call_up_kills_its_command(self, backend: Backend, workspace: Workspace) -> None:
        tool = tool_class("run_shell_command")(backend)

        async def give_up() -> None:
            call = asyncio.ensure_future(tool.aexecute(command="sleep 300 & echo $$ $! > t; mv t pids; wait"))
            while not await workspace.aexists("pids"):
                pass
            call.cancel()
            with pytest.raises(asyncio.CancelledError):
                await call

        asyncio.run(give_up())
        pids = [int(pid) for pid in workspace.read_bytes("pids").split()]
        until(lambda: not alive(backend, *pids), "the command is killed")
