"""``omniagents e2b``: what has to be done at E2B before presets can be used there."""

from __future__ import annotations

import runpy
from pathlib import Path

import click

from omniagents.cli.output import note
from omniagents.plugins import registry
from omniagents_e2b.templates import definition, template_name

__all__ = ["e2b"]


@click.group()
def e2b() -> None:
    """Templates for the backend e2b."""


@e2b.command("build-template")
@click.argument("preset", default="python-uv")
@click.option(
    "--to",
    "directory",
    type=click.Path(file_okay=False, path_type=Path),
    help="Where to write template.py; by default a directory with the template's name.",
)
@click.option("--build", "is_built", is_flag=True, help="Also build it at E2B, with the key in E2B_API_KEY.")
def build_template(preset: str, directory: Path | None, is_built: bool) -> None:
    """Write the template of PRESET (python-uv by default): its image, with Python, git and uv.

    `E2BBackend(preset=…)` uses the template by its name once it is built.
    """
    chosen = registry.resolve("preset", preset)()
    target = directory or Path(template_name(chosen))
    target.mkdir(parents=True, exist_ok=True)
    file = target / "template.py"
    file.write_text(definition(chosen), encoding="utf-8")
    click.echo(str(file))
    if is_built:
        # The SDK takes half a second to import, and `omniagents --help` imports this module.
        from omniagents_e2b.service import translated

        with translated(f"building {template_name(chosen)}"):
            runpy.run_path(str(file), run_name="__main__")
    else:
        note(f"not built yet: `python {file}` does, or this command with --build")
