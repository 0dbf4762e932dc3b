"""An agent of each framework whose model is a scripted server."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tests.services.model_server import ModelServer

from omniagents.agents.base import Agent
from omniagents.backends.base import Backend

__all__ = ["FRAMEWORKS", "MakeAgent"]

#: ``(backend, server, **options)``.
MakeAgent = Callable[..., Agent]


def langchain(backend: Backend, server: ModelServer, **options: Any) -> Agent:
    from langchain_openai import ChatOpenAI

    from omniagents.agents.langchain_agent import LangChainAgent

    model = ChatOpenAI(model="scripted", base_url=server.openai_url, api_key="unused", stream_usage=True)
    return LangChainAgent(backend=backend, model=model, **options)


def pydantic_ai(backend: Backend, server: ModelServer, **options: Any) -> Agent:
    from pydantic_ai.models.openai import OpenAIChatModel
    from pydantic_ai.providers.openai import OpenAIProvider

    from omniagents.agents.pydantic_ai_agent import PydanticAIAgent

    provider = OpenAIProvider(base_url=server.openai_url, api_key="unused")
    return PydanticAIAgent(backend=backend, model=OpenAIChatModel("scripted", provider=provider), **options)


def smolagents(backend: Backend, server: ModelServer, **options: Any) -> Agent:
    from smolagents import OpenAIServerModel

    from omniagents.agents.smolagents_agent import SmolagentsAgent

    model = OpenAIServerModel("scripted", api_base=server.openai_url, api_key="unused")
    return SmolagentsAgent(backend=backend, model=model, **options)


FRAMEWORKS: dict[str, MakeAgent] = {"langchain": langchain, "pydantic-ai": pydantic_ai, "smolagents": smolagents}
