"""``SmolagentsAgent`` with OpenAI's genuine client."""

from __future__ import annotations

import io
from typing import Any

import PIL.Image
import pytest
from smolagents import OpenAIServerModel
from tests.frameworks.conftest import Serve

from omniagents.agents.events import RunFinished, TextDelta, ToolCallStarted
from omniagents.agents.smolagents_agent import SmolagentsAgent
from omniagents.backends.base import Backend
from omniagents.testing import AgentContract, AgentFactory
from omniagents.testing.agent.base import AgentTests, Heard, MakeAgent
from omniagents.testing.scripts import Call, Script, Turn
from omniagents.workspace import Workspace


class TestSmolagents(AgentContract):
    """On every backend."""

    @pytest.fixture
    def agent_factory(self, serve: Serve) -> AgentFactory:
        def make(backend: Backend, script: Script, **options: Any) -> SmolagentsAgent:
            model = OpenAIServerModel("scripted", api_base=serve(script).openai_url, api_key="unused")
            return SmolagentsAgent(backend=backend, model=model, **options)

        return make

    def test_an_image_reaches_the_model_pixel_by_pixel(self, make_agent: MakeAgent, workspace: Workspace) -> None:
        original = PIL.Image.new("RGB", (3, 2), (200, 30, 10))
        with io.BytesIO() as file:
            original.save(file, "JPEG", quality=100, subsampling=0)
            workspace.write_bytes("small.jpg", file.getvalue())
            decoded = PIL.Image.open(file).tobytes()
        heard = Heard(Turn(calls=[Call("read_file", {"absolute_path": "small.jpg"})]), Turn("I see."))
        make_agent(heard.script).run("Look.")
        (media,) = heard.requests[1].media
        with PIL.Image.open(io.BytesIO(media.data)) as shown:
            assert (media.mime_type, shown.size, shown.tobytes()) == ("image/png", (3, 2), decoded)


class TestCodeAgent(AgentTests):
    """A ``CodeAgent``, on every backend."""

    @pytest.fixture
    def agent_factory(self, serve: Serve) -> AgentFactory:
        def make(backend: Backend, script: Script, **options: Any) -> SmolagentsAgent:
            model = OpenAIServerModel("scripted", api_base=serve(script).openai_url, api_key="unused")
            return SmolagentsAgent(backend=backend, model=model, code=True, **options)

        return make

    def test_its_python_runs_inside_the_backend(self, make_agent: MakeAgent, workspace: Workspace) -> None:
        script = [
            code("import os, socket", "here = os.getcwd()", "print(write_file('a.py', 'A = 1\\n'))"),
            code("from a import A", "1 / (A - 1)"),
            code("final_answer([here, A, run_shell_command('cat a.py'), socket.gethostname()])"),
        ]
        heard = Heard(*script)
        result = make_agent(heard.script).run("Go.")
        hostname = workspace.run(["python3", "-c", "import socket; print(socket.gethostname())"]).stdout_text.strip()
        assert result.output == [workspace.root, 1, "A = 1", hostname]
        assert [call.name for call in result.tool_calls] == ["write_file", "run_shell_command"]
        assert "Created a.py: 1 line, 6 bytes." in heard.requests[1].results[-1].text
        assert "ZeroDivisionError: division by zero" in str(heard.requests[2].body["messages"][-1])

    def test_a_stream_has_the_code_and_its_calls(self, make_agent: MakeAgent) -> None:
        turns = [code("write_file('a.txt', 'a')"), code("final_answer('Done.')")]
        *events, last = make_agent(turns).stream("Go.")
        assert isinstance(last, RunFinished)
        assert last.result.output == "Done."
        text = "".join(event.text for event in events if isinstance(event, TextDelta))
        assert text == "".join(turn.text for turn in turns)
        assert [event.name for event in events if isinstance(event, ToolCallStarted)] == ["write_file"]


def code(*lines: str) -> Turn:
    """A turn of a ``CodeAgent``'s model."""
    return Turn("\n".join(["I think.", "<code>", *lines, "</code>"]))
