"""tests/services/apt.py: what is there is left alone, what is missing is installed or named."""

from __future__ import annotations

import importlib.util
import shutil
import subprocess

import pytest
from scripts.projects import ROOT


@pytest.fixture
def apt(tmp_path, monkeypatch):
    """The module, with a list of its own: one command that is there, one that is not."""
    spec = importlib.util.spec_from_file_location("apt_helper", ROOT / "tests/services/apt.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    listing = tmp_path / "debian-packages.txt"
    listing.write_text("# command  package\npresent  one\nabsent   two  # why\n\n", encoding="utf-8")
    monkeypatch.setattr(module, "LIST", listing)
    there = {"present"}
    monkeypatch.setattr(shutil, "which", lambda name: f"/bin/{name}" if name in there else None)
    monkeypatch.setattr(module, "install", lambda packages: there.update({"two": "absent"}[each] for each in packages))
    return module


def test_root_installs_only_what_is_missing(apt, monkeypatch, capsys):
    monkeypatch.setattr(apt, "may_install", lambda: True)
    assert apt.main([]) == 0
    assert capsys.readouterr().out == ""


def test_others_are_told_the_command(apt, monkeypatch, capsys):
    monkeypatch.setattr(apt, "may_install", lambda: False)
    monkeypatch.delenv("CI", raising=False)
    assert apt.main([]) == 0
    assert capsys.readouterr().out == (
        "not installed: absent. Tests that need them skip; this installs them:\n"
        "    apt-get install --no-install-recommends two\n"
    )


def test_what_is_missing_under_ci_is_a_failure(apt, monkeypatch):
    monkeypatch.setattr(apt, "may_install", lambda: False)
    monkeypatch.setenv("CI", "true")
    assert (apt.main(["present"]), apt.main(["absent"])) == (0, 1)


def test_an_unknown_command_is_refused_with_the_file_to_add_it_to(apt):
    with pytest.raises(KeyError) as caught:
        apt.ensure(["unheard-of"])
    assert caught.value.args == (f"'unheard-of' is not in {apt.LIST}",)


def test_servers_are_not_started_by_being_installed(apt, tmp_path):
    policy = tmp_path / "policy-rc.d"
    with apt.services_stay_off(policy):
        assert subprocess.run([policy, "nginx", "start"], check=False).returncode == 101
    assert not policy.exists()


def test_the_machines_own_policy_is_left_alone(apt, tmp_path):
    policy = tmp_path / "policy-rc.d"
    policy.write_text("its own", encoding="ascii")
    with apt.services_stay_off(policy):
        pass
    assert policy.read_text(encoding="ascii") == "its own"
