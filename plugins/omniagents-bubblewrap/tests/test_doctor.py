"""What forbids a sandbox is told with its cure."""

from __future__ import annotations

import shutil
import subprocess
from typing import Any

import pytest

from omniagents_bubblewrap import doctor


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """A machine with bwrap 0.8.0 that cannot make a sandbox; ``settings`` are its sysctls."""
    state: dict[str, Any] = {"settings": {}, "version": "bubblewrap 0.8.0", "code": 1, "container": False, "user": 1000}
    monkeypatch.setattr(shutil, "which", lambda name: f"/usr/bin/{name}" if name in ("bwrap", "apt-get") else None)
    monkeypatch.setattr(doctor, "_setting", lambda name: state["settings"].get(name))
    monkeypatch.setattr(doctor, "_is_in_container", lambda: state["container"])
    monkeypatch.setattr("os.geteuid", lambda: state["user"])

    def answer(*argv: str) -> subprocess.CompletedProcess[str]:
        if "--version" in argv:
            return subprocess.CompletedProcess(argv, 0, state["version"], "")
        return subprocess.CompletedProcess(argv, state["code"], "", "bwrap: No permissions to create new namespace")

    monkeypatch.setattr(doctor, "_answer", answer)
    return state


def test_a_machine_that_makes_sandboxes_has_no_problem(machine: dict[str, Any]) -> None:
    machine["code"] = 0
    assert doctor.problems() == []


def test_a_missing_bwrap_is_installed_by_the_machines_own_tool(machine: dict[str, Any], monkeypatch: Any) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: "/usr/bin/dnf" if name == "dnf" else None)
    assert doctor.problems() == [("bwrap is missing", "it is not on PATH", "sudo dnf install bubblewrap")]


def test_an_old_bwrap_is_named_with_the_version_that_is_needed(machine: dict[str, Any]) -> None:
    machine["version"] = "bubblewrap 0.3.1"
    assert doctor.problems() == [
        ("bwrap is too old", "bubblewrap 0.3.1; 0.5.0 or newer is needed", "sudo apt-get install bubblewrap")
    ]


@pytest.mark.parametrize(
    ("setting", "value", "cure"),
    [
        ("kernel/unprivileged_userns_clone", 0, "sudo sysctl -w kernel.unprivileged_userns_clone=1"),
        ("user/max_user_namespaces", 0, "sudo sysctl -w user.max_user_namespaces=15000"),
    ],
)
def test_a_setting_that_forbids_namespaces_is_named_with_its_cure(
    machine: dict[str, Any], setting: str, value: int, cure: str
) -> None:
    machine["settings"][setting] = value
    (problem,) = doctor.problems()
    assert problem.why == f"{setting.replace('/', '.')} is {value}"
    assert problem.cure.startswith(cure)


def test_ubuntus_restriction_is_cured_by_a_profile_for_bwrap(machine: dict[str, Any]) -> None:
    machine["settings"]["kernel/apparmor_restrict_unprivileged_userns"] = 1
    (problem,) = doctor.problems()
    assert problem.what == "AppArmor restricts user namespaces"
    assert "/etc/apparmor.d/bwrap" in problem.cure


def test_settings_for_ordinary_users_do_not_matter_to_root(machine: dict[str, Any]) -> None:
    machine["user"] = 0
    machine["settings"]["kernel/unprivileged_userns_clone"] = 0
    assert [problem.what for problem in doctor.problems()] == ["bwrap cannot make a sandbox"]


def test_a_container_is_told_from_a_machine(machine: dict[str, Any]) -> None:
    machine["container"] = True
    (problem,) = doctor.problems()
    assert (problem.what, problem.why) == (
        "a container that forbids namespaces",
        "bwrap: No permissions to create new namespace",
    )
    assert problem.cure.endswith("or use the backend docker")
