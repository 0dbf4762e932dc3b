"""Control groups: what is written where, and where a group can be made at all."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from omniagents_bubblewrap import cgroups
from omniagents_bubblewrap.cgroups import Cgroup, make_cgroup


@pytest.fixture
def second_version(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A version 2 hierarchy in which we are in ``/user/session``; its files are plain ones."""
    own = tmp_path / "user" / "session"
    own.mkdir(parents=True)
    for group in (tmp_path, own.parent, own):
        (group / "cgroup.subtree_control").write_text("")
    monkeypatch.setattr(cgroups, "_own_groups", lambda: {"": "/user/session"})
    monkeypatch.setattr(cgroups, "_mount_of", lambda kind, controller: tmp_path)

    def made(parent: Path, name: str) -> Path:
        (parent / name).mkdir()
        return parent / name

    monkeypatch.setattr(cgroups, "_made", made)
    return tmp_path


def test_a_group_beside_ours_where_its_parent_passes_controllers_on(second_version: Path) -> None:
    (second_version / "user" / "cgroup.subtree_control").write_text("memory pids\n")
    cgroup = make_cgroup(frozenset({"memory", "pids", "cpu"}))
    assert cgroup is not None
    assert (cgroup.version, cgroup.controllers) == (2, {"memory", "pids"})
    assert {directory.parent for directory in cgroup.directories.values()} == {second_version / "user"}


def test_no_group_where_nobody_passes_controllers_on(second_version: Path) -> None:
    assert make_cgroup(frozenset({"memory"})) is None


def test_limits_of_the_second_version(second_version: Path) -> None:
    group = second_version / "group"
    group.mkdir()
    for name in ("memory.max", "memory.swap.max", "pids.max", "cpu.max"):
        (group / name).touch()
    Cgroup(2, dict.fromkeys(("memory", "pids", "cpu"), group)).limit(1 << 20, 50, 1.5)
    written = {path.name: path.read_text() for path in group.iterdir()}
    assert written == {"memory.max": "1048576", "memory.swap.max": "0", "pids.max": "50", "cpu.max": "150000 100000"}


def test_what_killed_hosts_left_is_swept_up(tmp_path: Path) -> None:
    (tmp_path / "omniagents-999999999-0").mkdir()
    (tmp_path / f"omniagents-{os.getpid()}-77").mkdir()
    (tmp_path / "somebody-elses").mkdir()
    cgroups._sweep(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == [f"omniagents-{os.getpid()}-77", "somebody-elses"]


def test_a_group_outside_of_what_is_mounted_is_none(tmp_path: Path) -> None:
    assert cgroups._below(tmp_path, "/../outside") is None
    assert cgroups._below(tmp_path, "/not/there") is None
    assert cgroups._below(None, "/") is None


def test_a_real_group_limits_and_is_removed() -> None:
    cgroup = make_cgroup(frozenset({"memory", "pids"}))
    if cgroup is None:
        pytest.skip(
            "this user may make no cgroup here; run as root or under systemd-run --user --scope -p Delegate=yes"
        )
    cgroup.limit(64 << 20, 20, None)
    assert not cgroup.has_killed()
    cgroup.remove()
    assert [directory for directory in cgroup.directories.values() if directory.exists()] == []
