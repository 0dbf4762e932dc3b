"""What is inside the sdists and wheels."""

from __future__ import annotations

import tarfile
import zipfile
from email.parser import Parser
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from scripts.constraints import FILE
from scripts.projects import ROOT, Project, normalized, projects

pytestmark = [pytest.mark.packaging, pytest.mark.timeout(300)]

NAMES = [project.name for project in projects()]


@pytest.fixture(params=projects(), ids=NAMES)
def project(request: pytest.FixtureRequest) -> Project:
    found: Project = request.param
    return found


def members(wheel: Path) -> dict[str, bytes]:
    """Return a wheel's files by name."""
    with zipfile.ZipFile(wheel) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def test_wheel_holds_exactly_the_package_and_its_metadata(wheelhouse, project):
    sources = (path for path in project.package.rglob("*") if path.is_file() and "__pycache__" not in path.parts)
    expected = {path.relative_to(project.package.parent).as_posix() for path in sources}
    shipped = {name for name in members(wheelhouse.wheel(project.name)) if ".dist-info/" not in name}
    assert shipped == expected


def test_wheel_is_typed_licensed_and_free_of_tests(wheelhouse, project):
    files = members(wheelhouse.wheel(project.name))
    assert f"{project.package.name}/py.typed" in files
    assert [files[name] for name in files if name.endswith("/licenses/LICENSE")] == [(ROOT / "LICENSE").read_bytes()]
    assert [name for name in files if "tests" in name.split("/") or "conftest" in name] == []


def test_core_wheel_carries_the_source_of_the_guest(wheelhouse):
    shipped = members(wheelhouse.wheel("omniagents")).keys()
    assert {f"omniagents/guest/{name}.py" for name in ("loader", "operations", "protocol", "server")} <= shipped


def test_sdist_holds_what_the_wheel_is_built_from_and_nothing_of_the_others(wheelhouse, project):
    with tarfile.open(wheelhouse.sdist(project.name)) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert {"pyproject.toml", "LICENSE", "PKG-INFO"} <= names
    assert [name for name in names if name.startswith(("plugins/", "examples/", "docs/"))] == []


def test_wheel_from_the_checkout_equals_the_wheel_from_the_sdist(wheelhouse, checked, project, uv, tmp_path):
    options = ("--wheel", "--build-constraints", FILE, "--out-dir", tmp_path)
    checked(uv, "build", *options, project.directory, cwd=tmp_path)
    (direct,) = tmp_path.glob("*.whl")
    assert members(direct) == members(wheelhouse.wheel(project.name))


def test_metadata_bounds_siblings_and_names_no_place(wheelhouse, project):
    files = members(wheelhouse.wheel(project.name))
    (text,) = (files[name].decode() for name in files if name.endswith(".dist-info/METADATA"))
    metadata = Parser().parsestr(text, headersonly=True)
    required = [Requirement(entry) for entry in metadata.get_all("Requires-Dist", [])]
    siblings = [each for each in required if normalized(each.name) in set(NAMES) - {project.name}]
    assert [str(each) for each in required if each.url] == []
    assert {str(each.specifier) for each in siblings} <= {"<0.6,>=0.5"}
    assert metadata["License-Expression"] == "MIT"
