"""The tools in a smolagents agent of one's own, and their schemas."""

from __future__ import annotations

import base64
import copy
import io
import random
import zlib
from collections.abc import Iterator
from typing import Any

import PIL.Image
import pytest
from rich.console import Console
from smolagents import AgentLogger, ChatMessage, LogLevel, MessageRole, Model, TokenUsage, ToolCallingAgent
from smolagents.models import ChatMessageToolCall, ChatMessageToolCallFunction, get_tool_json_schema
from smolagents.utils import encode_image_base64

from omniagents import create_tools
from omniagents.backends.base import Backend
from omniagents.errors import BackendNotStartedError
from omniagents_smolagents.tools import BackendTool, show_images, smolagents_tools

_PNG = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNkYPhfDwAChwGA60e6kgAAAABJRU5ErkJggg=="
)


class Scripted(Model):  # type: ignore[misc]
    """A model that makes the given calls one by one; keeps what it was told."""

    def __init__(self, *calls: tuple[str, Any]) -> None:
        super().__init__(model_id="scripted")
        self._calls: Iterator[tuple[str, Any]] = iter([*calls, ("final_answer", {"answer": "Done."})])
        self.heard: list[list[ChatMessage]] = []

    def generate(self, messages: list[ChatMessage], **_: Any) -> ChatMessage:
        self.heard.append(messages)
        name, arguments = next(self._calls)
        function = ChatMessageToolCallFunction(name=name, arguments=arguments)
        call = ChatMessageToolCall(id=f"call_{len(self.heard)}", type="function", function=function)
        return ChatMessage(MessageRole.ASSISTANT, "", [call], token_usage=TokenUsage(1, 1))


def run(model: Scripted, tools: list[BackendTool]) -> str:
    """What the model was told before its last turn."""
    logger = AgentLogger(level=LogLevel.OFF, console=Console(quiet=True))
    agent = ToolCallingAgent(tools=tools, model=model, logger=logger, step_callbacks=[show_images])
    assert agent.run("Go.") == "Done."
    content = model.heard[-1][-1].content
    assert isinstance(content, list)
    return str(content[0]["text"])


def by_name(tools: list[BackendTool]) -> dict[str, BackendTool]:
    return {tool.name: tool for tool in tools}


def test_tools_are_offered_as_they_describe_themselves(backend: Backend) -> None:
    for tool, own in zip(smolagents_tools(backend), create_tools(backend), strict=True):
        offered = get_tool_json_schema(tool)["function"]
        assert (offered["name"], offered["description"]) == (own.name, own.description)
        assert offered["parameters"]["required"] == own.schema().get("required", [])
        for name, value in own.schema()["properties"].items():
            given = offered["parameters"]["properties"][name]
            assert {key: given[key] for key in value if key != "anyOf"} == {
                key: part for key, part in value.items() if key != "anyOf"
            }


def test_a_choice_of_types_keeps_what_each_of_them_says(backend: Backend) -> None:
    (uv,) = smolagents_tools(backend, ["uv"])
    args = get_tool_json_schema(uv)["function"]["parameters"]["properties"]["args"]
    assert (args["type"], args["items"]) == (["string", "array"], {"type": "string"})


def test_results_are_the_tool_s_text(backend: Backend) -> None:
    tools = smolagents_tools(backend, ["run_shell_command"])
    told = run(Scripted(("run_shell_command", {"command": "echo hi; exit 3"})), tools)
    assert told == "Observation:\nhi\n[exit code: 3]"


@pytest.mark.parametrize("arguments", ['{"command": "touch made', "touch made"])
def test_what_cannot_be_parsed_is_never_taken_for_a_command(backend: Backend, arguments: str) -> None:
    told = run(Scripted(("run_shell_command", arguments)), smolagents_tools(backend))
    assert "run_shell_command: the arguments are not a JSON object (" in told
    assert backend.workspace.list() == []


def test_code_may_give_arguments_by_position(backend: Backend) -> None:
    tools = by_name(smolagents_tools(backend))
    assert tools["write_file"]("a.txt", content="a\n") == "Created a.txt: 1 line, 2 bytes."
    with pytest.raises(TypeError, match="glob takes at most 4 arguments, not 5"):
        tools["glob"](1, 2, 3, 4, 5)


def test_an_object_of_arguments_may_be_given_as_to_any_tool_of_smolagents(backend: Backend) -> None:
    tools = by_name(smolagents_tools(backend))
    assert tools["write_file"]({"absolute_path": "a.txt", "content": "a\n"}) == "Created a.txt: 1 line, 2 bytes."


def test_a_wrong_argument_is_answered(backend: Backend) -> None:
    tools = by_name(smolagents_tools(backend))
    told = (
        "glob: 'pattern' is required; unknown argument 'patern' (did you mean 'pattern'?). Valid arguments: pattern ("
    )
    assert tools["glob"](patern="*").startswith(told)


