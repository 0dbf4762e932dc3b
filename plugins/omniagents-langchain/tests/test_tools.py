"""LangChain's tools on a backend, without an agent."""

from __future__ import annotations

import asyncio
import base64

import pytest
from langchain_core.messages import ToolMessage
from langchain_core.tools import BaseTool
from langchain_core.utils.function_calling import convert_to_openai_tool
from tests.frameworks.samples import PDF_TEXT, PNG, pdf

from omniagents import create_tools
from omniagents.backends.base import Backend
from omniagents.errors import BackendNotStartedError
from omniagents.presets.base import ALL_TOOLS
from omniagents.tools.base import ToolResult
from omniagents.tools.glob_tool import GlobTool
from omniagents_langchain.tools import langchain_tools


def called(tool: BaseTool, **arguments: object) -> ToolMessage:
    """What a loop gets when it hands a model's call to a tool."""
    message = tool.invoke({"type": "tool_call", "id": "call_1", "name": tool.name, "args": arguments})
    assert isinstance(message, ToolMessage)
    return message


def one(backend: Backend, name: str, profile: dict[str, bool] | None = None) -> BaseTool:
    (tool,) = langchain_tools(backend, [name], profile=profile)
    return tool


def test_they_are_the_ten_tools(local_backend: Backend) -> None:
    assert [tool.name for tool in langchain_tools(local_backend)] == list(ALL_TOOLS)


def test_schemas_and_descriptions_are_the_tools_own(local_backend: Backend) -> None:
    for ours, theirs in zip(create_tools(local_backend), langchain_tools(local_backend), strict=True):
        function = convert_to_openai_tool(theirs)["function"]
        assert (function["name"], function["description"]) == (ours.name, ours.description)
        assert function["parameters"]["properties"] == ours.schema()["properties"]
        assert function["parameters"].get("required", []) == ours.schema().get("required", [])


def test_a_tool_of_one_s_own_may_be_among_them(local_backend: Backend) -> None:
    tools = langchain_tools(local_backend, [GlobTool(backend=local_backend), "read_file"])
    assert [tool.name for tool in tools] == ["glob", "read_file"]


def test_a_string_in_place_of_a_list_is_refused(local_backend: Backend) -> None:
    with pytest.raises(TypeError) as raised:
        langchain_tools(local_backend, "glob")
    assert str(raised.value) == "tools is a list of tools or their names, not the string 'glob'"


def test_invoked_with_arguments_alone_a_tool_answers_with_text(local_backend: Backend) -> None:
    arguments = {"absolute_path": "a.txt", "content": "a"}
    assert one(local_backend, "write_file").invoke(arguments) == "Created a.txt: 1 line, 1 byte."


def test_invoked_with_a_call_it_answers_with_a_message_and_the_result(local_backend: Backend) -> None:
    message = called(one(local_backend, "write_file"), absolute_path="a.txt", content="a")
    assert (message.content, message.status) == ("Created a.txt: 1 line, 1 byte.", "success")
    assert isinstance(message.artifact, ToolResult)
    assert message.artifact.data["path"] == "a.txt"


def test_awaited_it_answers_the_same(local_backend: Backend) -> None:
    call = {"type": "tool_call", "id": "call_1", "name": "glob", "args": {"pattern": "*"}}
    glob = one(local_backend, "glob")
    assert asyncio.run(glob.ainvoke(call)).content == glob.invoke(call).content


def test_a_model_s_mistake_is_a_message_with_the_status_error(local_backend: Backend) -> None:
    message = called(one(local_backend, "glob"), patern="*")
    assert message.status == "error"
    assert message.content == (
        "glob: 'pattern' is required; unknown argument 'patern' (did you mean 'pattern'?). "
        "Valid arguments: pattern (required), path, case_sensitive, respect_git_ignore."
    )


def test_an_argument_under_another_of_its_names_is_taken(local_backend: Backend) -> None:
    local_backend.workspace.write_bytes("a.txt", b"hello")
    assert called(one(local_backend, "read_file"), file_path="a.txt").content == "hello"


def test_a_backend_that_is_not_running_raises(local_backend: Backend) -> None:
    local_backend.shutdown()
    with pytest.raises(BackendNotStartedError):
        called(one(local_backend, "glob"), pattern="*")


def test_an_image_is_a_block_behind_the_text(local_backend: Backend) -> None:
    local_backend.workspace.write_bytes("a.png", PNG)
    message = called(one(local_backend, "read_file"), absolute_path="a.png")
    assert message.content == [
        {"type": "text", "text": message.artifact.content},
        {"type": "image", "base64": base64.b64encode(PNG).decode(), "mime_type": "image/png"},
    ]


def test_a_model_without_images_is_told_so(local_backend: Backend) -> None:
    local_backend.workspace.write_bytes("a.png", PNG)
    message = called(one(local_backend, "read_file", {"image_inputs": False}), absolute_path="a.png")
    assert message.content == f"{message.artifact.content}\n[a.png is not shown: this model takes no images.]"


def test_a_pdf_is_a_block_for_a_model_that_takes_one(local_backend: Backend) -> None:
    content = pdf()
    local_backend.workspace.write_bytes("a.pdf", content)
    message = called(one(local_backend, "read_file", {"pdf_inputs": True}), absolute_path="a.pdf")
    data = base64.b64encode(content).decode()
    assert message.content[1] == {
        "type": "file", "filename": "a.pdf", "base64": data, "mime_type": "application/pdf"
    }  # fmt: skip


@pytest.mark.extra
def test_a_pdf_is_text_for_a_model_that_takes_none(local_backend: Backend) -> None:
    local_backend.workspace.write_bytes("a.pdf", pdf(pages=2))
    message = called(one(local_backend, "read_file"), absolute_path="a.pdf")
    assert message.content == (
        f"{message.artifact.content}\n[a.pdf as text, because this model takes no PDFs; 2 pages]\n"
        f"--- page 1 ---\n{PDF_TEXT} 1\n--- page 2 ---\n{PDF_TEXT} 2"
    )
