"""Which template a sandbox is made from."""

from __future__ import annotations

from omniagents.presets.base import Preset

__all__ = ["template_name", "template_of"]


def template_name(preset: Preset) -> str:
    """The name that ``omniagents e2b build-template`` gives a preset's template."""
    return f"omniagents-{preset.name}"


def template_of(template: str | None, preset: Preset | None) -> str | None:
    """The template asked for, else the preset's, where it needs more than E2B's own; None for E2B's own."""
    if template is None and preset is not None and preset.image is not None:
        return template_name(preset)
    return template
