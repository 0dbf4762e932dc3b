"""What ``import omniagents`` gives, what it costs, and how it refuses."""

from __future__ import annotations

import importlib
import pkgutil
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import omniagents
from omniagents import Component, hookimpl
from omniagents.agents.base import Agent, AgentResult, ToolCall
from omniagents.backends.base import Backend
from omniagents.errors import UnknownComponentError
from omniagents.plugins import manager, specs
from omniagents.plugins.first_party import FIRST_PARTY
from omniagents.presets.base import ALL_TOOLS, Preset
from omniagents.presets.generic import GenericPreset
from omniagents.presets.python import PythonUVPreset
from omniagents.state import NoOpStateManager
from omniagents.tools.base import ToolResult


class IdleBackend(Backend):
    """A backend that is never started."""

    def _provision(self) -> None: ...
    def _open(self, argv: Any) -> Any: ...
    def _destroy(self) -> None: ...


class EchoAgent(Agent):
    """Answers with the task."""

    def run(self, task: str) -> AgentResult:
        return AgentResult(output=task)

    async def arun(self, task: str) -> AgentResult:
        return self.run(task)


class Product:
    """Registers what the tests create."""

    @hookimpl
    def omniagents_register_backends(self) -> list[Component]:
        return [Component("idle", f"{__name__}:IdleBackend")]

    @hookimpl
    def omniagents_register_agents(self) -> list[Component]:
        return [Component("echo", f"{__name__}:EchoAgent")]


@pytest.fixture
def product() -> Iterator[None]:
    plugin = Product()
    manager.register(plugin)
    yield
    manager.unregister(plugin)


@pytest.fixture
def backend() -> Backend:
    return IdleBackend(project_id="alice", state_manager=NoOpStateManager())


def run_python(program: str) -> str:
    return subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True).stdout


# The package


def test_all_is_sorted_and_is_what_dir_shows() -> None:
    assert omniagents.__all__ == sorted(omniagents.__all__)
    assert dir(omniagents) == omniagents.__all__


@pytest.mark.parametrize("name", omniagents.__all__)
def test_every_public_name_exists(name: str) -> None:
    assert getattr(omniagents, name) is not None


def test_nothing_public_is_left_out_of_all() -> None:
    modules = {module.name for module in pkgutil.iter_modules(omniagents.__path__)}
    typing_helpers = {"Any", "Callable", "Iterable", "TYPE_CHECKING", "annotations", "cast"}
    public = {name for name in vars(omniagents) if not name.startswith("_")} - modules - typing_helpers
    assert public | {"Component", "__version__", "errors", "hookimpl"} == set(omniagents.__all__)


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="module 'omniagents' has no attribute 'create_sandbox'"):
        _ = omniagents.create_sandbox


@pytest.mark.parametrize("package", ["plugins", "presets", "agents"])
def test_all_is_sorted_in_every_public_module(package: str) -> None:
    parent = importlib.import_module(f"omniagents.{package}")
    for found in pkgutil.iter_modules(parent.__path__):
        names = list(getattr(importlib.import_module(f"omniagents.{package}.{found.name}"), "__all__", ()))
        # Constants, then classes, then functions, each by code point: what ruff's RUF022 keeps.
        assert names == sorted(names, key=lambda name: (not name.isupper(), not name[0].isupper(), name))


def test_importing_the_package_imports_no_framework_no_sdk_and_no_pydantic() -> None:
    forbidden = {"docker", "e2b", "google", "importlib_metadata", "langchain", "pluggy", "pydantic", "pydantic_ai"}
    forbidden |= {"smolagents", "asyncio"}
    imported = set(run_python("import omniagents, sys; print(*sys.modules)").split())
    assert imported & forbidden == set()


def test_listing_what_is_available_imports_no_framework_and_no_sdk() -> None:
    forbidden = {"docker", "e2b", "google", "langchain", "pydantic", "pydantic_ai", "smolagents"}
    imported = set(run_python("import omniagents, sys; omniagents.available(); print(*sys.modules)").split())
    assert imported & forbidden == set()


def test_importing_the_package_imports_only_two_of_its_modules() -> None:
    imported = run_python("import omniagents, sys; print(*sys.modules)").split()
    own = {name for name in imported if name.partition(".")[0] == "omniagents"}
    assert own == {"omniagents", "omniagents._version", "omniagents.errors"}


# create_backend


@pytest.mark.usefixtures("product")
def test_a_backend_is_created_by_name_without_a_state_manager_by_default() -> None:
    made = omniagents.create_backend("idle", project_id="alice")
    assert isinstance(made, IdleBackend)
    assert made.project_id == "alice"
    assert isinstance(made.state_manager, NoOpStateManager)


@pytest.mark.usefixtures("product")
@pytest.mark.parametrize("preset", [PythonUVPreset(), PythonUVPreset, "python-uv"])
def test_a_preset_is_given_as_itself_its_class_or_its_name(preset: Any) -> None:
    assert omniagents.create_backend("idle", project_id="alice", preset=preset).preset == PythonUVPreset()


@pytest.mark.usefixtures("product")
def test_a_state_manager_may_be_given_as_itself() -> None:
    manager = NoOpStateManager()
    assert omniagents.create_backend("idle", project_id="alice", state_manager=manager).state_manager is manager


@pytest.mark.usefixtures("product")
@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"state_manager": NoOpStateManager},
            "state_manager is a state manager or the name of one, "
            "not <class 'omniagents.state.noop.NoOpStateManager'>; call the class",
        ),
        ({"state_manager": None}, "state_manager is a state manager or the name of one, not None"),
        ({"preset": 7}, "preset is a preset, its class or its name, not 7"),
        ({"preset": dict}, "preset is a preset, its class or its name, not {}"),
    ],
)
def test_something_of_the_wrong_type_is_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(TypeError) as raised:
        omniagents.create_backend("idle", project_id="alice", **options)
    assert str(raised.value) == message


