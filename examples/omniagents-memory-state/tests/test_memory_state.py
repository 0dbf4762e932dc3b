"""What is written in one session is there in the next, and nothing else is."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import omniagents
from omniagents.backends.base import Backend
from omniagents.errors import SnapshotNotFoundError
from omniagents.plugins import manager
from omniagents_memory_state import plugin
from omniagents_memory_state.state_manager import MemoryStateManager

Session = Callable[..., Backend]


@pytest.fixture(autouse=True)
def installed() -> Iterator[None]:
    """Register the plugin where it is not installed, so that the tests also run from its folder alone."""
    is_installed = "memory" in [component.name for component in omniagents.available("state_manager")]
    if not is_installed:
        manager.register(plugin)
    yield
    if not is_installed:
        manager.unregister(plugin)


@pytest.fixture
def state() -> MemoryStateManager:
    return MemoryStateManager()


@pytest.fixture
def session(tmp_path: Path, state: MemoryStateManager, monkeypatch: pytest.MonkeyPatch) -> Session:
    """A backend for a project, to be used in a with statement; nothing is kept on disk between two."""
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))

    def make(project_id: str = "alice", state_manager: MemoryStateManager = state) -> Backend:
        return omniagents.create_backend("local", project_id=project_id, state_manager=state_manager)

    return make


def test_the_state_manager_is_available_by_name() -> None:
    assert isinstance(omniagents.create_state_manager("memory", keep=3), MemoryStateManager)


def test_a_wrong_option_is_refused_with_the_valid_ones() -> None:
    with pytest.raises(TypeError, match=r"takes no option 'keeps' \(did you mean 'keep'\?\). Options: keep."):
        omniagents.create_state_manager("memory", keeps=3)


def test_at_least_one_snapshot_is_kept() -> None:
    with pytest.raises(ValueError, match="keep is at least 1, not 0"):
        MemoryStateManager(keep=0)


def test_files_directories_links_modes_and_times_are_there_in_the_next_session(session: Session) -> None:
    with session() as backend:
        prepare = r"""
            mkdir -p src/empty && printf '\0\377' > src/data && chmod 750 src/data && ln -s src/data link
            touch -d '2001-02-03 04:05:06 UTC' src/data && printf x > "$(printf 'odd\n\377')"
        """
        assert backend.workspace.run(prepare).exit_code == 0
        before = backend.workspace.scan(exclude=[".omniagents/"]).entries
    with session() as backend:
        after = backend.workspace.scan(exclude=[".omniagents/"]).entries
        assert [(e.path, e.kind, e.size, e.mode, e.mtime_ns, e.target) for e in after if e.kind != "directory"] == [
            (e.path, e.kind, e.size, e.mode, e.mtime_ns, e.target) for e in before if e.kind != "directory"
        ]
        assert [(e.path, e.mode) for e in after] == [(e.path, e.mode) for e in before]
        assert backend.workspace.read_bytes("src/data") == b"\0\xff"
        assert os.fsdecode(b"odd\n\xff") in [e.path for e in after]


def test_what_was_removed_stays_removed(session: Session) -> None:
    with session() as backend:
        backend.workspace.write_bytes("old.txt", b"x")
    with session() as backend:
        backend.workspace.remove("old.txt")
    with session() as backend:
        assert not backend.workspace.exists("old.txt")


def test_projects_never_see_each_others_files(session: Session) -> None:
    with session("alice") as alice:
        alice.workspace.write_bytes("secret.txt", b"x")
    with session("bob") as bob:
        assert not bob.workspace.exists("secret.txt")


def test_saving_with_nothing_changed_returns_the_latest_snapshot(session: Session) -> None:
    with session() as backend:
        backend.workspace.write_bytes("a.txt", b"x")
        assert backend.checkpoint("first") is backend.checkpoint("second")


def test_a_snapshot_tells_what_it_holds(session: Session) -> None:
    with session() as backend:
        backend.workspace.write_bytes("a.txt", b"123")
        first = backend.checkpoint("first")
        backend.workspace.write_bytes("b.txt", b"45")
        backend.workspace.run("mkfifo pipe")
        second = backend.checkpoint("second")
        assert first is not None
        assert second is not None
        assert (second.message, second.files, second.bytes, second.changed) == ("second", 2, 5, 1)
        assert (first.parent_id, second.parent_id) == (None, first.id)
        assert ("pipe", "not a file, directory or link") in second.left_out


def test_history_is_newest_first_and_cut_to_what_is_kept(session: Session) -> None:
    state = MemoryStateManager(keep=2)
    with session(state_manager=state) as backend:
        for number in range(3):
            backend.workspace.write_bytes("a.txt", b"%d" % number)
            backend.checkpoint(str(number))
    assert [snapshot.message for snapshot in state.history("alice")] == ["2", "1"]


def test_restoring_makes_the_workspace_equal_to_the_snapshot(session: Session) -> None:
    with session() as backend:
        backend.workspace.write_bytes("kept", b"old")
        backend.workspace.write_bytes("becomes-directory", b"x")
        first = backend.checkpoint()
        assert first is not None
        backend.workspace.run(
            "echo new > kept; rm becomes-directory; mkdir -p becomes-directory/sub added; touch added/x"
        )
        backend.checkpoint()
        backend.restore(first.id)
        assert backend.workspace.read_bytes("kept") == b"old"
        assert backend.workspace.read_bytes("becomes-directory") == b"x"
        assert not backend.workspace.exists("added")


def test_an_unknown_snapshot_is_refused_with_those_there_are(session: Session) -> None:
    with session() as backend:
        with pytest.raises(SnapshotNotFoundError) as raised:
            backend.restore("nine")
        assert str(raised.value) == "project 'alice' has no snapshot 'nine'; kept are: none"


def test_a_deleted_project_starts_empty(session: Session, state: MemoryStateManager) -> None:
    with session() as backend:
        backend.workspace.write_bytes("a.txt", b"x")
    state.delete("alice")
    state.delete("alice")
    assert state.history("alice") == []
    with session() as backend:
        assert not backend.workspace.exists("a.txt")


def test_the_readmes_example_prints_what_it_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    readme = Path(__file__).parents[1] / "README.md"
    [block] = re.findall(r"```python\n(.*?)```", readme.read_text(), re.DOTALL)
    exec(block, {})
    assert capsys.readouterr().out == "b'Remember me.'\n"
