"""What a model reads of the same call is the same text under every framework, tool by tool."""

from __future__ import annotations

import re

import pytest
from tests.frameworks.making import FRAMEWORKS, MakeAgent
from tests.frameworks.samples import PNG
from tests.services.model_server import Call, ModelServer, Turn

from omniagents.backends.local_backend import LocalBackend
from omniagents.presets.base import ALL_TOOLS

_CALLS = {
    "write_file": Call("write_file", {"absolute_path": "new/b.txt", "content": "é <&> {x}\n"}),
    "write_file, refused": Call("write_file", {"absolute_path": "../b.txt", "content": ""}),
    "read_file": Call("read_file", {"absolute_path": "a.py", "line_numbers": True}),
    "read_file, missing": Call("read_file", {"absolute_path": "b.py"}),
    "read_file, an image": Call("read_file", {"absolute_path": "a.png"}),
    "list_directory": Call("list_directory", {}),
    "glob": Call("glob", {"pattern": "**/*.py"}),
    "search_file_content": Call("search_file_content", {"pattern": "return .*"}),
    "search_file_content, bad": Call("search_file_content", {"pattern": "("}),
    "replace": Call("replace", {"absolute_path": "a.py", "old_string": "a - b", "new_string": "a + b"}),
    "replace, missed": Call("replace", {"absolute_path": "a.py", "old_string": "a * b", "new_string": "a + b"}),
    "run_shell_command": Call("run_shell_command", {"command": "printf '  two\\n\\n'; printf 'é <b>{}' >&2; exit 3"}),
    "run_shell_command, silent": Call("run_shell_command", {"command": "true"}),
    "run_shell_command, much": Call("run_shell_command", {"command": "seq 100000"}),
    "read_many_files": Call("read_many_files", {"paths": ["*.py"]}),
    "save_memory": Call("save_memory", {"key": "colour", "value": "blue"}),
    "uv": Call("uv", {"args": "--no-such-option"}),
    "wrong arguments": Call("glob", {"patern": 3}),
    "no JSON": Call("glob", '{"pattern": '),
    "an unknown tool": Call("read_fil", {"absolute_path": "a.py"}),
    "an unknown tool, no JSON": Call("read_fil", '{"absolute_path": '),
}

# What differs from one run to the next: names of logs.
_LOG = re.compile(r"[0-9a-zA-Z_-]+\.log")


def read_by_the_model(make: MakeAgent, call: Call, project_id: str, *, streamed: bool = False) -> str:
    """The one tool result in the second request."""
    with ModelServer([Turn(calls=[call]), Turn("Done.")]) as server, LocalBackend(project_id=project_id) as backend:
        backend.workspace.write_bytes("a.py", b"def add(a, b):\n    return a - b\n")
        backend.workspace.write_bytes("a.png", PNG)
        agent = make(backend, server)
        if streamed:
            list(agent.stream("Go."))
        else:
            agent.run("Go.")
    (result,) = server.requests[1].results
    return _LOG.sub("LOG", result.text)


def test_every_tool_is_called() -> None:
    assert set(ALL_TOOLS) <= {call.name for call in _CALLS.values()}


@pytest.mark.parametrize("call", _CALLS.values(), ids=_CALLS)
def test_the_text_is_the_same_under_every_framework(call: Call) -> None:
    texts = {name: read_by_the_model(make, call, f"{name} {call.name}") for name, make in FRAMEWORKS.items()}
    assert texts["pydantic-ai"] == texts["langchain"]
    assert texts["smolagents"] == texts["langchain"]
    assert texts["langchain"]


def test_what_is_offered_is_the_same_under_every_framework() -> None:
    offered = {}
    for name, make in FRAMEWORKS.items():
        with ModelServer([Turn("Done.")]) as server, LocalBackend(project_id=f"offered {name}") as backend:
            make(backend, server).run("Go.")
        tools = server.requests[0].tools
        offered[name] = {
            tool: (tools[tool]["description"], tools[tool]["parameters"]["properties"].keys()) for tool in ALL_TOOLS
        }
    assert offered["pydantic-ai"] == offered["langchain"]
    assert offered["smolagents"] == offered["langchain"]


# Of an answer in one piece LangChain cannot make a message then, and asks the model again.
@pytest.mark.parametrize("arguments", ['["*"]', "3", '{"pattern": ', "nonsense"])
def test_arguments_that_are_no_object_are_answered_in_the_same_words_in_a_stream(arguments: str) -> None:
    call = Call("glob", arguments)
    texts = {name: read_by_the_model(make, call, name, streamed=True) for name, make in FRAMEWORKS.items()}
    assert texts["pydantic-ai"] == texts["langchain"]
    assert texts["smolagents"] == texts["langchain"]
    assert texts["langchain"].startswith("glob: the arguments are not a JSON object (")


@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize("arguments", ["", "null", "{}"])
def test_no_arguments_are_none_however_they_are_sent(arguments: str, streamed: bool) -> None:
    call = Call("list_directory", arguments)
    for name, make in FRAMEWORKS.items():
        assert "a.py" in read_by_the_model(make, call, name, streamed=streamed)
