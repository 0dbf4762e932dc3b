"""All distributions carry one version, are bounded to each other, and are listed wherever they must be."""

from __future__ import annotations

import runpy

import pytest
from packaging.requirements import Requirement
from scripts.projects import ROOT, Project, projects

VERSION = runpy.run_path(str(ROOT / "core/omniagents/_version.py"))["__version__"]
CORE, *SIBLINGS = projects()
PLUGINS = [project for project in SIBLINGS if project.directory.parent.name == "plugins"]


def own_requirements(project: Project) -> list[Requirement]:
    """Every requirement that one project states on a distribution of this checkout."""
    own = {each.name for each in projects()}
    stated = [Requirement(text) for text in project.requirements]
    return [requirement for requirement in stated if requirement.name in own and requirement.name != project.name]


@pytest.fixture(params=PLUGINS, ids=[project.name for project in PLUGINS])
def plugin(request: pytest.FixtureRequest) -> Project:
    project: Project = request.param
    return project


def test_plugin_reads_the_one_version_file(plugin: Project) -> None:
    assert plugin.data["project"]["dynamic"] == ["version"]
    assert plugin.data["tool"]["hatch"]["version"] == {"path": "../../core/omniagents/_version.py"}


@pytest.mark.parametrize("project", projects(), ids=lambda project: project.name)
def test_requirements_on_each_other_accept_this_minor_version_and_no_other(project: Project) -> None:
    major, minor, _ = (int(part) for part in VERSION.split("."))
    bounds = f"<{major}.{minor + 1},>={major}.{minor}"
    assert {str(requirement.specifier) for requirement in own_requirements(project)} <= {bounds}


def test_plugin_requires_the_core(plugin: Project) -> None:
    assert "omniagents" in {requirement.name for requirement in own_requirements(plugin)}


def test_every_plugin_has_an_extra_of_its_own_and_stands_in_all() -> None:
    short_names = {project.name.removeprefix("omniagents-") for project in PLUGINS}
    everything = Requirement(CORE.extras["all"][0]).extras
    assert short_names <= CORE.extras.keys()
    assert everything == CORE.extras.keys() - {"all"}


def test_every_plugin_is_a_workspace_source() -> None:
    sources = CORE.data["tool"]["uv"]["sources"]
    assert sources == {project.name: {"workspace": True} for project in [CORE, *PLUGINS]}


def test_plugin_carries_the_licence(plugin: Project) -> None:
    assert (plugin.directory / "LICENSE").read_bytes() == (ROOT / "LICENSE").read_bytes()


def test_plugin_says_what_the_core_says_about_itself(plugin: Project) -> None:
    same = ("requires-python", "license", "authors")
    assert {key: plugin.data["project"].get(key) for key in same} == {key: CORE.data["project"][key] for key in same}