@pytest.mark.usefixtures("product")
def test_a_wrong_option_is_refused_with_the_valid_ones() -> None:
    with pytest.raises(TypeError) as raised:
        omniagents.create_backend("idle", project_id="alice", presett="generic")
    assert str(raised.value).startswith("backend 'idle' takes no option 'presett' (did you mean 'preset'?). Options: ")
    assert "project_id" in str(raised.value)


@pytest.mark.usefixtures("product")
def test_an_unknown_preset_is_refused_by_name() -> None:
    with pytest.raises(UnknownComponentError, match=r"no preset named 'python'; did you mean 'python-uv'\?"):
        omniagents.create_backend("idle", project_id="alice", preset="python")


# create_tools


def test_without_a_preset_the_ten_tools_are_created_in_their_order(backend: Backend) -> None:
    assert [tool.name for tool in omniagents.create_tools(backend)] == list(ALL_TOOLS)


def test_the_presets_tools_are_the_default() -> None:
    preset = Preset(name="reader", tools=("glob", "read_file"))
    backend = IdleBackend(project_id="alice", state_manager=NoOpStateManager(), preset=preset)
    assert [tool.name for tool in omniagents.create_tools(backend)] == ["glob", "read_file"]


def test_tools_are_created_by_name_on_the_backend(backend: Backend) -> None:
    tools = omniagents.create_tools(backend, ["replace", "uv"])
    assert [(tool.name, tool.backend) for tool in tools] == [("replace", backend), ("uv", backend)]


def test_one_string_in_place_of_a_list_of_tools_is_refused(backend: Backend) -> None:
    with pytest.raises(TypeError, match="names is a list of tool names, not the string 'glob'"):
        omniagents.create_tools(backend, "glob")


def test_the_name_of_a_backend_in_place_of_one_is_refused() -> None:
    with pytest.raises(TypeError, match="backend is a backend, not 'local'"):
        omniagents.create_tools("local")  # type: ignore[arg-type]


# create_agent, and what agents share


@pytest.mark.usefixtures("product")
def test_an_agent_is_created_by_name_with_the_tools_and_instructions_of_its_preset(backend: Backend) -> None:
    agent = omniagents.create_agent("echo", backend=backend, model="m", preset="python-uv", max_steps=3)
    assert (agent.backend, agent.model, agent.preset, agent.max_steps) == (backend, "m", PythonUVPreset(), 3)
    assert [tool.name for tool in agent.tools] == list(ALL_TOOLS)
    assert agent.system_prompt == PythonUVPreset().instructions


@pytest.mark.usefixtures("product")
def test_an_agent_needs_a_backend_not_its_name() -> None:
    with pytest.raises(TypeError, match="backend is a backend, not 'local'"):
        omniagents.create_agent("echo", backend="local", model="m")  # type: ignore[arg-type]


def test_an_agent_takes_the_preset_of_its_backend_by_default() -> None:
    preset = Preset(name="reader", tools=("read_file",), instructions="Read.")
    backend = IdleBackend(project_id="alice", state_manager=NoOpStateManager(), preset=preset)
    assert EchoAgent(backend, "m").preset is preset


def test_an_agent_without_any_preset_is_generic(backend: Backend) -> None:
    assert EchoAgent(backend, "m").preset == GenericPreset()


def test_an_agents_tools_and_prompt_can_be_given(backend: Backend) -> None:
    [glob] = omniagents.create_tools(backend, ["glob"])
    agent = EchoAgent(backend, "m", tools=[glob, "uv"], system_prompt="")
    assert [tool.name for tool in agent.tools] == ["glob", "uv"]
    assert agent.tools[0] is glob
    assert agent.system_prompt == ""


def test_an_agent_takes_at_least_one_step(backend: Backend) -> None:
    with pytest.raises(ValueError, match="max_steps is at least 1, not 0"):
        EchoAgent(backend, "m", max_steps=0)


def test_an_agents_result_prints_as_its_output() -> None:
    call = ToolCall("glob", {"pattern": "*"}, ToolResult("a.py"), 0.1)
    assert str(AgentResult(output="Done.", tool_calls=[call])) == "Done."


# docs/plugins.md


@pytest.fixture
def documented(checkout: Path) -> list[list[str]]:
    """The cells of every table row, without backticks."""
    lines = (checkout / "docs" / "plugins.md").read_text().splitlines()
    return [re.sub(r"`", "", line).strip("| ").split(" | ") for line in lines if line.startswith("| ")]


def test_the_table_of_built_ins_is_what_the_core_registers(documented: list[list[str]]) -> None:
    targets = [[kind, c.name, c.target] for kind, c in manager.plugins()[0].components]
    assert [row for row in documented if len(row) == 3 and row[0] in specs.HOOK_OF_KIND] == targets


def test_the_table_of_first_party_names_is_complete(documented: list[list[str]]) -> None:
    rows = [tuple(row[:3]) for row in documented if len(row) == 4 and row[0] in specs.HOOK_OF_KIND]
    assert rows == [(kind, name, distribution) for (kind, name), distribution in FIRST_PARTY.items()]


def test_the_documented_paths_of_first_party_classes_are_shims(documented: list[list[str]]) -> None:
    for *_, path in [row for row in documented if len(row) == 4 and row[0] in specs.HOOK_OF_KIND]:
        module, _, name = path.rpartition(".")
        source = importlib.import_module(module).__file__
        assert source is not None
        assert f'{name}="' in Path(source).read_text()
