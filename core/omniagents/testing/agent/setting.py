"""What an agent is given: tools, instructions, a preset; and what it keeps from the environment."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from omniagents import create_tools
from omniagents.backends.base import Backend
from omniagents.errors import BackendNotStartedError
from omniagents.presets.base import ALL_TOOLS, Preset
from omniagents.testing._keeping import KeepingStateManager
from omniagents.testing.agent.base import AgentFactory, AgentTests, Heard, MakeAgent, said, shell, write
from omniagents.testing.scripts import Call, Turn
from omniagents.workspace import Workspace

__all__ = ["SettingTests"]

_KEYS = ("OPENAI_API_KEY", "ANTHROPIC_API_KEY", "HF_TOKEN")
_PRESET = Preset(
    "mine", tools=("glob", "read_file"), environment={"WHO": "me"}, setup_commands=("echo $WHO > made.txt",),
    instructions="Use only what is there.",
)  # fmt: skip


class SettingTests(AgentTests):
    """See the module."""

    def test_the_ten_tools_are_offered_as_they_describe_themselves(
        self, make_agent: MakeAgent, backend: Backend
    ) -> None:
        heard = Heard(Turn("Done."))
        make_agent(heard.script).run("Look.")
        offered = heard.requests[0].tools
        tools = {tool.name: tool for tool in create_tools(backend)}
        assert [name for name in offered if name in tools] == list(ALL_TOOLS)
        for name, tool in tools.items():
            assert offered[name]["description"] == tool.description
            assert list(offered[name]["parameters"]["properties"]) == list(tool.schema()["properties"])

    def test_a_system_prompt_replaces_the_preset_s_instructions(self, make_agent: MakeAgent) -> None:
        heard = Heard(Turn("Done."))
        agent = make_agent(heard.script, system_prompt="Be brief.")
        agent.run("Look.")
        assert "Be brief." in heard.requests[0].system
        assert "You are a coding agent." not in heard.requests[0].system
        assert "Look." in heard.requests[0].task

    def test_a_preset_sets_tools_and_instructions(self, make_agent: MakeAgent) -> None:
        heard = Heard(Turn("Done."))
        make_agent(heard.script, preset=_PRESET).run("Look.")
        assert _PRESET.instructions in heard.requests[0].system
        assert [name for name in heard.requests[0].tools if name in ALL_TOOLS] == ["glob", "read_file"]

    def test_a_preset_sets_up_a_workspace_that_is_empty(self, make_agent: MakeAgent, workspace: Workspace) -> None:
        read = Call("read_file", {"absolute_path": "made.txt"})
        result = make_agent([Turn(calls=[read]), Turn("Done.")], preset=_PRESET).run("Look.")
        assert said(result) == ["me"]

    def test_a_preset_sets_up_nothing_where_there_is_something(
        self, make_agent: MakeAgent, workspace: Workspace
    ) -> None:
        workspace.write_bytes("mine.txt", b"")
        make_agent([Turn("Done.")], preset=_PRESET).run("Look.")
        assert [entry.path for entry in workspace.list()] == ["mine.txt"]

    def test_keys_of_models_never_enter_the_environment(
        self, make_agent: MakeAgent, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for name in _KEYS:
            monkeypatch.setenv(name, f"secret-{name}")
        result = make_agent([Turn(calls=[shell("env; env > kept.txt")]), Turn("Done.")]).run("Show the environment.")
        assert "PATH=" in result.tool_calls[0].result.content
        assert "secret-" not in result.tool_calls[0].result.content

    def test_a_backend_that_is_not_running_is_said_before_the_model_is_asked(
        self, agent_factory: AgentFactory, make_backend: Callable[..., Backend]
    ) -> None:
        heard = Heard(Turn("Done."))
        with pytest.raises(BackendNotStartedError):
            agent_factory(make_backend(), heard.script).run("Look.")
        assert heard.requests == []

    def test_what_a_run_did_is_there_in_the_next_session(
        self, agent_factory: AgentFactory, make_backend: Callable[..., Backend]
    ) -> None:
        state = KeepingStateManager()
        with make_backend(state_manager=state) as first:
            agent_factory(first, [Turn(calls=[write("a.txt", "a")]), Turn("Done.")]).run("Write.")
        with make_backend(state_manager=state) as second:
            assert second.workspace.read_bytes("a.txt") == b"a"
