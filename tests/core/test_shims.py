"""The documented import paths of plugins' classes: the class if the plugin is there, else the command."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from importlib.abc import MetaPathFinder
from pathlib import Path

import pytest

from omniagents.errors import MissingPluginError

SHIMS = [
    ("omniagents.backends.docker_backend", "DockerBackend", "omniagents_docker.backend"),
    ("omniagents.backends.e2b_backend", "E2BBackend", "omniagents_e2b.backend"),
    ("omniagents.backends.bubblewrap_backend", "BubblewrapBackend", "omniagents_bubblewrap.backend"),
    ("omniagents.backends.state_manager", "DirectoryStateManager", "omniagents_snapshot.directory"),
    ("omniagents.backends.state_manager", "GCSStateManager", "omniagents_gcs.state_manager"),
    ("omniagents.backends.state_manager", "GitStateManager", "omniagents_git.state_manager"),
    ("omniagents.agents.langchain_agent", "LangChainAgent", "omniagents_langchain.agent"),
    ("omniagents.agents.pydantic_ai_agent", "PydanticAIAgent", "omniagents_pydantic_ai.agent"),
    ("omniagents.agents.smolagents_agent", "SmolagentsAgent", "omniagents_smolagents.agent"),
]


PACKAGES = {module.partition(".")[0] for _, _, module in SHIMS}


class Hidden(MetaPathFinder):
    """Makes imports of the plugins fail as they do where none is installed."""

    def find_spec(self, fullname: str, path: object, target: object = None) -> None:
        if fullname in PACKAGES:
            raise ModuleNotFoundError(f"No module named {fullname!r}", name=fullname)


@pytest.fixture(autouse=True)
def forgotten() -> Iterator[None]:
    """As if no plugin had been imported yet, and afterwards as it was."""
    imported = {name: module for name, module in sys.modules.items() if name.partition(".")[0] in PACKAGES}
    for name in imported:
        del sys.modules[name]
    yield
    for name in [name for name in sys.modules if name.partition(".")[0] in PACKAGES]:
        del sys.modules[name]
    sys.modules.update(imported)


@pytest.fixture
def nothing_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "meta_path", [Hidden(), *sys.meta_path])


@pytest.fixture
def plugins_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory in which plugins can be put that are then found."""
    monkeypatch.syspath_prepend(tmp_path)
    return tmp_path


def put(path: Path, module: str, source: str) -> None:
    """Write a plugin's package with one module."""
    package, _, name = module.partition(".")
    (path / package).mkdir()
    (path / package / "__init__.py").write_text("")
    (path / package / f"{name}.py").write_text(source)
    importlib.invalidate_caches()


@pytest.mark.usefixtures("nothing_installed")
@pytest.mark.parametrize(("shim", "name", "module"), SHIMS)
def test_without_the_plugin_the_import_fails_with_the_command(shim: str, name: str, module: str) -> None:
    distribution = module.partition(".")[0].replace("_", "-")
    siblings = "./plugins/omniagents-snapshot " if distribution in ("omniagents-gcs", "omniagents-git") else ""
    with pytest.raises(MissingPluginError) as raised:
        exec(f"from {shim} import {name}")
    assert str(raised.value) == (
        f"{shim}.{name} comes with the plugin {distribution}, which is not installed; "
        f"in a checkout of Omniagents run: pip install {siblings}./plugins/{distribution}"
    )


@pytest.mark.usefixtures("nothing_installed")
def test_the_error_is_an_import_error_for_code_that_has_a_fallback() -> None:
    with pytest.raises(ImportError):
        exec("from omniagents.backends.docker_backend import DockerBackend")


@pytest.mark.parametrize(("shim", "name", "module"), SHIMS)
def test_with_the_plugin_it_is_the_plugins_own_class(plugins_path: Path, shim: str, name: str, module: str) -> None:
    put(plugins_path, module, f"class {name}: ...")
    scope: dict[str, type] = {}
    exec(f"from {shim} import {name}", scope)
    assert scope[name].__module__ == module


def test_a_missing_sdk_inside_the_plugin_passes_through_unchanged(plugins_path: Path) -> None:
    put(plugins_path, "omniagents_docker.backend", "import no_such_sdk")
    with pytest.raises(ModuleNotFoundError) as raised:
        exec("from omniagents.backends.docker_backend import DockerBackend")
    assert not isinstance(raised.value, MissingPluginError)
    assert str(raised.value) == "No module named 'no_such_sdk'"


def test_a_missing_module_of_the_plugin_itself_passes_through_unchanged(plugins_path: Path) -> None:
    put(plugins_path, "omniagents_docker.other", "")
    with pytest.raises(ModuleNotFoundError) as raised:
        exec("from omniagents.backends.docker_backend import DockerBackend")
    assert not isinstance(raised.value, MissingPluginError)
    assert str(raised.value) == "No module named 'omniagents_docker.backend'"


def test_a_plugin_without_the_class_is_an_ordinary_import_error(plugins_path: Path) -> None:
    put(plugins_path, "omniagents_docker.backend", "")
    with pytest.raises(ImportError, match="cannot import name 'DockerBackend'"):
        exec("from omniagents.backends.docker_backend import DockerBackend")


@pytest.mark.usefixtures("nothing_installed")
@pytest.mark.parametrize("shim", sorted({shim for shim, _, _ in SHIMS}))
def test_the_module_itself_can_be_imported_without_the_plugin(shim: str) -> None:
    module = importlib.import_module(shim)
    with pytest.raises(AttributeError, match=f"module '{shim}' has no attribute 'Nothing'"):
        _ = module.Nothing


@pytest.mark.parametrize("shim", sorted({shim for shim, _, _ in SHIMS} - {"omniagents.backends.state_manager"}))
def test_a_shim_is_at_most_ten_lines(shim: str) -> None:
    module = importlib.import_module(shim)
    assert module.__file__ is not None
    assert len(Path(module.__file__).read_text().splitlines()) <= 10


@pytest.mark.usefixtures("nothing_installed")
def test_what_the_core_provides_is_there_without_plugins() -> None:
    from omniagents.backends.state_manager import NoOpStateManager, Snapshot, StateManager
    from omniagents.state import base, noop

    assert (NoOpStateManager, Snapshot, StateManager) == (noop.NoOpStateManager, base.Snapshot, base.StateManager)
