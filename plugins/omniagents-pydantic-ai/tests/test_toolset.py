"""The toolset in a Pydantic AI agent of one's own."""

from __future__ import annotations

import asyncio
import base64
import io
from collections.abc import Iterator
from typing import Any

import pydantic_ai
import pytest
from pydantic_ai.messages import (
    BinaryContent,
    ModelMessage,
    ModelMessagesTypeAdapter,
    ModelRequest,
    ModelResponse,
    TextPart,
    ToolCallPart,
    ToolReturnPart,
    UserPromptPart,
)
from pydantic_ai.models.function import AgentInfo, FunctionModel
from pydantic_ai.profiles import ModelProfile

from omniagents import create_tools
from omniagents.backends.base import Backend
from omniagents.errors import BackendNotStartedError
from omniagents_pydantic_ai.toolset import omniagents_toolset

_PNG = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNkYPhfDwAChwGA60e6kgAAAABJRU5ErkJggg=="
)


class Model:
    """A model that makes the given calls one by one, then says "Done."; keeps what it was offered and told."""

    def __init__(self, *calls: ToolCallPart, **profile: Any) -> None:
        self._calls: Iterator[ToolCallPart] = iter(calls)
        self.offered: AgentInfo | None = None
        self.model = FunctionModel(self._answer, profile=ModelProfile(**profile))

    def _answer(self, messages: list[ModelMessage], offered: AgentInfo) -> ModelResponse:
        self.offered = offered
        call = next(self._calls, None)
        return ModelResponse(parts=[TextPart("Done.") if call is None else call])


def run(model: Model, toolset: Any) -> pydantic_ai.AgentRunResult[str]:
    return asyncio.run(pydantic_ai.Agent(model.model, toolsets=[toolset]).run("Go."))


def parts(result: pydantic_ai.AgentRunResult[str]) -> list[Any]:
    return [part for message in result.all_messages() if isinstance(message, ModelRequest) for part in message.parts]


def returned(result: pydantic_ai.AgentRunResult[str]) -> list[ToolReturnPart]:
    return [part for part in parts(result) if isinstance(part, ToolReturnPart)]


def attached(result: pydantic_ai.AgentRunResult[str]) -> list[Any]:
    sent = [part.content for part in parts(result) if isinstance(part, UserPromptPart)]
    return [item for content in sent if not isinstance(content, str) for item in content]


def test_tools_are_offered_with_their_own_names_descriptions_and_schemas(backend: Backend) -> None:
    model = Model()
    run(model, omniagents_toolset(backend))
    assert model.offered is not None
    offered = [(tool.name, tool.description, tool.parameters_json_schema) for tool in model.offered.function_tools]
    assert offered == [(tool.name, tool.description, tool.schema()) for tool in create_tools(backend)]


def test_only_the_tools_that_were_asked_for_are_offered(backend: Backend) -> None:
    model = Model()
    run(model, omniagents_toolset(backend, ["glob", *create_tools(backend, ["read_file"])], id="files"))
    assert model.offered is not None
    assert [tool.name for tool in model.offered.function_tools] == ["glob", "read_file"]


def test_a_result_is_the_tool_s_text_and_its_facts_are_metadata(backend: Backend) -> None:
    result = run(Model(ToolCallPart("run_shell_command", {"command": "echo hi; exit 3"})), omniagents_toolset(backend))
    (part,) = returned(result)
    assert part.content == "hi\n[exit code: 3]"
    assert part.metadata["is_error"] is True
    assert part.metadata["data"]["exit_code"] == 3


@pytest.mark.parametrize("arguments", ['{"command": "touch made', "[1]", '"touch made"', "nonsense", "[" * 100_000])
def test_arguments_that_are_no_object_are_answered_and_nothing_is_run(backend: Backend, arguments: str) -> None:
    result = run(Model(ToolCallPart("run_shell_command", arguments)), omniagents_toolset(backend))
    assert str(returned(result)[0].content).startswith("run_shell_command: the arguments are not a JSON object (")
    assert backend.workspace.list() == []


