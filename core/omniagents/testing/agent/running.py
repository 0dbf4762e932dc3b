"""Ways to run: from a loop, streamed, many at once."""

from __future__ import annotations

import asyncio
import threading
from contextlib import aclosing

from omniagents.agents.events import AgentEvent, RunFinished, TextDelta, ToolCallFinished, ToolCallStarted
from omniagents.agents.records import AgentResult
from omniagents.testing.agent.base import AgentTests, MakeAgent, said, shell, write
from omniagents.testing.scripts import Turn
from omniagents.workspace import Workspace

__all__ = ["RunningTests"]

_AGENTS = 10
_TEXT = "Now I have written the file that you wanted me to write."


class RunningTests(AgentTests):
    """See the module."""

    def test_it_can_be_awaited(self, make_agent: MakeAgent, workspace: Workspace) -> None:
        agent = make_agent([Turn(calls=[write("a.txt", "a")]), Turn("Done.")])
        assert str(asyncio.run(agent.arun("Write."))) == "Done."
        assert workspace.read_bytes("a.txt") == b"a"

    def test_it_can_be_awaited_in_one_event_loop_after_another(self, make_agent: MakeAgent) -> None:
        agent = make_agent([Turn(f"{number}.") for number in range(3)])
        assert [str(asyncio.run(agent.arun("Go."))) for _ in range(3)] == ["0.", "1.", "2."]

    def test_it_runs_where_an_event_loop_is_running(self, make_agent: MakeAgent) -> None:
        agent = make_agent([Turn(calls=[write("a.txt", "a")]), Turn("One."), Turn("Two.")])

        async def scenario() -> list[str]:
            return [str(agent.run("Write.")), str(await agent.arun("Again."))]

        assert asyncio.run(scenario()) == ["One.", "Two."]

    def test_a_stream_has_text_and_calls_as_they_happen(self, make_agent: MakeAgent) -> None:
        agent = make_agent([Turn("I write.", [write("a.txt", "a")]), Turn(_TEXT)])
        self.check_events(list(agent.stream("Write.")))

    def test_an_asynchronous_stream_has_the_same_events(self, make_agent: MakeAgent) -> None:
        async def scenario() -> list[AgentEvent]:
            agent = make_agent([Turn("I write.", [write("a.txt", "a")]), Turn(_TEXT)])
            async with aclosing(agent.astream("Write.")) as events:
                return [event async for event in events]

        self.check_events(asyncio.run(scenario()))

    def check_events(self, events: list[AgentEvent]) -> None:
        texts = [event.text for event in events if isinstance(event, TextDelta)]
        assert "".join(texts).replace("\n", "") == f"I write.{_TEXT}"
        if self.streams:
            assert len(texts) > 2
        kinds = [type(event) for event in events if not isinstance(event, TextDelta)]
        assert kinds == [ToolCallStarted, ToolCallFinished, RunFinished]
        (started,) = [event for event in events if isinstance(event, ToolCallStarted)]
        assert (started.number, started.name, started.arguments["absolute_path"]) == (1, "write_file", "a.txt")
        last = events[-1]
        assert isinstance(last, RunFinished)
        assert str(last.result) == _TEXT
        assert said(last.result) == ["Created a.txt: 1 line, 1 byte."]

    def test_a_call_is_announced_before_it_ends(self, make_agent: MakeAgent, workspace: Workspace) -> None:
        agent = make_agent([Turn(calls=[shell("until [ -e go ]; do sleep 0.02; done; echo went")]), Turn("Done.")])
        events = agent.stream("Wait.")
        assert any(isinstance(event, ToolCallStarted) for event in events)
        workspace.write_bytes("go", b"")
        finished = [event.call.result.content for event in events if isinstance(event, ToolCallFinished)]
        assert finished == ["went"]

    def test_many_agents_at_once_do_not_block_each_other(self, make_agent: MakeAgent) -> None:
        """No model answers before all have been asked, and no command ends before all have begun."""
        gate = threading.Event()

        def first(number: int) -> Turn:
            wait = f"touch began{number}; until [ $(ls began* | wc -l) = {_AGENTS} ]; do sleep 0.05; done"
            return Turn(calls=[shell(wait)], gate=gate)

        def steps(number: int) -> list[object]:
            def ask(request: object) -> Turn:
                with lock:
                    asked.append(number)
                    if len(asked) == _AGENTS:
                        gate.set()
                return first(number)

            return [ask, Turn(f"Done {number}.")]

        lock, asked = threading.Lock(), list[int]()
        agents = [make_agent(steps(number)) for number in range(_AGENTS)]

        async def scenario() -> list[AgentResult]:
            return await asyncio.gather(*(agent.arun("Go.") for agent in agents))

        results = asyncio.run(scenario())
        assert [str(result) for result in results] == [f"Done {number}." for number in range(_AGENTS)]
        assert [call.result.error_type for result in results for call in result.tool_calls] == [None] * _AGENTS
        assert sorted(asked) == list(range(_AGENTS))
