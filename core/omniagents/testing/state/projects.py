"""Two projects never meet."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

import pytest

from omniagents.state import StateManager
from omniagents.testing._support import HOSTILE_PROJECT_IDS
from omniagents.testing.state.base import StateTests
from omniagents.workspace import Workspace

__all__ = ["ProjectTests"]


class ProjectTests(StateTests):
    """Ids that look alike or look like paths, and many projects at once."""

    @pytest.fixture
    def project_ids(self, manager: StateManager) -> Iterator[Sequence[str]]:
        yield HOSTILE_PROJECT_IDS
        for project_id in HOSTILE_PROJECT_IDS:
            manager.delete(project_id)

    def test_projects_with_hostile_ids_never_meet(
        self,
        manager: StateManager,
        later: StateManager,
        workspace: Workspace,
        fresh: Workspace,
        project_ids: Sequence[str],
    ) -> None:
        for number, project_id in enumerate(project_ids):
            workspace.write_bytes("whose.txt", b"%d" % number)
            assert manager.save(project_id, workspace).project_id == project_id
        found = []
        for project_id in project_ids:
            assert [snapshot.project_id for snapshot in later.history(project_id)] == [project_id]
            later.load(project_id, fresh)
            found.append(int(fresh.read_bytes("whose.txt")))
        assert found == list(range(len(project_ids)))

    def test_deleting_a_project_leaves_those_that_look_like_it(
        self, manager: StateManager, later: StateManager, workspace: Workspace, project_ids: Sequence[str]
    ) -> None:
        workspace.write_bytes("a.txt", b"x")
        for project_id in project_ids:
            manager.save(project_id, workspace)
        for position, project_id in enumerate(project_ids):
            manager.delete(project_id)
            left = [other for other in project_ids if later.history(other)]
            assert left == list(project_ids[position + 1 :])

    def test_projects_are_saved_and_loaded_at_once(
        self,
        manager: StateManager,
        later: StateManager,
        workspace: Workspace,
        fresh: Workspace,
        project_ids: Sequence[str],
    ) -> None:
        for number in range(50):
            workspace.write_bytes(f"{number}.txt", b"%d" % number)
        with ThreadPoolExecutor(4) as pool:
            saved = list(pool.map(lambda project_id: manager.save(project_id, workspace), project_ids))
        assert [snapshot.project_id for snapshot in saved] == list(project_ids)
        assert [list(later.history(project_id)) for project_id in project_ids] == [[snapshot] for snapshot in saved]
        for project_id in project_ids[:2]:
            later.load(project_id, fresh)
            assert len(fresh.list()) == 50

    def test_one_manager_serves_two_workspaces_at_once(
        self, manager: StateManager, workspace: Workspace, fresh: Workspace, project_ids: Sequence[str]
    ) -> None:
        workspaces = dict(zip(project_ids[:2], (workspace, fresh), strict=True))

        def work(project_id: str) -> list[bytes]:
            own = workspaces[project_id]
            for number in range(5):
                own.write_bytes("a.txt", b"%d" % number)
                manager.save(project_id, own, str(number))
            manager.restore(project_id, manager.history(project_id)[-1].id, own)
            return [own.read_bytes("a.txt"), *(snapshot.message.encode() for snapshot in manager.history(project_id))]

        with ThreadPoolExecutor(2) as pool:
            assert list(pool.map(work, workspaces)) == [[b"0", b"4", b"3", b"2", b"1", b"0"]] * 2
