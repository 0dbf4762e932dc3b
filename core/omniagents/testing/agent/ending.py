"""Runs that end otherwise than by an answer, and providers in trouble."""

from __future__ import annotations

import asyncio
import threading
from contextlib import aclosing

import pytest

from omniagents.agents.events import RunFinished, ToolCallStarted
from omniagents.backends.base import Backend
from omniagents.errors import ModelError, StepLimitError
from omniagents.testing._support import alive, until
from omniagents.testing.agent.base import AgentTests, MakeAgent, said, shell, write
from omniagents.testing.scripts import Failure, Turn
from omniagents.workspace import Workspace

__all__ = ["EndingTests"]

_LONG = "echo $$ > pid; exec sleep 1000"


class EndingTests(AgentTests):
    """See the module."""

    def test_a_refusal_is_an_answer(self, make_agent: MakeAgent) -> None:
        result = make_agent([Turn(refusal="I won't do that.")]).run("Do it.")
        assert (str(result), result.refused) == ("I won't do that.", True)

    def test_a_refusal_in_a_stream(self, make_agent: MakeAgent) -> None:
        """Its words get lost in some frameworks; that it is one must not."""
        *_, last = make_agent([Turn(refusal="I won't do that.")]).stream("Do it.")
        assert isinstance(last, RunFinished)
        assert last.result.refused is True

    def test_an_answer_that_the_provider_filtered(self, make_agent: MakeAgent) -> None:
        result = make_agent([Turn("Well,", filtered=True)]).run("Do it.")
        assert (str(result), result.refused) == ("Well,", True)

    def test_an_ordinary_answer_is_no_refusal(self, make_agent: MakeAgent) -> None:
        agent = make_agent([Turn("Yes."), Turn("Yes, { }.")])
        assert agent.run("Do it.").refused is False
        *_, last = agent.stream("Do it.")
        assert isinstance(last, RunFinished)
        assert (str(last.result), last.result.refused) == ("Yes, { }.", False)

    def test_a_rate_limit_is_waited_for(self, make_agent: MakeAgent, workspace: Workspace) -> None:
        busy = Failure(429, retry_after=0.01)
        result = make_agent([busy, Turn(calls=[write("a.txt", "a")]), busy, Turn("Done.")]).run("Write.")
        assert (str(result), said(result)) == ("Done.", ["Created a.txt: 1 line, 1 byte."])
        assert workspace.read_bytes("a.txt") == b"a"

    def test_a_server_that_fails_once(self, make_agent: MakeAgent) -> None:
        assert str(make_agent([Failure(503, retry_after=0.01), Turn("Done.")]).run("Do it.")) == "Done."

    def test_a_provider_that_refuses_for_good_ends_the_run_with_what_was_done(
        self, make_agent: MakeAgent, workspace: Workspace
    ) -> None:
        agent = make_agent([Turn(calls=[write("a.txt", "a")]), Failure(400, message="context too long")])
        with pytest.raises(ModelError, match="context too long") as raised:
            agent.run("Write.")
        assert [call.name for call in raised.value.result.tool_calls] == ["write_file"]
        assert raised.value.result.messages
        assert raised.value.__cause__ is not None
        assert workspace.read_bytes("a.txt") == b"a"

    def test_a_stream_that_is_cut_off(self, make_agent: MakeAgent, workspace: Workspace) -> None:
        cut = Turn("A long answer. " * 50, cut_off=True)
        agent = make_agent([Turn(calls=[write("a.txt", "a")]), cut, cut, cut, cut])
        with pytest.raises(ModelError) as raised:
            list(agent.stream("Write."))
        assert [call.name for call in raised.value.result.tool_calls] == ["write_file"]
        assert workspace.read_bytes("a.txt") == b"a"

    def test_the_step_limit(self, make_agent: MakeAgent, workspace: Workspace) -> None:
        agent = make_agent([Turn(calls=[write(f"{n}.txt", "x")]) for n in range(9)], max_steps=3)
        with pytest.raises(StepLimitError) as raised:
            agent.run("Write on and on.")
        assert str(raised.value) == (
            "no answer after 3 turns of the model (max_steps) and 3 tool calls. What they did is in the workspace: "
            "run again to go on from there, or raise max_steps"
        )
        assert len(raised.value.result.tool_calls) == 3
        assert len(raised.value.result.messages) >= 6
        assert [entry.path for entry in workspace.list()] == ["0.txt", "1.txt", "2.txt"]

    def test_an_answer_in_the_last_step(self, make_agent: MakeAgent) -> None:
        assert str(make_agent([Turn(calls=[write("a", "a")]), Turn("Done.")], max_steps=2).run("Write.")) == "Done."

    def test_a_run_goes_on_after_a_step_limit(self, make_agent: MakeAgent) -> None:
        agent = make_agent([Turn(calls=[write("a", "a")]), Turn(calls=[write("b", "b")]), Turn("Done.")], max_steps=2)
        with pytest.raises(StepLimitError):
            agent.run("Write.")
        assert str(agent.run("Go on.")) == "Done."

    def test_cancelling_a_run_stops_its_tool_call(self, make_agent: MakeAgent, backend: Backend) -> None:
        async def scenario() -> None:
            run = asyncio.ensure_future(make_agent([Turn(calls=[shell(_LONG)]), Turn("Done.")]).arun("Sleep."))
            await asyncio.to_thread(self.until_it_sleeps, backend)
            run.cancel()
            with pytest.raises(asyncio.CancelledError):
                await run

        asyncio.run(scenario())
        self.assert_nothing_sleeps(backend)

    def test_closing_a_stream_stops_its_tool_call(self, make_agent: MakeAgent, backend: Backend) -> None:
        events = make_agent([Turn(calls=[shell(_LONG)]), Turn("Done.")]).stream("Sleep.")
        assert any(isinstance(event, ToolCallStarted) for event in events)
        self.until_it_sleeps(backend)
        events.close()
        self.assert_nothing_sleeps(backend)

    def test_closing_an_asynchronous_stream_stops_its_tool_call(self, make_agent: MakeAgent, backend: Backend) -> None:
        async def scenario() -> None:
            agent = make_agent([Turn(calls=[shell(_LONG)]), Turn("Done.")])
            async with aclosing(agent.astream("Sleep.")) as events:
                async for event in events:
                    if isinstance(event, ToolCallStarted):
                        break
                await asyncio.to_thread(self.until_it_sleeps, backend)

        asyncio.run(scenario())
        self.assert_nothing_sleeps(backend)

    def test_a_slow_model_can_be_cancelled(self, make_agent: MakeAgent) -> None:
        gate, asked = threading.Event(), threading.Event()

        def slow(request: object) -> Turn:
            asked.set()
            return Turn("At last.", gate=gate)

        async def scenario() -> None:
            run = asyncio.ensure_future(make_agent([slow]).arun("Answer."))
            await asyncio.to_thread(asked.wait)
            run.cancel()
            with pytest.raises(asyncio.CancelledError):
                await run

        try:
            asyncio.run(scenario())
        finally:
            gate.set()

    def until_it_sleeps(self, backend: Backend) -> None:
        until(lambda: backend.workspace.exists("pid") and backend.workspace.read_bytes("pid").endswith(b"\n"), "sleep")

    def assert_nothing_sleeps(self, backend: Backend) -> None:
        pid = int(backend.workspace.read_bytes("pid"))
        until(lambda: not alive(backend, pid), f"process {pid} ends")
