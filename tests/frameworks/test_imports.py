"""A framework is imported when its agent is asked for, not before."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

_FRAMEWORKS = ["langchain", "langchain_core", "langgraph", "pydantic_ai", "smolagents", "openai", "anthropic"]


def imported(program: str) -> list[str]:
    """Which frameworks a fresh interpreter has imported after ``program``."""
    ending = f"import sys, json\nprint(json.dumps([name for name in {_FRAMEWORKS} if name in sys.modules]))"
    finished = subprocess.run(
        [sys.executable, "-c", f"{program}\n{ending}"], capture_output=True, text=True, check=True
    )
    names: list[str] = json.loads(finished.stdout.splitlines()[-1])
    return names


@pytest.mark.parametrize(
    "program",
    [
        "import omniagents",
        "import omniagents; assert {'langchain', 'pydantic-ai', 'smolagents'} <= "
        "{record.name for record in omniagents.available('agent')}",
        "import omniagents.agents.base, omniagents.agents.langchain_agent, omniagents.agents.pydantic_ai_agent, "
        "omniagents.agents.smolagents_agent",
        "import omniagents_langchain, omniagents_pydantic_ai, omniagents_smolagents",
    ],
)
def test_importing_the_core_or_listing_plugins_imports_no_framework(program: str) -> None:
    assert imported(program) == []


@pytest.mark.parametrize(
    ("path", "others"),
    [
        ("omniagents.agents.langchain_agent import LangChainAgent", {"pydantic_ai", "smolagents"}),
        ("omniagents.agents.pydantic_ai_agent import PydanticAIAgent", {"langchain", "smolagents"}),
        ("omniagents.agents.smolagents_agent import SmolagentsAgent", {"langchain", "pydantic_ai"}),
    ],
)
def test_a_framework_s_agent_imports_no_other_framework(path: str, others: set[str]) -> None:
    assert others.isdisjoint(imported(f"from {path}"))