def test_many_mistakes_in_a_row_do_not_end_a_run(backend: Backend) -> None:
    wrong = [ToolCallPart("read_file", {"pfad": "a"}), ToolCallPart("read_file", "{"), ToolCallPart("read_file", {})]
    result = run(Model(*wrong * 3), omniagents_toolset(backend))
    assert result.output == "Done."
    assert len(returned(result)) == 9


def test_an_image_follows_its_result(backend: Backend) -> None:
    backend.workspace.write_bytes("pixel.png", _PNG)
    result = run(Model(ToolCallPart("read_file", {"absolute_path": "pixel.png"})), omniagents_toolset(backend))
    assert returned(result)[0].content == "Read image pixel.png (image/png, 70 bytes)"
    assert attached(result) == ["pixel.png, from read_file:", BinaryContent(_PNG, media_type="image/png")]


def test_messages_with_images_can_be_kept_as_json(backend: Backend) -> None:
    backend.workspace.write_bytes("pixel.png", _PNG)
    result = run(Model(ToolCallPart("read_file", {"absolute_path": "pixel.png"})), omniagents_toolset(backend))
    kept = ModelMessagesTypeAdapter.validate_json(ModelMessagesTypeAdapter.dump_json(result.all_messages()))
    assert len(kept) == len(result.all_messages())


def test_a_model_without_eyes_is_told_that_there_is_an_image(backend: Backend) -> None:
    backend.workspace.write_bytes("pixel.png", _PNG)
    model = Model(ToolCallPart("read_file", {"absolute_path": "pixel.png"}), supports_image_input=False)
    result = run(model, omniagents_toolset(backend))
    assert str(returned(result)[0].content).endswith("\n[pixel.png is not shown: this model takes no images.]")
    assert attached(result) == []


def pdf() -> bytes:
    """One page that says Hello."""
    stream = b"BT /F1 24 Tf 72 720 Td (Hello) Tj ET"
    objects = [
        b"<< /Type /Catalog /Pages 2 0 R >>",
        b"<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
        b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 612 792] /Contents 5 0 R"
        b" /Resources << /Font << /F1 4 0 R >> >> >>",
        b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>",
        b"<< /Length %d >>\nstream\n%s\nendstream" % (len(stream), stream),
    ]
    out, places = io.BytesIO(), []
    out.write(b"%PDF-1.4\n")
    for number, content in enumerate(objects, 1):
        places.append(out.tell())
        out.write(b"%d 0 obj\n%s\nendobj\n" % (number, content))
    start = out.tell()
    table = b"".join(b"%010d 00000 n \n" % place for place in places)
    out.write(b"xref\n0 6\n0000000000 65535 f \n%s" % table)
    out.write(b"trailer\n<< /Size 6 /Root 1 0 R >>\nstartxref\n%d\n%%%%EOF\n" % start)
    return out.getvalue()


def test_a_pdf_is_a_document(backend: Backend) -> None:
    backend.workspace.write_bytes("a.pdf", pdf())
    result = run(Model(ToolCallPart("read_file", {"absolute_path": "a.pdf"})), omniagents_toolset(backend))
    assert attached(result) == ["a.pdf, from read_file:", BinaryContent(pdf(), media_type="application/pdf")]


@pytest.mark.parametrize(
    "profile",
    [
        {"supports_document_input": False},
        {"openai_chat_supports_document_input": False},
        {"supported_document_media_types": frozenset({"text/plain"})},
    ],
)
def test_a_model_that_takes_no_pdf_gets_its_text(backend: Backend, profile: dict[str, Any]) -> None:
    pytest.importorskip("pypdf")
    backend.workspace.write_bytes("a.pdf", pdf())
    model = Model(ToolCallPart("read_file", {"absolute_path": "a.pdf"}), **profile)
    result = run(model, omniagents_toolset(backend))
    assert "Hello" in str(returned(result)[0].content)
    assert attached(result) == []


def test_a_lost_environment_ends_the_run(backend: Backend) -> None:
    toolset = omniagents_toolset(backend)
    backend.shutdown()
    with pytest.raises(BackendNotStartedError):
        run(Model(ToolCallPart("glob", {"pattern": "*"})), toolset)
