"""What a manager may be able to do beside what every one must. Whoever cannot must not pretend: both is tested."""

from __future__ import annotations

import io
import tarfile
from typing import Any

import pytest

from omniagents.errors import SnapshotNotFoundError, StateError
from omniagents.state import Snapshot, StateManager
from omniagents.state.abilities import ABILITIES, abilities_of, require
from omniagents.testing._trees import contents
from omniagents.testing.state.base import StateTests
from omniagents.workspace import Workspace

__all__ = ["AbilityTests"]


class AbilityTests(StateTests):
    """Every test is run on every manager; what one without the ability is asked for is an error that says so."""

    @pytest.fixture
    def two(self, manager: StateManager, project_id: str, workspace: Workspace) -> list[Snapshot]:
        """Two snapshots, oldest first: ``a.txt`` is changed, ``dir/b.txt`` stays, ``c.txt`` is added."""
        workspace.write_bytes("a.txt", b"one\n")
        workspace.write_bytes("dir/b.txt", b"b")
        first = manager.save(project_id, workspace, "first")
        workspace.write_bytes("a.txt", b"two\n")
        workspace.write_bytes("c.txt", b"new\n")
        return [first, manager.save(project_id, workspace, "second")]

    @pytest.mark.parametrize("ability", ABILITIES)
    def test_an_ability_is_there_or_its_lack_is_said(self, manager: StateManager, ability: str) -> None:
        if ability in abilities_of(manager):
            assert require(manager, ability, "it") is manager
        else:
            with pytest.raises(StateError) as raised:
                require(manager, ability, "it")
            assert str(raised.value) == f"the state manager 'it' cannot {ABILITIES[ability]}"

    @pytest.mark.parametrize(("ability", "others"), [("tag", ("untag", "tags")), ("diff_text", ("diff",))])
    def test_abilities_that_belong_together_come_together(
        self, manager: StateManager, ability: str, others: tuple[str, ...]
    ) -> None:
        found = abilities_of(manager)
        assert [other in found for other in others] == [ability in found] * len(others)

    def test_projects_are_listed(self, manager: StateManager, project_id: str, two: list[Snapshot]) -> None:
        if able := _able(manager, "projects"):
            assert project_id in able.projects()

    def test_a_check_finds_whole_what_is_whole(
        self, manager: StateManager, project_id: str, two: list[Snapshot]
    ) -> None:
        if able := _able(manager, "check"):
            assert able.check(project_id).is_whole
            assert able.check(project_id, read_data=True).is_whole

    def test_a_repair_of_what_is_whole_does_nothing(
        self, manager: StateManager, later: StateManager, project_id: str, two: list[Snapshot]
    ) -> None:
        if able := _able(manager, "repair"):
            report = able.repair(project_id)
            assert (tuple(report.actions), tuple(report.lost), tuple(report.unrepaired)) == ((), (), ())
            assert list(later.history(project_id)) == two[::-1]

    def test_a_tag_names_a_snapshot_for_everybody(
        self, manager: StateManager, later: StateManager, project_id: str, two: list[Snapshot]
    ) -> None:
        if (able := _able(manager, "tag")) and (other := _able(later, "tag")):
            able.tag(project_id, two[0].id, "v1.0")
            assert other.tags(project_id) == {"v1.0": two[0].id}
            with pytest.raises(SnapshotNotFoundError):
                able.tag(project_id, "0" * 32, "v2.0")
            other.untag(project_id, "v1.0")
            assert able.tags(project_id) == {}
            with pytest.raises(SnapshotNotFoundError):
                able.untag(project_id, "v1.0")

    def test_a_prune_keeps_the_latest_and_says_what_it_removed(
        self, manager: StateManager, later: StateManager, project_id: str, fresh: Workspace, two: list[Snapshot]
    ) -> None:
        if able := _able(manager, "prune"):
            rules = {"last": 1, "hourly": 0, "daily": 0, "weekly": 0}
            retention = type(able.retention)(**rules)
            assert tuple(able.prune(project_id, retention, dry_run=True).removed) == (two[0].id,)
            assert list(later.history(project_id)) == two[::-1]
            assert tuple(able.prune(project_id, retention).removed) == (two[0].id,)
            assert list(later.history(project_id)) == [two[1]]
            assert later.load(project_id, fresh) == two[1]
            with pytest.raises(SnapshotNotFoundError):
                later.restore(project_id, two[0].id, fresh)

    def test_a_fork_begins_with_a_snapshot_and_goes_its_own_way(
        self, manager: StateManager, later: StateManager, project_id: str, fresh: Workspace, two: list[Snapshot]
    ) -> None:
        if able := _able(manager, "fork"):
            forked_id = f"{project_id} forked"
            try:
                forked = able.fork(project_id, forked_id, snapshot_id=two[0].id)
                assert (forked.project_id, forked.parent_id, forked.files) == (forked_id, None, 2)
                with pytest.raises(StateError):
                    able.fork(project_id, forked_id)
                manager.delete(project_id)
                assert later.load(forked_id, fresh) == forked
                assert contents(fresh) == {"a.txt": b"one\n", "dir/b.txt": b"b"}
            finally:
                manager.delete(forked_id)

    def test_a_diff_tells_what_changed(self, manager: StateManager, project_id: str, two: list[Snapshot]) -> None:
        if able := _able(manager, "diff"):
            found = able.diff(project_id, two[0].id, two[1].id)
            assert [(one.path, one.action) for one in found.changes] == [("a.txt", "changed"), ("c.txt", "added")]
            lines = "".join(able.diff_text(project_id, two[0].id, two[1].id, paths=["a.txt"]))
            assert lines.splitlines()[2:] == ["@@ -1 +1 @@", "-one", "+two"]

    def test_an_export_is_a_tar_archive(self, manager: StateManager, project_id: str, two: list[Snapshot]) -> None:
        if able := _able(manager, "export"):
            file = io.BytesIO()
            able.export(project_id, two[0].id, file)
            file.seek(0)
            with tarfile.open(fileobj=file) as archive:
                found = {info.name: archive.extractfile(info) for info in archive if info.isfile()}
                read = {name: content.read() for name, content in found.items() if content is not None}
            assert read == {"a.txt": b"one\n", "dir/b.txt": b"b"}

    def test_stats_count_what_is_kept(self, manager: StateManager, project_id: str, two: list[Snapshot]) -> None:
        if able := _able(manager, "stats"):
            found = able.stats(project_id)
            assert (found.snapshots, found.files, found.bytes) == (2, 3, 9)
            assert found.stored_bytes > 0

    def test_part_of_a_snapshot_is_restored(
        self, manager: StateManager, project_id: str, workspace: Workspace, two: list[Snapshot]
    ) -> None:
        if able := _able(manager, "restore_paths"):
            workspace.write_bytes("dir/mine.txt", b"x")
            able.restore(project_id, two[0].id, workspace, paths=["dir", "a.txt"])
            assert contents(workspace) == {"a.txt": b"one\n", "dir/b.txt": b"b", "c.txt": b"new\n"}
            with pytest.raises(FileNotFoundError):
                able.restore(project_id, two[0].id, workspace, paths=["nine"])

    @pytest.mark.parametrize("same_path", [False, True])
    def test_a_conflict_is_merged_where_no_path_was_changed_twice(
        self,
        manager: StateManager,
        later: StateManager,
        project_id: str,
        workspace: Workspace,
        fresh: Workspace,
        two: list[Snapshot],
        same_path: bool,
    ) -> None:
        if able := _able(later, "on_conflict"):
            later.load(project_id, fresh)
            workspace.write_bytes("a.txt", b"first writer")
            first = manager.save(project_id, workspace, "first writer")
            fresh.write_bytes("a.txt" if same_path else "c.txt", b"second writer")
            if same_path:
                with pytest.raises(StateError, match=r"a\.txt"):
                    able.save(project_id, fresh, "second writer", on_conflict="merge")
                overwritten = able.save(project_id, fresh, "second writer", on_conflict="overwrite")
                assert overwritten.parent_id == first.id
            else:
                able.save(project_id, fresh, "second writer", on_conflict="merge")
            manager.load(project_id, workspace)
            expected = {"a.txt": b"first writer", "c.txt": b"second writer", "dir/b.txt": b"b"}
            if same_path:
                expected |= {"a.txt": b"second writer", "c.txt": b"new\n"}
            assert contents(workspace) == expected


def _able(manager: StateManager, ability: str) -> Any:
    """The manager, if it can do this; None after it was seen to say that it cannot."""
    if ability in abilities_of(manager):
        return manager
    with pytest.raises(StateError, match="cannot"):
        require(manager, ability, "it")
    return None
