"""Work that succeeds: a whole task, several calls at once, images, a second run."""

from __future__ import annotations

import base64

from omniagents.testing.agent.base import AgentTests, Heard, MakeAgent, said, shell, write
from omniagents.testing.scripts import Call, ModelRequest, Turn
from omniagents.workspace import Workspace

__all__ = ["WorkingTests"]

# One transparent pixel.
_PNG = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNkYPhfDwAChwGA60e6kgAAAABJRU5ErkJggg=="
)

_BROKEN = "def add(a, b):\n    return a - b\n"
_TEST = """\
import unittest

from calc import add


class AddTest(unittest.TestCase):
    def test_add(self):
        self.assertEqual(add(2, 3), 5)
"""
# Without a cache: the repair has the same size, and comes within the same second.
_RUN_TESTS = "python3 -B -m unittest -q test_calc"


class WorkingTests(AgentTests):
    """See the module."""

    def test_a_task_of_many_steps_that_fails_once_and_repairs(
        self, make_agent: MakeAgent, workspace: Workspace
    ) -> None:
        def repair(request: ModelRequest) -> Turn:
            failed = request.results[-1].text
            assert "FAILED" in failed
            assert failed.endswith("[exit code: 1]")
            edit = {"absolute_path": "calc.py", "old_string": "a - b", "new_string": "a + b"}
            return Turn("Subtraction is wrong here.", [Call("replace", edit)])

        def finish(request: ModelRequest) -> Turn:
            assert len(request.results) == 8
            return Turn("It adds." if "OK" in request.results[-1].text else "It fails still.")

        script = [
            Turn("I begin.", [write("calc.py", _BROKEN)]),
            Turn(calls=[write("test_calc.py", _TEST)]),
            Turn(calls=[Call("list_directory", {"path": "."})]),
            Turn(calls=[shell(_RUN_TESTS)]),
            repair,
            Turn(calls=[Call("search_file_content", {"pattern": r"return a . b"})]),
            Turn(calls=[Call("read_file", {"absolute_path": "calc.py"})]),
            Turn(calls=[shell(_RUN_TESTS)]),
            finish,
        ]
        result = make_agent(script).run("Write add(a, b) with a test.")
        assert str(result) == result.output == "It adds."
        assert [call.name for call in result.tool_calls] == [
            "write_file", "write_file", "list_directory", "run_shell_command", "replace", "search_file_content",
            "read_file", "run_shell_command",
        ]  # fmt: skip
        assert [call.result.error_type for call in result.tool_calls if call.result.is_error] == ["COMMAND_FAILED"]
        assert workspace.read_bytes("calc.py") == _BROKEN.replace("-", "+").encode()
        assert result.tool_calls[6].result.content == _BROKEN.replace("-", "+")

    def test_every_call_has_its_arguments_and_how_long_it_took(self, make_agent: MakeAgent) -> None:
        result = make_agent([Turn(calls=[write("a.txt", "a\n")]), Turn("Done.")]).run("Write.")
        (call,) = result.tool_calls
        assert call.arguments == {"absolute_path": "a.txt", "content": "a\n"}
        assert call.seconds > 0

    def test_usage_and_messages_are_the_framework_s(self, make_agent: MakeAgent) -> None:
        script = [Turn(calls=[write("a.txt", "a\n")], usage=(100, 10)), Turn("Done.", usage=(200, 20))]
        result = make_agent(script).run("Write.")
        assert "300" in str(result.usage)
        assert "30" in str(result.usage)
        assert len(result.messages) >= 4

    def test_parallel_calls_are_each_answered(self, make_agent: MakeAgent, workspace: Workspace) -> None:
        heard = Heard(Turn(calls=[write(f"{name}.txt", name) for name in "abc"]), Turn("Done."))
        result = make_agent(heard.script).run("Write three files.")
        assert sorted(call.arguments["absolute_path"] for call in result.tool_calls) == ["a.txt", "b.txt", "c.txt"]
        assert [workspace.read_bytes(f"{name}.txt") for name in "abc"] == [b"a", b"b", b"c"]
        told = "".join(received.text for received in heard.requests[1].results)
        assert [f"{name}.txt" in told for name in "abc"] == [True, True, True]

    def test_what_the_model_reads_is_the_content_of_the_result(self, make_agent: MakeAgent) -> None:
        heard = Heard(Turn(calls=[shell("printf 'é <b> {x}\\n  two  \\n'; exit 3")]), Turn("Done."))
        result = make_agent(heard.script).run("Run.")
        assert said(result) == ["é <b> {x}"]
        assert heard.requests[1].results[0].text == result.tool_calls[0].result.content

    def test_an_image_reaches_the_model(self, make_agent: MakeAgent, workspace: Workspace) -> None:
        workspace.write_bytes("pixel.png", _PNG)
        heard = Heard(Turn(calls=[Call("read_file", {"absolute_path": "pixel.png"})]), Turn("I see."))
        result = make_agent(heard.script).run("Look.")
        assert [(media.mime_type, media.data) for media in heard.requests[1].media] == [("image/png", _PNG)]
        assert heard.requests[1].results[0].text == result.tool_calls[0].result.content

    def test_a_second_run_continues_in_the_same_workspace(self, make_agent: MakeAgent, workspace: Workspace) -> None:
        read = Call("read_file", {"absolute_path": "a.txt"})
        agent = make_agent([Turn(calls=[write("a.txt", "kept")]), Turn("One."), Turn(calls=[read]), Turn("Two.")])
        assert str(agent.run("Write.")) == "One."
        second = agent.run("Read.")
        assert (str(second), said(second)) == ("Two.", ["kept"])
        assert [entry.path for entry in workspace.list()] == ["a.txt"]
