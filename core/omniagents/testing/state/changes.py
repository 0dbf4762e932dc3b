"""What has changed since the last save is saved, and nothing else is."""

from __future__ import annotations

import pytest

from omniagents.backends.local_backend import LocalBackend
from omniagents.state import StateManager
from omniagents.testing._support import run_python
from omniagents.testing._trees import contents, described, make_rich_tree
from omniagents.testing.state.base import StateTests
from omniagents.workspace import Workspace

__all__ = ["ChangeTests"]

#: A change of the workspace that holds a.txt, dir/b.txt, link (to a.txt) and empty/.
_CHANGES = {
    "a file is added": "echo new > new.txt",
    "a file is changed": "echo changed > a.txt",
    "a file grows": "echo more >> a.txt",
    "a file is emptied": ": > a.txt",
    "a file is changed, its size and time are not": "printf ZZZZZ > a.txt; touch -d @1000000000 a.txt",
    "a file is replaced by one of its size and time": "printf ZZZZZ > t; touch -d @1000000000 t; mv t a.txt",
    "a file is removed": "rm a.txt",
    "a file is moved": "mv a.txt dir/c.txt",
    "a mode is changed": "chmod 600 a.txt",
    "a directory's mode is changed": "chmod 700 dir",
    "a directory is added": "mkdir -p more/and/more",
    "an empty directory is removed": "rmdir empty",
    "a directory is removed": "rm -r dir",
    "a directory becomes a file": "rm -r dir; echo file > dir",
    "a file becomes a directory": "rm a.txt; mkdir a.txt; echo x > a.txt/inside",
    "a link points elsewhere": "ln -sfn dir link",
    "a link becomes a file": "rm link; echo file > link",
    "a link becomes a directory": "rm link; mkdir link; echo x > link/inside",
    "a file becomes a link": "ln -sf dir/b.txt a.txt",
    "a directory becomes a link": "mv dir other; ln -s other dir",
}


class ChangeTests(StateTests):
    """Saving again, and going back."""

    @pytest.fixture
    def first(self, backend: LocalBackend, manager: StateManager, project_id: str) -> str:
        """The snapshot of a small tree that the manager has saved."""
        run_python(
            backend,
            "import os; os.makedirs('dir'); os.mkdir('empty'); open('a.txt', 'w').write('aaaaa'); "
            "open('dir/b.txt', 'w').write('b'); os.symlink('a.txt', 'link'); os.utime('a.txt', (10**9, 10**9))",
        )
        return manager.save(project_id, backend.workspace, "first").id

    @pytest.mark.parametrize("command", _CHANGES.values(), ids=_CHANGES.keys())
    def test_a_change_is_saved_and_can_be_taken_back(
        self,
        manager: StateManager,
        later: StateManager,
        project_id: str,
        workspace: Workspace,
        fresh: Workspace,
        first: str,
        command: str,
    ) -> None:
        before = described(workspace), contents(workspace)
        assert workspace.run(command).stderr == b""
        after = described(workspace), contents(workspace)
        second = manager.save(project_id, workspace, "second")
        assert (second.id != first, second.parent_id) == (True, first)
        assert later.load(project_id, fresh) == second
        assert (described(fresh), contents(fresh)) == after
        assert later.restore(project_id, first, fresh).id == first
        assert (described(fresh), contents(fresh)) == before

    def test_saving_with_nothing_changed_returns_the_latest_snapshot(
        self, manager: StateManager, project_id: str, workspace: Workspace, first: str
    ) -> None:
        assert manager.save(project_id, workspace, "again").id == first
        assert [snapshot.id for snapshot in manager.history(project_id)] == [first]

    def test_saving_what_was_just_loaded_returns_the_latest_snapshot(
        self, manager: StateManager, later: StateManager, project_id: str, backend: LocalBackend, fresh: Workspace
    ) -> None:
        make_rich_tree(backend)
        saved = manager.save(project_id, backend.workspace)
        later.load(project_id, fresh)
        assert later.save(project_id, fresh).id == saved.id

    def test_the_counts_of_a_snapshot_are_those_of_its_files(
        self, manager: StateManager, project_id: str, workspace: Workspace, first: str
    ) -> None:
        workspace.write_bytes("dir/c.txt", b"123")
        workspace.remove("a.txt")
        second = manager.save(project_id, workspace, "second")
        assert (second.files, second.bytes) == (2, 4)
        assert second.changed >= 2

    def test_restoring_changes_only_what_differs(
        self, manager: StateManager, project_id: str, workspace: Workspace, first: str
    ) -> None:
        same = workspace.stat("dir/b.txt")
        workspace.write_bytes("a.txt", b"changed")
        manager.restore(project_id, first, workspace)
        assert workspace.read_bytes("a.txt") == b"aaaaa"
        assert workspace.stat("dir/b.txt").mtime_ns == same.mtime_ns

    def test_work_after_a_restore_is_saved_on_top_of_the_latest(
        self,
        manager: StateManager,
        later: StateManager,
        project_id: str,
        workspace: Workspace,
        fresh: Workspace,
        first: str,
    ) -> None:
        workspace.write_bytes("b.txt", b"second")
        second = manager.save(project_id, workspace, "second")
        manager.restore(project_id, first, workspace)
        workspace.write_bytes("c.txt", b"third")
        third = manager.save(project_id, workspace, "third")
        assert [snapshot.id for snapshot in later.history(project_id)] == [third.id, second.id, first]
        assert later.load(project_id, fresh) == third
        assert fresh.read_bytes("c.txt") == b"third"
        assert not fresh.exists("b.txt")
