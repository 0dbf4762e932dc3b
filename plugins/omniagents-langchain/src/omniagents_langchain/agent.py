"""``LangChainAgent``: LangChain's own loop, ``create_agent``, on the tools of a backend."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from langchain.agents import create_agent
from langchain.chat_models import init_chat_model
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import BaseMessage
from langchain_core.runnables import Runnable

from omniagents.agents.base import DEFAULT_MAX_STEPS, Agent
from omniagents.agents.keys import credentials_hint
from omniagents.agents.records import AgentResult
from omniagents.agents.run import Run, model_error
from omniagents_langchain.middleware import RunCallbacks, RunMiddleware
from omniagents_langchain.tools import langchain_tools

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from omniagents.backends.base import Backend
    from omniagents.presets.base import Preset
    from omniagents.tools.base import Tool

__all__ = ["LangChainAgent"]

# Nodes of LangGraph that one turn passes: the model, then the tools. The run's own limit always comes first.
_NODES_PER_TURN = 4

# The providers' words for it, in lower case.
_REFUSALS = ("blocklist", "content_filter", "prohibited_content", "refusal", "safety")


class LangChainAgent(Agent):
    """A LangChain agent with Omniagents' tools on one backend.

    Args:
        backend: Where the tools work.
        model: A chat model, or a name for ``init_chat_model`` such as ``openai:gpt-4.1``.
        preset: Sets tools and instructions: a preset, its class or its name; by default the backend's own preset, or
            ``generic``.
        tools: Instead of the preset's: tools, or names of tools.
        system_prompt: Instead of the preset's instructions.
        max_steps: Turns of the model in one run, at least 1.

    Raises:
        ModelError: The model of this name needs a key that is not there.
        ImportError: The model of this name needs a package that is not installed; LangChain's message names it.
    """

    def __init__(
        self,
        backend: Backend,
        model: BaseChatModel | str,
        *,
        preset: Preset | Callable[[], Preset] | str | None = None,
        tools: Sequence[Tool | str] | None = None,
        system_prompt: str | None = None,
        max_steps: int = DEFAULT_MAX_STEPS,
    ) -> None:
        super().__init__(backend, model, preset=preset, tools=tools, system_prompt=system_prompt, max_steps=max_steps)
        self._model = _chat_model(model)
        self._profile: dict[str, Any] = dict(getattr(self._model, "profile", None) or {})
        self._langchain_tools = langchain_tools(backend, self.tools, profile=self._profile)

    # There is no _awork: LangChain's asynchronous clients are shared by all models, never closed, and of use in the
    # first event loop only. A thread has none of that.
    def _work(self, task: str, run: Run) -> AgentResult:
        callbacks = RunCallbacks(run)
        graph: Any = create_agent(
            self._model,
            self._langchain_tools,
            system_prompt=self.system_prompt or None,
            middleware=[RunMiddleware(run, callbacks, self._profile, self.model)],
        )
        steps = graph.stream(
            {"messages": [{"role": "user", "content": task}]},
            {"callbacks": [callbacks], "recursion_limit": (self.max_steps + 1) * _NODES_PER_TURN},
            # The first makes models stream.
            stream_mode="messages" if run.streamed else "values",
        )
        for _ in steps:
            pass  # the callbacks have emitted it
        return _result(run)


def _chat_model(model: BaseChatModel | str) -> BaseChatModel:
    if not isinstance(model, (str, Runnable)):
        raise TypeError(f"model is a chat model of LangChain or the name of one, not {model!r:.200}")
    if not isinstance(model, str):
        return model
    try:
        return init_chat_model(model)
    except Exception as error:
        if not credentials_hint(error, model):
            raise
        raise model_error(error, model) from error


def _result(run: Run) -> AgentResult:
    last: BaseMessage = run.messages[-1]
    about = last.response_metadata
    reason = (
        about.get("finish_reason") or about.get("stop_reason") or (about.get("incomplete_details") or {}).get("reason")
    )
    blocks = [block for block in last.content if isinstance(block, dict) and block.get("type") == "refusal"]
    refusal = last.additional_kwargs.get("refusal") or "".join(block["refusal"] for block in blocks)
    # langchain-openai drops the words of a refusal in a stream: they are all that comes without anything else.
    dropped = run.streamed and about.get("model_provider") == "openai" and not last.content
    refused = bool(refusal) or dropped or str(reason).lower() in _REFUSALS
    return run.result(str(last.text) or refusal, refused=refused)
