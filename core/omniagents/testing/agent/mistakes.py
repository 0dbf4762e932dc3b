"""A model's mistakes are answered, and the run goes on."""

from __future__ import annotations

from omniagents.presets.base import ALL_TOOLS
from omniagents.testing.agent.base import AgentTests, Heard, MakeAgent, write
from omniagents.testing.scripts import Call, Turn
from omniagents.workspace import Workspace

__all__ = ["MistakeTests"]


class MistakeTests(AgentTests):
    """See the module."""

    def test_arguments_that_are_not_json(self, make_agent: MakeAgent, workspace: Workspace) -> None:
        half = Call("write_file", '{"absolute_path": "a.txt", "content": "unfini')
        heard = Heard(Turn(calls=[half]), Turn(calls=[write("a.txt", "finished")]), Turn("Done."))
        result = make_agent(heard.script).run("Write.")
        assert str(result) == "Done."
        assert heard.requests[1].results[0].text.startswith("write_file: ")
        assert workspace.read_bytes("a.txt") == b"finished"

    def test_arguments_that_are_not_json_in_a_stream(self, make_agent: MakeAgent, workspace: Workspace) -> None:
        half = Call("write_file", '{"absolute_path": "a.txt", "content": "unfini')
        heard = Heard(Turn(calls=[half]), Turn("Done."))
        *_, last = make_agent(heard.script).stream("Write.")
        assert workspace.list() == []
        assert heard.requests[1].results[0].text.startswith("write_file: ")
        assert str(last.result) == "Done."  # type: ignore[union-attr]

    def test_a_good_call_beside_one_that_is_not_json(self, make_agent: MakeAgent, workspace: Workspace) -> None:
        script = [Turn(calls=[write("a.txt", "a"), Call("glob", '{"pattern": ')]), Turn("Done.")]
        assert str(make_agent(script).run("Write.")) == "Done."
        assert workspace.read_bytes("a.txt") == b"a"

    def test_arguments_that_are_json_but_no_object(self, make_agent: MakeAgent, workspace: Workspace) -> None:
        script = [Turn(calls=[Call("glob", '["*"]')]), Turn(calls=[write("a.txt", "a")]), Turn("Done.")]
        assert str(make_agent(script).run("Write.")) == "Done."
        assert workspace.read_bytes("a.txt") == b"a"

    def test_an_unknown_tool(self, make_agent: MakeAgent) -> None:
        heard = Heard(Turn(calls=[Call("read_fil", {"absolute_path": "a.txt"})]), Turn("Sorry."))
        result = make_agent(heard.script).run("Read.")
        assert str(result) == "Sorry."
        assert [(call.name, call.arguments) for call in result.tool_calls] == [("read_fil", {"absolute_path": "a.txt"})]
        assert heard.requests[1].results[0].text == result.tool_calls[0].result.content
        assert "Did you mean 'read_file'?" in result.tool_calls[0].result.content

    def test_a_wrong_argument(self, make_agent: MakeAgent) -> None:
        heard = Heard(Turn(calls=[Call("glob", {"patern": "*"})]), Turn("Sorry."))
        result = make_agent(heard.script).run("Find.")
        assert str(result) == "Sorry."
        assert "pattern" in heard.requests[1].results[0].text

    def test_an_argument_with_a_name_of_the_programming_language(self, make_agent: MakeAgent) -> None:
        heard = Heard(Turn(calls=[Call("glob", {"pattern": "*", "self": 1})]), Turn("Sorry."))
        assert str(make_agent(heard.script).run("Find.")) == "Sorry."
        assert "self" in heard.requests[1].results[0].text

    def test_an_argument_under_another_of_its_names(self, make_agent: MakeAgent, workspace: Workspace) -> None:
        call = Call("write_file", {"file_path": "a.txt", "content": "a"})
        make_agent([Turn(calls=[call]), Turn("Done.")]).run("Write.")
        assert workspace.read_bytes("a.txt") == b"a"

    def test_a_tool_that_was_not_offered(self, make_agent: MakeAgent, workspace: Workspace) -> None:
        heard = Heard(Turn(calls=[write("a.txt", "a")]), Turn("Sorry."))
        make_agent(heard.script, tools=["read_file"]).run("Write.")
        assert [name for name in heard.requests[0].tools if name in ALL_TOOLS] == ["read_file"]
        assert workspace.list() == []
