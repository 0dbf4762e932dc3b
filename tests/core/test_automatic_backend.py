"""``create_backend("auto")``: the first isolated backend that works, or a refusal with instructions."""

from __future__ import annotations

from typing import Any

import pytest

import omniagents
from omniagents.backends.base import Problem
from omniagents.backends.local_backend import LocalBackend
from omniagents.errors import BackendStartError, MissingPluginError
from omniagents.plugins import registry

MISSING = Problem("bwrap is missing", "it is not on PATH", "sudo apt-get install bubblewrap")


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """The backends that can be resolved, by name; of others the plugin is missing."""
    found: dict[str, Any] = {}
    others = registry.resolve

    def resolve(kind: Any, name: str) -> Any:
        if kind != "backend":
            return others(kind, name)
        if name not in found:
            raise MissingPluginError(f"the backend {name!r} is not installed; install it")
        return found[name]

    monkeypatch.setattr(registry, "resolve", resolve)
    return found


def kind_of_backend(*problems: Problem) -> type[LocalBackend]:
    """A backend that says this of itself."""
    return type("Stand", (LocalBackend,), {"problems": classmethod(lambda cls: [*problems])})


def test_bubblewrap_comes_first(installed: dict[str, Any]) -> None:
    installed.update(bubblewrap=kind_of_backend(), docker=kind_of_backend())
    assert type(omniagents.create_backend("auto", project_id="p")) is installed["bubblewrap"]


def test_docker_is_next(installed: dict[str, Any]) -> None:
    installed.update(bubblewrap=kind_of_backend(MISSING), docker=kind_of_backend())
    assert type(omniagents.create_backend("auto", project_id="p")) is installed["docker"]


def test_without_isolation_it_is_refused_with_every_reason_and_cure(installed: dict[str, Any]) -> None:
    installed.update(bubblewrap=kind_of_backend(MISSING), local=LocalBackend)
    with pytest.raises(BackendStartError) as caught:
        omniagents.create_backend("auto", project_id="p")
    assert str(caught.value) == (
        "the backend 'auto' finds no isolation on this machine. bubblewrap: bwrap is missing (it is not on PATH); "
        "sudo apt-get install bubblewrap. docker: the backend 'docker' is not installed; install it. "
        "'local' works without any isolation: ask for it by name where nothing untrusted runs"
    )


def test_options_go_to_the_backend_that_was_chosen(installed: dict[str, Any]) -> None:
    installed.update(bubblewrap=kind_of_backend())
    with pytest.raises(TypeError, match="takes no option 'speed'"):
        omniagents.create_backend("auto", project_id="p", speed=3)
