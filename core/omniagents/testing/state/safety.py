"""Nothing is written outside, nothing is lost silently."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from omniagents.errors import StateConflictError, StateQuotaError
from omniagents.records import ExportedEntry
from omniagents.state import StateManager
from omniagents.testing._trees import contents
from omniagents.testing.state.base import StateTests
from omniagents.workspace import Workspace

__all__ = ["SafetyTests"]


class _FailingWorkspace:
    """A workspace that is lost while it is read or written."""

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace

    def __getattr__(self, name: str) -> Any:
        return getattr(self._workspace, name)

    def export(self, paths: Sequence[str]) -> Iterator[ExportedEntry]:
        yield from self._workspace.export(paths[: len(paths) // 2])
        raise ConnectionResetError("the workspace was lost")

    def import_(self, *_: Any, **__: Any) -> None:
        raise ConnectionResetError("the workspace was lost")


class SafetyTests(StateTests):
    """Links, changing files, failures in the middle, and two writers."""

    @pytest.mark.parametrize("way", ["load", "restore"])
    def test_loading_never_writes_through_a_link(
        self,
        manager: StateManager,
        later: StateManager,
        project_id: str,
        workspace: Workspace,
        fresh: Workspace,
        tmp_path: Path,
        way: str,
    ) -> None:
        for name in ("dir/a.txt", "dir/sub/b.txt", "file.txt"):
            workspace.write_bytes(name, b"saved")
        saved = manager.save(project_id, workspace)
        (tmp_path / "sub").mkdir()
        (tmp_path / "file.txt").write_bytes(b"precious")
        fresh.run(["ln", "-s", str(tmp_path), "dir"])
        fresh.run(["ln", "-s", str(tmp_path / "file.txt"), "file.txt"])
        if way == "load":
            later.load(project_id, fresh)
        else:
            later.restore(project_id, saved.id, fresh)
        assert sorted(path.name for path in tmp_path.rglob("*")) == ["file.txt", "sub"]
        assert (tmp_path / "file.txt").read_bytes() == b"precious"
        assert contents(fresh) == {"dir/a.txt": b"saved", "dir/sub/b.txt": b"saved", "file.txt": b"saved"}

    def test_removing_what_is_too_much_never_follows_a_link(
        self,
        manager: StateManager,
        later: StateManager,
        project_id: str,
        workspace: Workspace,
        fresh: Workspace,
        tmp_path: Path,
    ) -> None:
        workspace.write_bytes("a.txt", b"saved")
        manager.save(project_id, workspace)
        (tmp_path / "file.txt").write_bytes(b"precious")
        fresh.run(["ln", "-s", str(tmp_path), "too-much"])
        later.load(project_id, fresh)
        assert (tmp_path / "file.txt").read_bytes() == b"precious"
        assert contents(fresh) == {"a.txt": b"saved"}

    def test_files_that_change_while_they_are_saved_are_saved_whole_or_reported(
        self, manager: StateManager, later: StateManager, project_id: str, workspace: Workspace, fresh: Workspace
    ) -> None:
        workspace.run("mkdir quiet; for i in $(seq 50); do echo $i > quiet/$i; done; echo 0 > log")
        script = """
            while :; do
              for letter in a b c; do
                head -c 300000 /dev/zero | tr '\\0' $letter > new; mv new swapped; echo $letter >> log
                touch comes; rm -f comes
              done
            done
        """
        process = workspace.start_process(script)
        while not workspace.exists("swapped"):
            pass
        saved = [manager.save(project_id, workspace, str(number)) for number in range(3)][-1]
        process.kill()
        process.wait()
        later.load(project_id, fresh)
        found = contents(fresh)
        assert {f"quiet/{i}": b"%d\n" % i for i in range(1, 51)}.items() <= found.items()
        left_out = [left.path for left in saved.left_out]
        assert "swapped" in left_out or found["swapped"] in {letter * 300_000 for letter in (b"a", b"b", b"c")}
        assert "log" in left_out or found["log"].startswith(b"0\na\n")

    def test_a_save_that_fails_leaves_the_previous_snapshot(
        self, manager: StateManager, later: StateManager, project_id: str, workspace: Workspace, fresh: Workspace
    ) -> None:
        workspace.write_bytes("a.txt", b"first")
        first = manager.save(project_id, workspace, "first")
        for number in range(20):
            workspace.write_bytes(f"{number}.txt", b"second")
        failing: Any = _FailingWorkspace(workspace)
        with pytest.raises(ConnectionResetError, match="the workspace was lost"):
            manager.save(project_id, failing, "second")
        assert list(later.history(project_id)) == [first]
        assert later.load(project_id, fresh) == first
        assert contents(fresh) == {"a.txt": b"first"}

    def test_a_save_that_failed_can_be_repeated(
        self, manager: StateManager, later: StateManager, project_id: str, workspace: Workspace, fresh: Workspace
    ) -> None:
        workspace.write_bytes("a.txt", b"first")
        manager.save(project_id, workspace, "first")
        workspace.write_bytes("b.txt", b"second")
        failing: Any = _FailingWorkspace(workspace)
        with pytest.raises(ConnectionResetError):
            manager.save(project_id, failing, "second")
        second = manager.save(project_id, workspace, "second")
        assert later.load(project_id, fresh) == second
        assert contents(fresh) == {"a.txt": b"first", "b.txt": b"second"}

    def test_a_load_that_failed_can_be_repeated(
        self, manager: StateManager, project_id: str, workspace: Workspace, fresh: Workspace
    ) -> None:
        workspace.write_bytes("a.txt", b"first")
        saved = manager.save(project_id, workspace, "first")
        failing: Any = _FailingWorkspace(fresh)
        with pytest.raises(ConnectionResetError):
            manager.load(project_id, failing)
        assert manager.load(project_id, fresh) == saved
        assert contents(fresh) == {"a.txt": b"first"}

    def test_a_workspace_over_the_limit_is_refused_and_one_without_a_limit_is_not(
        self,
        state_manager_factory: Any,
        manager: StateManager,
        later: StateManager,
        project_id: str,
        workspace: Workspace,
        fresh: Workspace,
    ) -> None:
        limited = manager if self.quota_options is None else state_manager_factory(**self.quota_options)
        workspace.write_bytes("a.txt", b"small")
        first = limited.save(project_id, workspace, "small")
        workspace.write_bytes("large", bytes(1_000_001))
        if self.quota_options is None:
            first = limited.save(project_id, workspace, "large")
        else:
            with pytest.raises(StateQuotaError, match="1,000,0"):
                limited.save(project_id, workspace, "large")
        assert later.load(project_id, fresh) == first
        assert fresh.exists("large") == (self.quota_options is None)

    def test_two_writers_do_not_lose_work_silently(
        self, manager: StateManager, later: StateManager, project_id: str, workspace: Workspace, fresh: Workspace
    ) -> None:
        workspace.write_bytes("a.txt", b"base")
        manager.save(project_id, workspace, "base")
        later.load(project_id, fresh)
        workspace.write_bytes("a.txt", b"first writer")
        first = manager.save(project_id, workspace, "first writer")
        fresh.write_bytes("a.txt", b"second writer")
        if self.detects_conflicts:
            with pytest.raises(StateConflictError) as raised:
                later.save(project_id, fresh, "second writer")
            assert first.id in str(raised.value)
            assert manager.load(project_id, workspace) == first
            assert workspace.read_bytes("a.txt") == b"first writer"
        else:
            second = later.save(project_id, fresh, "second writer")
            assert [snapshot.id for snapshot in manager.history(project_id)][:2] == [second.id, first.id]

    def test_after_a_conflict_work_goes_on_from_the_latest(
        self, manager: StateManager, later: StateManager, project_id: str, workspace: Workspace, fresh: Workspace
    ) -> None:
        workspace.write_bytes("a.txt", b"base")
        manager.save(project_id, workspace, "base")
        later.load(project_id, fresh)
        workspace.write_bytes("a.txt", b"first writer")
        manager.save(project_id, workspace, "first writer")
        fresh.write_bytes("b.txt", b"second writer")
        if self.detects_conflicts:
            with pytest.raises(StateConflictError):
                later.save(project_id, fresh, "second writer")
        later.load(project_id, fresh)
        fresh.write_bytes("b.txt", b"second writer, again")
        again = later.save(project_id, fresh, "again")
        assert later.history(project_id)[0] == again
        assert fresh.read_bytes("b.txt") == b"second writer, again"
