"""``PydanticAIAgent`` with OpenAI's and Anthropic's genuine clients."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic_ai.models.anthropic import AnthropicModel
from pydantic_ai.models.openai import OpenAIChatModel, OpenAIResponsesModel
from pydantic_ai.providers.anthropic import AnthropicProvider
from pydantic_ai.providers.openai import OpenAIProvider
from tests.frameworks.conftest import Serve

from omniagents.agents.pydantic_ai_agent import PydanticAIAgent
from omniagents.backends.base import Backend
from omniagents.backends.local_backend import LocalBackend
from omniagents.testing import AgentContract, AgentFactory, BackendFactory
from omniagents.testing.scripts import Script, Turn


class TestPydanticAIWithOpenAI(AgentContract):
    """On every backend."""

    @pytest.fixture
    def agent_factory(self, serve: Serve) -> AgentFactory:
        def make(backend: Backend, script: Script, **options: Any) -> PydanticAIAgent:
            provider = OpenAIProvider(base_url=serve(script).openai_url, api_key="unused")
            return PydanticAIAgent(backend=backend, model=OpenAIChatModel("scripted", provider=provider), **options)

        return make


class OnOneBackend(AgentContract):
    """On one backend: the client makes no difference to the others."""

    @pytest.fixture(scope="class")
    @classmethod
    def backend_factory(cls) -> BackendFactory:
        return LocalBackend


class TestPydanticAIWithResponses(OnOneBackend):
    """OpenAI's responses, which names such as ``openai:gpt-4.1`` mean."""

    @pytest.fixture
    def agent_factory(self, serve: Serve) -> AgentFactory:
        def make(backend: Backend, script: Script, **options: Any) -> PydanticAIAgent:
            provider = OpenAIProvider(base_url=serve(script).openai_url, api_key="unused")
            model = OpenAIResponsesModel("scripted", provider=provider)
            return PydanticAIAgent(backend=backend, model=model, **options)

        return make


class TestPydanticAIWithAnthropic(OnOneBackend):
    """Anthropic's messages."""

    @pytest.fixture
    def agent_factory(self, serve: Serve) -> AgentFactory:
        def make(backend: Backend, script: Script, **options: Any) -> PydanticAIAgent:
            provider = AnthropicProvider(base_url=serve(script).anthropic_url, api_key="unused")
            return PydanticAIAgent(backend=backend, model=AnthropicModel("scripted", provider=provider), **options)

        return make


@pytest.mark.parametrize(("name", "api"), [("openai:gpt-4.1", "responses"), ("openai-chat:gpt-4.1", "openai")])
def test_a_name_asks_by_the_api_that_pydantic_ai_means_by_it(
    local_backend: Backend, serve: Serve, monkeypatch: pytest.MonkeyPatch, name: str, api: str
) -> None:
    server = serve([Turn("Here.")])
    monkeypatch.setenv("OPENAI_API_KEY", "from the host")
    monkeypatch.setenv("OPENAI_BASE_URL", server.openai_url)
    assert str(PydanticAIAgent(backend=local_backend, model=name).run("?")) == "Here."
    assert [request.api for request in server.requests] == [api]
