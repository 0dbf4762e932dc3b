"""Import shim: ``LangChainAgent`` lives in the distribution omniagents-langchain."""

from typing import TYPE_CHECKING

from omniagents._shim import from_plugins

if TYPE_CHECKING:
    from omniagents_langchain.agent import LangChainAgent as LangChainAgent  # type: ignore[import-not-found,unused-ignore]
else:
    __getattr__ = from_plugins(__name__, LangChainAgent="omniagents_langchain.agent")
