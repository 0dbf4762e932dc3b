"""Which template a sandbox is made from, and what is in a preset's."""

from __future__ import annotations

from typing import Final

from omniagents.presets.base import Preset

__all__ = ["definition", "template_name", "template_of"]

_IMAGE: Final = "python:3.12-bookworm"

_DEFINITION: Final = '''\
"""The E2B template {name!r} for Omniagents: {image} with git, Python and uv.

python template.py    builds it at E2B; needs E2B_API_KEY and `pip install e2b`
"""

from e2b import Template, default_build_logger

NAME = {name!r}

template = (
    Template()
    .from_image({image!r})
    .apt_install(["ca-certificates", "curl", "git", "python3-pip", "python3-venv"])
    .run_cmd("command -v uv || pip install --break-system-packages uv", user="root")
)

if __name__ == "__main__":
    Template.build(template, NAME, on_build_logs=default_build_logger())
'''


def template_name(preset: Preset) -> str:
    """The name that ``omniagents e2b build-template`` gives a preset's template."""
    return f"omniagents-{preset.name}"


def template_of(template: str | None, preset: Preset | None) -> str | None:
    """The template asked for, else the preset's, where it needs more than E2B's own; None for E2B's own."""
    if template is None and preset is not None and preset.image is not None:
        return template_name(preset)
    return template


def definition(preset: Preset) -> str:
    """A Python program that builds the preset's template: its image, with git, Python and uv."""
    return _DEFINITION.format(name=template_name(preset), image=preset.image or _IMAGE)
