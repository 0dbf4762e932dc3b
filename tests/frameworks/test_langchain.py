"""``LangChainAgent`` with OpenAI's and Anthropic's genuine clients."""

from __future__ import annotations

from typing import Any

import pytest
from langchain_anthropic import ChatAnthropic
from langchain_openai import ChatOpenAI
from tests.frameworks.conftest import Serve

from omniagents.agents.langchain_agent import LangChainAgent
from omniagents.backends.base import Backend
from omniagents.backends.local_backend import LocalBackend
from omniagents.testing import AgentContract, AgentFactory, BackendFactory
from omniagents.testing.scripts import Script


class TestLangChainWithOpenAI(AgentContract):
    """On every backend."""

    @pytest.fixture
    def agent_factory(self, serve: Serve) -> AgentFactory:
        def make(backend: Backend, script: Script, **options: Any) -> LangChainAgent:
            url = serve(script).openai_url
            model = ChatOpenAI(model="scripted", base_url=url, api_key="unused", stream_usage=True)
            return LangChainAgent(backend=backend, model=model, **options)

        return make


class TestLangChainWithAnthropic(AgentContract):
    """On one backend: the client makes no difference to the others."""

    @pytest.fixture(scope="class")
    @classmethod
    def backend_factory(cls) -> BackendFactory:
        return LocalBackend

    @pytest.fixture
    def agent_factory(self, serve: Serve) -> AgentFactory:
        def make(backend: Backend, script: Script, **options: Any) -> LangChainAgent:
            url = serve(script).anthropic_url
            model = ChatAnthropic(model="scripted", base_url=url, api_key="unused", max_tokens=1000)
            return LangChainAgent(backend=backend, model=model, **options)

        return make
