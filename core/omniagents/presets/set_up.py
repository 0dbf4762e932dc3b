"""Running a preset's set-up commands."""

from __future__ import annotations

from collections.abc import Mapping

from omniagents.errors import BackendStartError
from omniagents.presets.base import Preset
from omniagents.workspace import Workspace

__all__ = ["set_up"]

_SHOWN_CHARACTERS = 2000


def set_up(preset: Preset, workspace: Workspace, *, where: str, env: Mapping[str, str] | None = None) -> None:
    """Run the set-up commands of a preset in a new workspace, one after the other.

    Args:
        preset: Whose commands.
        workspace: Where.
        where: What the workspace belongs to, for the error.
        env: Variables that its environment does not have already.

    Raises:
        BackendStartError: One of them failed; the rest did not run.
    """
    for command in preset.setup_commands:
        result = workspace.run(command, merge_streams=True, env=env)
        if result.exit_code:
            raise BackendStartError(
                f"{where}: set-up command {command!r} of preset {preset.name!r} failed with exit code "
                f"{result.exit_code}: {result.stdout_text[-_SHOWN_CHARACTERS:]}"
            )
