"""What is LangChain's own about the agent: models by name, profiles, usage, messages."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from langchain_core.language_models.fake_chat_models import GenericFakeChatModel
from langchain_core.messages import AIMessage, HumanMessage, ToolMessage
from langchain_openai import ChatOpenAI
from tests.frameworks.samples import PNG, pdf
from tests.frameworks.serving import Serve
from tests.services.model_server import Call, ModelServer, Turn

import omniagents
from omniagents.backends.base import Backend
from omniagents.errors import ModelError
from omniagents_langchain.agent import LangChainAgent

_READ = [
    Turn(calls=[Call("read_file", {"absolute_path": "a.png"}), Call("read_file", {"absolute_path": "a.pdf"})]),
    Turn("I see."),
]


@pytest.fixture
def files(local_backend: Backend) -> Backend:
    """A backend with a picture and a document."""
    local_backend.workspace.write_bytes("a.png", PNG)
    local_backend.workspace.write_bytes("a.pdf", pdf())
    return local_backend


def chat(server: ModelServer, **options: Any) -> ChatOpenAI:
    return ChatOpenAI(model="scripted", base_url=server.openai_url, api_key="unused", **options)


class Canned(GenericFakeChatModel):
    """Says what it was given, and takes tools."""

    def bind_tools(self, tools: Any, **options: Any) -> Any:
        return self


@pytest.mark.parametrize("reason", [{"finish_reason": "SAFETY"}, {"stop_reason": "refusal"}])
def test_a_refusal_in_another_provider_s_words(local_backend: Backend, reason: dict[str, str]) -> None:
    model = Canned(messages=iter([AIMessage("No.", response_metadata=reason)]))
    result = LangChainAgent(backend=local_backend, model=model).run("?")
    assert (str(result), result.refused) == ("No.", True)


def test_a_validation_error_that_is_not_about_calls_ends_the_run(local_backend: Backend) -> None:
    def fail() -> Iterator[AIMessage]:
        yield AIMessage(content=None)  # type: ignore[arg-type]

    with pytest.raises(ModelError) as raised:
        LangChainAgent(backend=local_backend, model=Canned(messages=fail())).run("?")
    assert type(raised.value.__cause__).__name__ == "ValidationError"


def test_the_newest_models_are_asked_by_responses(
    local_backend: Backend, serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = serve([Turn("Here.")])
    monkeypatch.setenv("OPENAI_API_KEY", "from the host")
    monkeypatch.setenv("OPENAI_BASE_URL", server.openai_url)
    assert str(LangChainAgent(backend=local_backend, model="openai:gpt-5-codex").run("?")) == "Here."
    assert [request.api for request in server.requests] == ["responses"]


def test_a_model_may_be_a_name(local_backend: Backend, serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    server = serve([Turn("Here.")])
    monkeypatch.setenv("OPENAI_API_KEY", "from the host")
    monkeypatch.setenv("OPENAI_BASE_URL", server.openai_url)
    assert str(LangChainAgent(backend=local_backend, model="openai:gpt-4.1").run("?")) == "Here."
    assert server.requests[0].model == "gpt-4.1"
    assert server.requests[0].headers["authorization"] == "Bearer from the host"


@pytest.mark.parametrize(
    ("model", "variable"),
    [("openai:gpt-4.1", "OPENAI_API_KEY"), ("anthropic:claude-scripted", "ANTHROPIC_API_KEY")],
)
def test_a_missing_key_is_the_framework_s_error_and_our_hint(
    local_backend: Backend, serve: Serve, monkeypatch: pytest.MonkeyPatch, model: str, variable: str
) -> None:
    # One client refuses to be made without a key, the other cannot send a header without one.
    monkeypatch.setenv("ANTHROPIC_BASE_URL", serve([]).anthropic_url)
    with pytest.raises(ModelError) as raised:
        LangChainAgent(backend=local_backend, model=model).run("?")
    said, _, hint = str(raised.value).partition("\n")
    assert said.startswith("the model failed: ")
    assert str(raised.value.__cause__) in said
    assert hint == (
        f"{variable} is not set. Set it where this program runs, or give the key to the framework's model object; it "
        "is read on the host only and never enters an environment."
    )


def test_a_name_nobody_knows_is_langchain_s_error(local_backend: Backend) -> None:
    with pytest.raises(ValueError, match="Unable to infer model provider"):
        LangChainAgent(backend=local_backend, model="nobody-knows-this")


def test_what_is_no_model_is_refused(local_backend: Backend) -> None:
    with pytest.raises(TypeError) as raised:
        LangChainAgent(backend=local_backend, model=5)  # type: ignore[arg-type]
    assert str(raised.value) == "model is a chat model of LangChain or the name of one, not 5"


def test_it_is_made_by_name(local_backend: Backend, serve: Serve) -> None:
    agent = omniagents.create_agent("langchain", backend=local_backend, model=chat(serve([Turn("Here.")])))
    assert isinstance(agent, LangChainAgent)
    assert str(agent.run("?")) == "Here."


def test_usage_is_langchain_s_and_summed(local_backend: Backend, serve: Serve) -> None:
    script = [Turn(calls=[Call("glob", {"pattern": "*"})], usage=(100, 10)), Turn("Done.", usage=(200, 20))]
    usage = LangChainAgent(backend=local_backend, model=chat(serve(script))).run("?").usage
    assert (usage["input_tokens"], usage["output_tokens"], usage["total_tokens"]) == (300, 30, 330)


def test_messages_are_langchain_s(local_backend: Backend, serve: Serve) -> None:
    script = [Turn(calls=[Call("glob", {"pattern": "*"})]), Turn("Done.")]
    messages = LangChainAgent(backend=local_backend, model=chat(serve(script))).run("?").messages
    assert [type(message) for message in messages] == [HumanMessage, AIMessage, ToolMessage, AIMessage]


def test_media_go_into_tool_messages_where_the_profile_says_so(files: Backend, serve: Serve) -> None:
    server = serve(_READ)
    profile = {"image_inputs": True, "pdf_inputs": True, "image_tool_message": True, "pdf_tool_message": True}
    LangChainAgent(backend=files, model=chat(server, profile=profile)).run("Look.")
    first, second = server.requests[1].results
    assert [media.data for media in first.media] == [PNG]
    assert [media.mime_type for media in second.media] == ["application/pdf"]


def test_media_follow_the_tool_messages_where_the_profile_says_otherwise(files: Backend, serve: Serve) -> None:
    server = serve(_READ)
    profile = {"image_inputs": True, "pdf_inputs": True, "image_tool_message": False, "pdf_tool_message": False}
    LangChainAgent(backend=files, model=chat(server, profile=profile)).run("Look.")
    request = server.requests[1]
    assert [message["role"] for message in request.body["messages"]][-4:] == ["assistant", "tool", "tool", "user"]
    assert [result.media for result in request.results] == [(), ()]
    assert [media.mime_type for media in request.media] == ["image/png", "application/pdf"]


def test_what_was_read_stays_in_place_in_later_turns(files: Backend, serve: Serve) -> None:
    server = serve([_READ[0], Turn(calls=[Call("glob", {"pattern": "*"})]), Turn("Done.")])
    LangChainAgent(backend=files, model=chat(server, profile={"image_inputs": True})).run("Look.")
    earlier, later = (request.body["messages"] for request in server.requests[1:])
    assert later[: len(earlier)] == earlier


def test_a_model_without_images_or_pdfs_gets_text(files: Backend, serve: Serve) -> None:
    server = serve(_READ)
    LangChainAgent(backend=files, model=chat(server, profile={"image_inputs": False})).run("Look.")
    assert server.requests[1].media == []
    assert "this model takes no images" in server.requests[1].results[0].text
    assert "this model takes no PDFs" in server.requests[1].results[1].text
