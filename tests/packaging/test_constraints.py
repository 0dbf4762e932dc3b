"""constraints.txt pins, with hashes, all that is ever installed, and says nothing about where it came from."""

from __future__ import annotations

import re

import pytest
from packaging.requirements import Requirement
from scripts import bootstrap
from scripts.constraints import FILE, pins, requirements, rest, unpinned
from scripts.projects import normalized

TEXT = FILE.read_text(encoding="utf-8")


@pytest.mark.parametrize("text", requirements())
def test_constraints_satisfy_every_requirement_of_every_project(text: str) -> None:
    requirement = Requirement(text)
    versions = pins().get(normalized(requirement.name), set())
    assert versions, f"{text} is not pinned; renew with: python3 noxfile.py constraints"
    assert all(requirement.specifier.contains(version) for version in versions), versions


def test_every_pin_has_a_hash() -> None:
    entries = re.split(r"^(?=\w)", TEXT, flags=re.MULTILINE)[1:]
    assert [entry.splitlines()[0] for entry in entries if "--hash=sha256:" not in entry] == []
    assert len(entries) >= len(pins())


def test_constraints_name_no_index_and_no_folder() -> None:
    assert re.findall(r"^--.*|\S*://\S*|^-e.*", TEXT, re.MULTILINE) == []
    assert {line[0] for line in TEXT.splitlines() if not line[0].isalnum()} == {"#", " "}


def test_a_package_at_another_version_or_unknown_is_reported() -> None:
    (version,) = pins()["pluggy"]
    installed = [("pluggy", version), ("Pluggy", "0.1"), ("stranger", "2.0"), ("omniagents", "0.5.0")]
    assert unpinned(installed) == ["pluggy 0.1", "stranger 2.0"]


def test_the_rest_leaves_out_what_is_installed() -> None:
    left = rest(name for name in pins() if name != "pluggy")
    assert left == bootstrap.pinned("pluggy", TEXT)


def test_bootstrap_takes_only_the_lines_of_the_named_package() -> None:
    text = "uv-build==1 \\\n    --hash=sha256:a\nuv==2 \\\n    --hash=sha256:b \\\n    --hash=sha256:c\nvermin==3 \\\n"
    assert bootstrap.pinned("uv", text) == "uv==2 \\\n    --hash=sha256:b \\\n    --hash=sha256:c\n"


def test_bootstrap_says_what_to_do_when_a_package_is_not_pinned() -> None:
    with pytest.raises(LookupError) as caught:
        bootstrap.pinned("absent", "uv==2\n")
    assert str(caught.value) == f"{FILE} does not pin 'absent'; `nox -s constraints` renews it"
