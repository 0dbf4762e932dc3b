"""What the tests of agents share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar, Protocol

import pytest

from omniagents.agents.base import Agent, AgentResult
from omniagents.backends.base import Backend
from omniagents.testing._support import BackendTests
from omniagents.testing.scripts import Call, ModelRequest, Script, Turn

__all__ = ["AgentFactory", "AgentTests", "Heard", "MakeAgent", "said", "shell", "write"]


class AgentFactory(Protocol):
    """Makes an agent whose model follows a script. The options are ``Agent``'s."""

    def __call__(self, backend: Backend, script: Script, **options: Any) -> Agent: ...


#: ``AgentFactory`` on the test's backend.
MakeAgent = Callable[..., Agent]


# Said here, where pytest sees it before it runs anything: the factory may have parameters.
@pytest.mark.usefixtures("backend_factory")
class AgentTests(BackendTests):
    """Tests that need agents, made by the fixture ``agent_factory``.

    Attributes:
        streams: ``stream`` yields the model's text in pieces, because the framework streams it over the wire.
        refusals: The framework hands on what a model says when it refuses, or its provider filters it.
    """

    streams: ClassVar[bool] = True
    refusals: ClassVar[bool] = True

    @pytest.fixture
    def make_agent(self, agent_factory: AgentFactory, backend: Backend) -> MakeAgent:
        def make(script: Script, **options: Any) -> Agent:
            return agent_factory(backend, script, **options)

        return make


def write(path: str, content: str) -> Call:
    """A call that writes a file."""
    return Call("write_file", {"absolute_path": path, "content": content})


def shell(command: str, **arguments: Any) -> Call:
    """A call that runs a command."""
    return Call("run_shell_command", {"command": command, **arguments})


def said(result: AgentResult) -> list[str]:
    """The first line of every tool result."""
    return [call.result.content.partition("\n")[0] for call in result.tool_calls]


class Heard:
    """A script that keeps the requests it answers."""

    def __init__(self, *turns: Turn) -> None:
        self.requests: list[ModelRequest] = []
        self.script = [self._step(turn) for turn in turns]

    def _step(self, turn: Turn) -> Callable[[ModelRequest], Turn]:
        def answer(request: ModelRequest) -> Turn:
            self.requests.append(request)
            return turn

        return answer
