"""``LangChainAgent`` with OpenAI's genuine client; with Anthropic's in the plugin's own tests."""

from __future__ import annotations

from typing import Any

import pytest
from langchain_openai import ChatOpenAI
from tests.frameworks.serving import Serve

from omniagents.agents.langchain_agent import LangChainAgent
from omniagents.backends.base import Backend
from omniagents.testing import AgentContract, AgentFactory
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
