"""The state manager ``directory``: how it is found and where it keeps things."""

from __future__ import annotations

from pathlib import Path

import platformdirs
import pytest
from snapshot_support.comparing import write
from snapshot_support.local_tree import LocalTree, as_workspace

from omniagents.errors import InvalidProjectIdError
from omniagents_snapshot.directory import DirectoryStateManager
from omniagents_snapshot.plugin import omniagents_register_state_managers


def test_the_plugin_registers_it_by_name() -> None:
    (component,) = omniagents_register_state_managers()
    assert (component.name, component.target) == ("directory", "omniagents_snapshot.directory:DirectoryStateManager")


def test_everything_is_below_its_directory(tree: LocalTree, tmp_path: Path) -> None:
    write(tree.root, "a")
    manager = DirectoryStateManager(tmp_path / "kept")
    manager.save("alice", as_workspace(tree))
    assert {path.name for path in tmp_path.iterdir()} == {"tree", "kept"}
    assert repr(manager) == f"DirectoryStateManager({str(tmp_path / 'kept')!r})"


def test_the_directory_comes_from_the_environment_variable(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("OMNIAGENTS_STATE_DIRECTORY", str(tmp_path / "chosen"))
    assert repr(DirectoryStateManager()) == f"DirectoryStateManager({str(tmp_path / 'chosen')!r})"


def test_the_directory_is_the_users_by_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OMNIAGENTS_STATE_DIRECTORY", raising=False)
    default = platformdirs.user_data_path("omniagents") / "snapshots"
    assert repr(DirectoryStateManager()) == f"DirectoryStateManager({str(default)!r})"


def test_making_one_touches_no_file(tmp_path: Path) -> None:
    DirectoryStateManager(tmp_path / "kept")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("project_id", ["", "x" * 201, "\ud800", 7])
def test_what_is_no_project_id_is_refused(tree: LocalTree, tmp_path: Path, project_id: str) -> None:
    manager = DirectoryStateManager(tmp_path / "kept")
    for call in (
        lambda: manager.load(project_id, as_workspace(tree)),
        lambda: manager.save(project_id, as_workspace(tree)),
        lambda: manager.history(project_id),
        lambda: manager.restore(project_id, "0" * 32, as_workspace(tree)),
        lambda: manager.delete(project_id),
        lambda: manager.check(project_id),
    ):
        with pytest.raises(InvalidProjectIdError):
            call()


def test_projects_lists_every_project_by_its_exact_id(tmp_path: Path, tree: LocalTree) -> None:
    manager = DirectoryStateManager(tmp_path / "snapshots")
    assert manager.projects() == []
    for project_id in ("b@example.com", "../x", "ä b"):
        manager.save(project_id, as_workspace(tree))
    manager.delete("../x")
    assert manager.projects() == ["b@example.com", "ä b"]
