"""``save_memory``: what an agent should still know in its next session; ``load_memory`` reads it for prompts."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field, model_validator

from omniagents.guest.hints import quoted
from omniagents.guest.memory import MAX_KEY_CHARACTERS
from omniagents.records import Reply
from omniagents.tools._rendering import plural
from omniagents.tools._sendable import SendableText
from omniagents.tools.base import Tool, ToolArguments, ToolResult

if TYPE_CHECKING:
    from omniagents.backends.base import Backend

__all__ = ["SaveMemoryTool", "load_memory"]

# A store edited by hand may hold longer values than this tool would save.
_MAX_SHOWN_CHARACTERS = 4_096


class SaveMemoryTool(Tool):
    """Keeps a fact in the workspace's memory store."""

    name = "save_memory"
    operation = "save_memory"
    description = (
        "Remember a fact about this project or its user in later sessions: a preference, a decision, a command that "
        "works. Give a short key and the value, or the fact alone. Saving a key again overwrites its value. At most "
        "4 KiB a value and 64 KiB in all; not for file contents or passing thoughts."
    )

    class Arguments(ToolArguments):
        """What ``save_memory`` is called with: ``key`` and ``value``, or ``fact``."""

        key: Annotated[str, Field(max_length=MAX_KEY_CHARACTERS)] | None = Field(
            None, description="What the value is found by, such as 'test-command'."
        )
        value: SendableText | None = Field(None, description="What to remember; at most 4 KiB.")
        fact: SendableText | None = Field(
            None, description="Instead of key and value: one sentence; its key is made from its first words."
        )

        @model_validator(mode="after")
        def _require_one_form(self) -> SaveMemoryTool.Arguments:
            if self.fact is not None:
                if self.key is not None or self.value is not None:
                    raise ValueError("give either key and value, or fact alone")
                if not self.fact.strip():
                    raise ValueError("the fact is empty")
            elif self.key is None or self.value is None:
                raise ValueError("give key and value together, or fact alone")
            return self

    def request(self, arguments: Any) -> tuple[dict[str, Any], bytes]:
        """The value travels as payload."""
        value = arguments.value if arguments.fact is None else arguments.fact
        return {"key": arguments.key}, value.encode()

    def result(self, arguments: Any, reply: Reply) -> ToolResult:
        """Says the key, and what it held before."""
        facts: dict[str, Any] = dict(reply.value)
        key = quoted(facts["key"])
        total = f"{plural(facts['entries'], 'entry', 'entries')} in memory."
        if not facts["changed"]:
            content = f"{key} already holds this. {total}"
        elif facts["old"] is None:
            content = f"Saved {key}. {total}"
        else:
            old = facts["old"][:_MAX_SHOWN_CHARACTERS] + "…" * (len(facts["old"]) > _MAX_SHOWN_CHARACTERS)
            content = f"Saved {key}; it held {quoted(old)} before. {total}"
        return ToolResult(content, data=facts)


def load_memory(backend: Backend) -> dict[str, str]:
    """Everything the project's agents saved, by key; ``{}`` where nothing was.

    Raises:
        GuestCallError: ``STORE_CORRUPT``: the store is not a flat JSON object of texts. It stays as it is.
        BackendNotStartedError: The backend is not running.
    """
    reply: Reply = backend.workspace.request("load_memory", {}).result()
    entries: dict[str, str] = json.loads(reply.payload)
    return entries
