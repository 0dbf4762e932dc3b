"""The whole contract of agents with Anthropic's genuine client; tests/frameworks has OpenAI's, on every backend."""

from __future__ import annotations

from typing import Any

import pytest
from langchain_anthropic import ChatAnthropic
from tests.frameworks.serving import Serve

from omniagents.backends.base import Backend
from omniagents.backends.local_backend import LocalBackend
from omniagents.testing import AgentContract, AgentFactory, BackendFactory
from omniagents.testing.scripts import Script
from omniagents_langchain.agent import LangChainAgent


class TestLangChainWithAnthropic(AgentContract):
    """On the backend for development."""

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
