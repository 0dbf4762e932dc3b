"""A backend's tools as smolagents tools, for agents of your own as for ``SmolagentsAgent``."""

from __future__ import annotations

import io
import json
import warnings
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

import PIL.Image
import PIL.ImageOps
import PIL.PngImagePlugin
import smolagents

from omniagents.agents.rendering import model_content
from omniagents.agents.run import call_tool
from omniagents.agents.tooling import make_tools

if TYPE_CHECKING:
    from omniagents.backends.base import Backend
    from omniagents.tools.base import DocumentPart, ImagePart
    from omniagents.tools.base import Tool as OmniagentsTool

__all__ = ["BackendTool", "show_images", "smolagents_tools"]

# What providers of models take; what else Pillow can decode, no image from an environment should reach.
_FORMATS: Final = ("PNG", "JPEG", "GIF", "WEBP", "BMP")
_MOST_PIXELS: Final = 50_000_000
_MOST_IMAGES: Final = 16
_MOST_BYTES: Final = 5 * (1 << 20) // 4 * 3  # 5 MiB as base64, which providers take


def smolagents_tools(
    backend: Backend, tools: Sequence[OmniagentsTool | str] | None = None, *, images: bool = True
) -> list[BackendTool]:
    """The tools of a backend for ``ToolCallingAgent(tools=...)``.

    Images reach the model with ``step_callbacks=[show_images]``. By default a ``CodeAgent`` runs its Python on the
    host: give it ``executor=BackendPythonExecutor(backend)``.

    Args:
        backend: Where they work; must be running when they are called.
        tools: Tools, or names of tools; by default those of the backend's preset.
        images: The model takes images; if not, results say that one is missing.

    Raises:
        PluginError: A tool cannot be had.
    """
    return [BackendTool(tool, images=images) for tool in make_tools(backend, tools)]


def show_images(step: smolagents.ActionStep, agent: Any) -> None:
    """A step callback: the images that tools have read in this step are its ``observations_images``."""
    read = [image for tool in agent.tools.values() if isinstance(tool, BackendTool) for image in tool.take_images()]
    if read:
        step.observations_images = [*(step.observations_images or []), *read]


class BackendTool(smolagents.Tool):  # type: ignore[misc]
    """One tool under its own name, description and schema; a mistake of the model is its result, not an exception."""

    output_type = "string"
    skip_forward_signature_validation = True  # the arguments are checked by the tool itself

    def __init__(self, tool: OmniagentsTool, *, images: bool = True) -> None:
        self.name = tool.name
        self.description = tool.description
        self.inputs = _inputs(tool.schema())
        self._tool = tool
        self._takes_images = images
        self._images: list[PIL.Image.Image] = []
        super().__init__()

    def __call__(self, *args: Any, sanitize_inputs_outputs: bool = False, **kwargs: Any) -> str:
        """Run the tool as smolagents does: with an object of arguments, with Python's arguments, or with one string.

        Raises:
            BackendError: The environment is gone, or was never there.
            TypeError: More positional arguments than the tool has.
        """
        # A ToolCallingAgent hands on what it could not parse; taken for the first argument, a torn piece of JSON would
        # be run as a command.
        if len(args) == 1 and not kwargs and (sanitize_inputs_outputs or isinstance(args[0], dict)):
            return self.answer(args[0])
        return self.forward(*args, **kwargs)

    def forward(self, *args: Any, **kwargs: Any) -> str:
        """Run the tool with Python's arguments."""
        if len(args) > len(self.inputs):
            raise TypeError(f"{self.name} takes at most {len(self.inputs)} arguments, not {len(args)}")
        return self.answer({**dict(zip(self.inputs, args, strict=False)), **kwargs})

    def answer(self, arguments: object) -> str:
        """The text of the tool's result, whatever a model has sent; images wait for ``take_images``."""
        given = arguments if isinstance(arguments, (dict, str)) else json.dumps(arguments)
        text, parts = model_content(call_tool(self._tool, given), images=self._takes_images, documents=False)
        return "\n".join([text, *filter(None, map(self._taken, parts))])

    def take_images(self) -> list[PIL.Image.Image]:
        """The images read since the last call."""
        taken, self._images = self._images, []
        return taken

    def _taken(self, part: ImagePart | DocumentPart) -> str:
        """Keep an image; or what the model is told where that cannot be done."""
        try:
            self._images.append(_image(part.data))
        except Exception as error:  # Pillow raises whatever a broken file makes happen in it
            return f"[{part.name} is not shown: {type(error).__name__}: {error}.]"
        del self._images[:-_MOST_IMAGES]  # nobody may take them, without the callback
        return ""


def _inputs(schema: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """A JSON schema's properties as smolagents has them: a list of types for a choice, ``nullable`` for optional."""
    inputs = {}
    for name, value in schema["properties"].items():
        rest = {key: part for key, part in value.items() if key != "anyOf"}
        choices = value.get("anyOf", [])
        for choice in choices:
            rest = {**choice, **rest}
        if choices:
            rest["type"] = [choice["type"] for choice in choices]
        inputs[name] = rest if name in schema.get("required", ()) else {**rest, "nullable": True}
    return inputs


class _PNG(PIL.PngImagePlugin.PngImageFile):
    """What smolagents writes as PNG for a model, in every request anew, is this file, byte for byte."""

    def __init__(self, data: bytes) -> None:
        super().__init__(io.BytesIO(data))
        self._data = data

    def save(self, fp: Any, format: str | None = None, **params: Any) -> None:
        if format == "PNG" and not params and hasattr(fp, "write"):
            fp.write(self._data)
        else:
            super().save(fp, format, **params)

    def __deepcopy__(self, memo: object) -> _PNG:
        return self  # smolagents copies all messages for each request


def _image(data: bytes) -> PIL.Image.Image:
    with warnings.catch_warnings():
        warnings.simplefilter("error", PIL.Image.DecompressionBombWarning)
        image: PIL.Image.Image = PIL.Image.open(io.BytesIO(data), formats=_FORMATS)
        if image.width * image.height > _MOST_PIXELS:
            raise ValueError(f"{image.width} x {image.height} are too many pixels; at most {_MOST_PIXELS:,}")
        png = _PNG(data if image.format == "PNG" else _as_png(image))
        png.load()
        return png


def _as_png(image: PIL.Image.Image) -> bytes:
    """The image as PNG, upright, and at half the size until it is small enough."""
    image = PIL.ImageOps.exif_transpose(image.convert("RGB") if image.mode == "CMYK" else image)
    while True:
        with io.BytesIO() as file:
            image.save(file, "PNG")
            if file.tell() <= _MOST_BYTES:
                return file.getvalue()
        image.thumbnail((image.width // 2, image.height // 2))
