"""What was saved, and when."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from omniagents.errors import SnapshotNotFoundError
from omniagents.state import Snapshot, StateManager
from omniagents.testing.state.base import StateTests
from omniagents.workspace import Workspace

__all__ = ["HistoryTests"]


class HistoryTests(StateTests):
    """``history``, ``restore`` and ``delete``."""

    @pytest.fixture
    def three(self, manager: StateManager, project_id: str, workspace: Workspace) -> list[Snapshot]:
        """Three snapshots, oldest first; ``a.txt`` says which it is."""
        saved = []
        for number in (b"1", b"2", b"3"):
            workspace.write_bytes("a.txt", number)
            saved.append(manager.save(project_id, workspace, f"save {number.decode()}: ünï\n\nmore"))
        return saved

    def test_the_history_of_a_project_never_saved_is_empty(self, manager: StateManager, project_id: str) -> None:
        assert list(manager.history(project_id)) == []

    def test_history_is_newest_first_and_the_same_for_every_manager(
        self, manager: StateManager, later: StateManager, project_id: str, three: list[Snapshot]
    ) -> None:
        assert list(manager.history(project_id)) == three[::-1]
        assert list(later.history(project_id)) == three[::-1]

    def test_a_snapshot_says_whose_it_is_and_what_it_was_made_from(
        self, project_id: str, three: list[Snapshot]
    ) -> None:
        assert {snapshot.project_id for snapshot in three} == {project_id}
        assert [snapshot.parent_id for snapshot in three] == [None, three[0].id, three[1].id]
        assert len({snapshot.id for snapshot in three}) == 3

    def test_messages_are_kept_as_given(self, later: StateManager, project_id: str, three: list[Snapshot]) -> None:
        messages = [snapshot.message for snapshot in later.history(project_id)]
        assert messages == [f"save {number}: ünï\n\nmore" for number in (3, 2, 1)]

    def test_times_are_utc_and_in_order(self, later: StateManager, project_id: str, three: list[Snapshot]) -> None:
        times = [snapshot.created_at for snapshot in later.history(project_id)]
        assert [time.utcoffset() for time in times] == [timedelta(0)] * 3
        assert times == sorted(times, reverse=True)
        assert abs(datetime.now(UTC) - times[0]) < timedelta(hours=1)

    @pytest.mark.parametrize("number", [0, 1, 2])
    def test_every_snapshot_of_the_history_can_be_restored(
        self, later: StateManager, project_id: str, fresh: Workspace, three: list[Snapshot], number: int
    ) -> None:
        fresh.write_bytes("extra.txt", b"x")
        assert later.restore(project_id, three[number].id, fresh) == three[number]
        assert fresh.read_bytes("a.txt") == b"%d" % (number + 1)
        assert not fresh.exists("extra.txt")

    @pytest.mark.parametrize("snapshot_id", ["nine", "", "../x", "0" * 32, "HEAD", "nul\0", "ü"], ids=ascii)
    def test_an_unknown_snapshot_is_not_found_and_the_workspace_stays(
        self, manager: StateManager, project_id: str, workspace: Workspace, three: list[Snapshot], snapshot_id: str
    ) -> None:
        with pytest.raises(SnapshotNotFoundError) as raised:
            manager.restore(project_id, snapshot_id, workspace)
        assert repr(snapshot_id) in str(raised.value)
        assert workspace.read_bytes("a.txt") == b"3"

    def test_the_snapshot_of_another_project_is_not_found(
        self, manager: StateManager, project_id: str, workspace: Workspace, three: list[Snapshot]
    ) -> None:
        with pytest.raises(SnapshotNotFoundError):
            manager.restore(project_id + " other", three[0].id, workspace)

    def test_a_deleted_project_is_as_if_never_saved(
        self, manager: StateManager, later: StateManager, project_id: str, fresh: Workspace, three: list[Snapshot]
    ) -> None:
        manager.delete(project_id)
        manager.delete(project_id)
        assert list(later.history(project_id)) == []
        assert later.load(project_id, fresh) is None
        with pytest.raises(SnapshotNotFoundError):
            later.restore(project_id, three[0].id, fresh)

    def test_a_deleted_project_can_be_saved_anew(
        self,
        manager: StateManager,
        later: StateManager,
        project_id: str,
        workspace: Workspace,
        fresh: Workspace,
        three: list[Snapshot],
    ) -> None:
        manager.delete(project_id)
        anew = manager.save(project_id, workspace, "anew")
        assert anew.parent_id is None
        assert list(later.history(project_id)) == [anew]
        assert later.load(project_id, fresh) == anew
        assert fresh.read_bytes("a.txt") == b"3"
