"""``run_shell_command``: what is left running."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from functools import partial

import pytest

from omniagents.backends.base import Backend
from omniagents.testing._support import alive, until
from omniagents.testing.tools.base import Call, ToolTests
from omniagents.tools.base import ToolResult
from omniagents.workspace import Workspace

__all__ = ["ShellBackgroundTests"]

# Prints its port once it listens.
_SERVER = """
import http.server, sys
server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), http.server.SimpleHTTPRequestHandler)
open("port.tmp", "w").write(str(server.server_port))
import os; os.rename("port.tmp", "port")
server.serve_forever()
"""
_FETCH = "import urllib.request, sys; print(urllib.request.urlopen('http://127.0.0.1:' + open('port').read()).status)"


class ShellBackgroundTests(ToolTests):
    """Servers and watchers."""

    @pytest.fixture
    def shell(self, call: Call) -> Call:
        return partial(call, "run_shell_command")

    @pytest.mark.parametrize(
        ("command", "options"),
        [("python server.py &", {}), ("python server.py", {"background": True}), ("nohup python server.py &", {})],
        ids=["ampersand", "background", "nohup"],
    )
    def test_a_server_runs_on_and_can_be_reached(
        self, backend: Backend, workspace: Workspace, shell: Call, command: str, options: dict[str, bool]
    ) -> None:
        workspace.write_bytes("server.py", _SERVER.encode())
        workspace.write_bytes("fetch.py", _FETCH.encode())
        result = shell(command=command, **options)
        with _ended(backend, result):
            assert result.error_type is None
            assert result.data["background_pids"]
            assert all(str(pid) in result.content for pid in result.data["background_pids"])
            until(lambda: workspace.exists("port"), "the server listens")
            assert shell(command="python fetch.py").content == "200"
            assert alive(backend, *result.data["background_pids"]) == result.data["background_pids"]

    def test_the_output_of_a_background_command_can_be_read(
        self, backend: Backend, workspace: Workspace, shell: Call, call: Call
    ) -> None:
        result = shell(command="echo first; while ! test -e go; do sleep 0.02; done; echo second", background=True)
        with _ended(backend, result):
            log = result.data["output_file"]
            assert log.startswith(".omniagents/logs/")
            assert log in result.content
            workspace.write_bytes("go", b"")
            until(lambda: "second" in call("read_file", absolute_path=log).content, "its output is in the log")

    def test_a_background_command_that_fails_at_once_says_so(self, shell: Call) -> None:
        result = shell(command="echo out; exit 5", background=True)
        assert (result.error_type, result.data["exit_code"]) == ("COMMAND_FAILED", 5)
        assert result.content.startswith("out")

    def test_a_later_timeout_leaves_earlier_background_processes_alone(self, backend: Backend, shell: Call) -> None:
        earlier = shell(command="sleep 300 &")
        with _ended(backend, earlier):
            assert shell(command="sleep 300", timeout=1).error_type == "COMMAND_TIMEOUT"
            assert alive(backend, *earlier.data["background_pids"]) == earlier.data["background_pids"]


@contextlib.contextmanager
def _ended(backend: Backend, result: ToolResult) -> Iterator[None]:
    """End what a call left running when the test is over."""
    try:
        yield
    finally:
        backend.workspace.run(["kill", "-9", *map(str, result.data["background_pids"])])