def test_an_image_is_the_step_s_observation(backend: Backend) -> None:
    backend.workspace.write_bytes("pixel.png", _PNG)
    model = Scripted(("read_file", {"absolute_path": "pixel.png"}))
    run(model, smolagents_tools(backend))
    content = model.heard[-1][-2].content
    assert isinstance(content, list)
    shown = content[0]["image"]
    with PIL.Image.open(io.BytesIO(_PNG)) as original:
        assert (shown.size, shown.mode, shown.tobytes()) == (original.size, original.mode, original.tobytes())


def test_a_png_stays_the_file_that_was_read(backend: Backend) -> None:
    backend.workspace.write_bytes("pixel.png", _PNG)
    (tool,) = smolagents_tools(backend, ["read_file"])
    tool(absolute_path="pixel.png")
    (image,) = tool.take_images()
    assert encode_image_base64(copy.deepcopy(image)) == base64.b64encode(_PNG).decode()
    with io.BytesIO() as file:
        image.convert("L").save(file, "PNG")
        assert file.getvalue() != _PNG


def photo(mode: str, size: tuple[int, int], **options: Any) -> bytes:
    """A JPEG of noise, which no other format makes as small."""
    noise = PIL.Image.frombytes(mode, size, random.Random(1).randbytes(len(mode) * size[0] * size[1]))
    with io.BytesIO() as file:
        noise.save(file, "JPEG", **options)
        return file.getvalue()


def as_sent(backend: Backend, data: bytes) -> PIL.Image.Image:
    """The image as smolagents' models get it, when ``read_file`` has read this."""
    backend.workspace.write_bytes("photo", data)
    (tool,) = smolagents_tools(backend, ["read_file"])
    assert tool(absolute_path="photo").startswith("Read image photo (image/jpeg, ")
    (image,) = tool.take_images()
    sent = base64.b64decode(encode_image_base64(copy.deepcopy(image)))
    assert len(sent) * 4 <= 3 * (5 << 20)
    made = PIL.Image.open(io.BytesIO(sent), formats=["PNG"])
    made.load()
    return made


def test_a_photo_for_printers_is_shown_in_the_colours_of_screens(backend: Backend) -> None:
    made = as_sent(backend, photo("CMYK", (8, 4)))
    assert (made.mode, made.size) == ("RGB", (8, 4))


def test_a_photo_that_is_too_large_as_png_is_halved_until_it_is_not(backend: Backend) -> None:
    made = as_sent(backend, photo("RGB", (2000, 1000), quality=50))
    assert made.size == (1000, 500)


def test_a_photo_taken_sideways_stands_upright(backend: Backend) -> None:
    orientation = PIL.Image.Exif()
    orientation[0x0112] = 6  # to be turned by 90 degrees (Exif 2.32, 4.6.4 A)
    assert as_sent(backend, photo("RGB", (8, 4), exif=orientation)).size == (4, 8)


def test_a_model_without_eyes_is_told_that_there_is_an_image(backend: Backend) -> None:
    backend.workspace.write_bytes("pixel.png", _PNG)
    (tool,) = smolagents_tools(backend, ["read_file"], images=False)
    told = tool(absolute_path="pixel.png")
    assert told.endswith("\n[pixel.png is not shown: this model takes no images.]")
    assert tool.take_images() == []


def test_an_image_that_cannot_be_decoded_is_told(backend: Backend) -> None:
    backend.workspace.write_bytes("torn.png", _PNG[:40])
    (tool,) = smolagents_tools(backend, ["read_file"])
    assert "[torn.png is not shown: " in tool(absolute_path="torn.png")
    assert tool.take_images() == []


def bomb(width: int, height: int) -> bytes:
    """A PNG of a few bytes that says it is large."""
    with io.BytesIO() as out:
        PIL.Image.new("1", (8, 8)).save(out, "PNG")
        data = bytearray(out.getvalue())
    data[16:24] = width.to_bytes(4, "big") + height.to_bytes(4, "big")
    data[29:33] = zlib.crc32(data[12:29]).to_bytes(4, "big")
    return bytes(data)


@pytest.mark.parametrize("side", [8_000, 12_000, 60_000])
def test_an_image_of_too_many_pixels_is_never_decoded(backend: Backend, side: int) -> None:
    backend.workspace.write_bytes("huge.png", bomb(side, side))
    (tool,) = smolagents_tools(backend, ["read_file"])
    assert "[huge.png is not shown: " in tool(absolute_path="huge.png")
    assert tool.take_images() == []


def test_images_that_nobody_takes_do_not_pile_up(backend: Backend) -> None:
    backend.workspace.write_bytes("pixel.png", _PNG)
    (tool,) = smolagents_tools(backend, ["read_file"])
    for _ in range(20):
        tool(absolute_path="pixel.png")
    assert len(tool.take_images()) == 16


def test_a_backend_that_is_not_running_is_said(backend: Backend) -> None:
    (tool,) = smolagents_tools(backend, create_tools(backend, ["glob"]))
    backend.shutdown()
    with pytest.raises(BackendNotStartedError):
        tool(pattern="*")
