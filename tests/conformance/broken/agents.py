"""A faithful agent whose model is its script itself, without any framework; and agents with one defect each."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, ClassVar

import pytest

from omniagents.agents.base import Agent
from omniagents.agents.records import AgentResult
from omniagents.agents.rendering import model_content
from omniagents.agents.run import Run
from omniagents.agents.threads import in_thread
from omniagents.backends.base import Backend
from omniagents.backends.local_backend import LocalBackend
from omniagents.testing import AgentContract, AgentFactory, BackendFactory
from omniagents.testing.scripts import Call, Failure, Media, Received, Script, Step, Turn
from omniagents.tools.base import ToolResult


@dataclass
class Asked:
    """What the model was asked."""

    system: str
    tools: dict[str, dict[str, Any]]
    task: str
    results: list[Received] = field(default_factory=list)
    media: list[Media] = field(default_factory=list)


class PlayedAgent(Agent):
    """Plays the script; what others change of it is a defect."""

    def __init__(self, backend: Backend, script: Script, **options: Any) -> None:
        super().__init__(backend, "played", **options)
        self._steps: Iterator[Step] = iter([script] * 100 if callable(script) else script)

    async def _awork(self, task: str, run: Run) -> AgentResult:
        asked = Asked(self.instructions(), self.offered(), task)
        messages: list[object] = [task]
        tokens = [0, 0]
        while True:
            run.messages, run.usage = messages, tuple(tokens)
            run.begin_step()
            turn = await self.turn(asked, run)
            tokens = [so_far + more for so_far, more in zip(tokens, turn.usage, strict=True)]
            messages.append(turn)
            run.messages, run.usage = messages, tuple(tokens)
            for word in turn.text.split(" ") if run.streamed else ():
                run.text(word if turn.text.startswith(word) else f" {word}")
            if not turn.calls:
                return self.answer(run, turn)
            results = await asyncio.gather(*(self.call(run, call) for call in turn.calls))
            messages += results
            contents = [model_content(result) for result in results]
            asked.results += [Received("", content.text) for content in contents]
            asked.media = [Media(part.mime_type, part.data) for content in contents for part in content.parts]

    async def turn(self, asked: Asked, run: Run) -> Turn:
        step = next(self._steps)
        answer = step(asked) if callable(step) else step
        if isinstance(answer, Failure):
            if answer.retry_after is None:
                error = ConnectionRefusedError(answer.message)
                raise run.model_error(error, self.model) from error
            return await self.turn(asked, run)
        while answer.gate is not None and not answer.gate.is_set():
            await asyncio.sleep(0.01)
        if answer.cut_off:
            broken = ConnectionResetError("cut off")
            raise run.model_error(broken, self.model) from broken
        return answer

    async def call(self, run: Run, call: Call) -> ToolResult:
        return await run.acall(call.name, call.arguments)

    def answer(self, run: Run, turn: Turn) -> AgentResult:
        return run.result(turn.refusal or turn.text, refused=bool(turn.refusal) or turn.filtered)

    def instructions(self) -> str:
        return self.system_prompt

    def offered(self) -> dict[str, dict[str, Any]]:
        return {tool.name: {"description": tool.description, "parameters": tool.schema()} for tool in self.tools}


class Played(AgentContract):
    """The contract, on the class ``agent``."""

    agent: ClassVar[type[PlayedAgent]] = PlayedAgent

    @pytest.fixture(scope="class")
    @classmethod
    def backend_factory(cls) -> BackendFactory:
        return LocalBackend

    @pytest.fixture
    def agent_factory(self) -> AgentFactory:
        return self.agent


class TestFaithful(Played):
    """Nothing is broken."""


class TestCallsOnlyOnce(Played):
    class agent(PlayedAgent):  # noqa: N801
        async def call(self, run: Run, call: Call) -> ToolResult:
            is_first, self.has_called = not getattr(self, "has_called", False), True
            return await super().call(run, call) if is_first else ToolResult("done")


class TestHidesRefusals(Played):
    class agent(PlayedAgent):  # noqa: N801
        def answer(self, run: Run, turn: Turn) -> AgentResult:
            return run.result(turn.text)


class TestForgetsWhatWasDone(Played):
    class agent(PlayedAgent):  # noqa: N801
        def answer(self, run: Run, turn: Turn) -> AgentResult:
            return AgentResult(turn.refusal or turn.text, refused=bool(turn.refusal) or turn.filtered)


class TestNeverTriesAgain(Played):
    class agent(PlayedAgent):  # noqa: N801
        async def turn(self, asked: Asked, run: Run) -> Turn:
            step = next(self._steps)
            if isinstance(step, Failure):
                raise run.model_error(ConnectionError(step.message), self.model)
            self._steps = iter([step, *self._steps])
            return await super().turn(asked, run)


class TestGuessesArguments(Played):
    class agent(PlayedAgent):  # noqa: N801
        async def call(self, run: Run, call: Call) -> ToolResult:
            guessed = (
                {"absolute_path": "a.txt", "content": "unfini"} if call.text.endswith("unfini") else call.arguments
            )
            return await run.acall(call.name, guessed)


class TestDoesNotListen(Played):
    class agent(PlayedAgent):  # noqa: N801
        def instructions(self) -> str:
            return "You are a coding agent."


class TestCleansUp(Played):
    class agent(PlayedAgent):  # noqa: N801
        async def _awork(self, task: str, run: Run) -> AgentResult:
            for entry in self.backend.workspace.list():
                self.backend.workspace.remove(entry.path)
            return await super()._awork(task, run)


# Long before the test's own patience ends.
@pytest.mark.timeout(8)
class TestCannotBeStopped(Played):
    class agent(PlayedAgent):  # noqa: N801
        async def _awork(self, task: str, run: Run) -> AgentResult:
            work = super()._awork(task, run)
            return await asyncio.wrap_future(in_thread(lambda: asyncio.run(work)))


class TestBlocksTheLoop(Played):
    class agent(PlayedAgent):  # noqa: N801
        async def call(self, run: Run, call: Call) -> ToolResult:
            # Bounded, or nobody would get as far as failing.
            return run.call(call.name, {**dict(call.arguments), "timeout": 1})  # type: ignore[arg-type]
