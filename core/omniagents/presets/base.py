"""``Preset``: what a kind of work needs from an environment and an agent. Data; nothing here runs anything."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

__all__ = ["ALL_TOOLS", "Preset"]

#: The ten built-in tools, in the order models see them.
ALL_TOOLS: Final = (
    "write_file",
    "read_file",
    "list_directory",
    "glob",
    "search_file_content",
    "replace",
    "run_shell_command",
    "read_many_files",
    "save_memory",
    "uv",
)


@dataclass(frozen=True)
class Preset:
    """What a backend prepares and an agent is told.

    Attributes:
        name: For listings and messages.
        tools: Names of tools, in the order models see them.
        image: The container image, for backends that have images; None leaves it to the backend.
        environment: Variables for every command; not a place for secrets.
        setup_commands: Shell commands run in order, once, in a new workspace (not in a restored one).
            One that fails fails the start, so they must cope with what an environment may lack.
        instructions: What a model should know about the workspace; the default system prompt.
    """

    name: str
    tools: tuple[str, ...] = ALL_TOOLS
    image: str | None = None
    environment: Mapping[str, str] = field(default_factory=dict, hash=False)
    setup_commands: tuple[str, ...] = ()
    instructions: str = ""

    def __post_init__(self) -> None:
        if not self.name or not isinstance(self.name, str):
            raise TypeError(f"the name of a preset is text that is not empty, not {self.name!r:.200}")
        if not isinstance(self.instructions, str):
            raise TypeError(f"instructions of a preset are text, not {self.instructions!r:.200}")
        if not isinstance(self.environment, Mapping):
            raise TypeError(
                f"environment of a preset maps names of variables to values, it is not {self.environment!r:.200}"
            )
        for attribute in ("tools", "setup_commands"):
            given = getattr(self, attribute)
            if isinstance(given, str):
                raise TypeError(f"{attribute} of a preset is a sequence of strings, not the string {given!r:.200}")
            object.__setattr__(self, attribute, tuple(given))
