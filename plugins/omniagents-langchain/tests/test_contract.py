"""The contract of agents with other genuine clients; tests/frameworks has OpenAI's usual one, on every backend."""

from __future__ import annotations

from typing import Any

import pytest
from langchain_anthropic import ChatAnthropic
from langchain_openai import ChatOpenAI
from tests.frameworks.serving import Serve

from omniagents.backends.base import Backend
from omniagents.backends.local_backend import LocalBackend
from omniagents.testing import AgentContract, AgentFactory, BackendFactory
from omniagents.testing.scripts import Script
from omniagents_langchain.agent import LangChainAgent


class OnOneBackend(AgentContract):
    """On the backend for development: the client makes no difference to the others."""

    @pytest.fixture(scope="class")
    @classmethod
    def backend_factory(cls) -> BackendFactory:
        return LocalBackend


class TestLangChainWithAnthropic(OnOneBackend):
    """Anthropic's messages."""

    @pytest.fixture
    def agent_factory(self, serve: Serve) -> AgentFactory:
        def make(backend: Backend, script: Script, **options: Any) -> LangChainAgent:
            url = serve(script).anthropic_url
            model = ChatAnthropic(model="scripted", base_url=url, api_key="unused", max_tokens=1000)
            return LangChainAgent(backend=backend, model=model, **options)

        return make


class TestLangChainWithResponses(OnOneBackend):
    """OpenAI's responses, which LangChain takes for the newest models by itself."""

    @pytest.fixture
    def agent_factory(self, serve: Serve) -> AgentFactory:
        def make(backend: Backend, script: Script, **options: Any) -> LangChainAgent:
            url = serve(script).openai_url
            model = ChatOpenAI(model="scripted", base_url=url, api_key="unused", use_responses_api=True)
            return LangChainAgent(backend=backend, model=model, **options)

        return make
