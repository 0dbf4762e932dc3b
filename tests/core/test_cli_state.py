"""``omniagents state``: what is kept of projects is seen, checked, restored and removed."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.core.cli_support import Program

pytestmark = pytest.mark.extra


@pytest.fixture
def two_snapshots(program: Program) -> list[str]:
    """Project alice: ``a.txt`` was ``one`` and then ``two``. Ids, newest first."""
    program("run", "alice", "--", "echo one > a.txt")
    program("run", "alice", "--", "echo two > a.txt; mkdir -p node_modules; touch node_modules/x")
    return [one["id"] for one in program("state", "history", "alice", "--json").json]


def test_history_is_newest_first(program: Program, two_snapshots: list[str]) -> None:
    lines = program("state", "history", "alice").out.splitlines()
    assert [line.split()[0] for line in lines] == ["snapshot", *(one[:12] for one in two_snapshots)]
    assert len(program("state", "history", "-n", "1", "alice", "--json").json) == 1


def test_history_of_a_project_never_saved_is_empty(program: Program) -> None:
    assert program("state", "history", "nobody", "--json").json == []
    assert program("state", "history", "nobody").err == "nothing was saved of project 'nobody'\n"


def test_show_tells_what_was_left_out(program: Program, two_snapshots: list[str]) -> None:
    shown = program("state", "show", "alice", "--json").json
    assert shown["id"] == two_snapshots[0]
    assert shown["parent_id"] == two_snapshots[1]
    assert [left["path"] for left in shown["left_out"]] == ["node_modules"]
    assert "node_modules" in program("state", "show", "alice").out


def test_show_takes_the_start_of_an_id(program: Program, two_snapshots: list[str]) -> None:
    assert program("state", "show", "alice", two_snapshots[1][:8], "--json").json["id"] == two_snapshots[1]


def test_an_id_that_is_not_there_is_an_error(program: Program, two_snapshots: list[str]) -> None:
    answer = program("state", "show", "alice", "zz")
    assert answer == (
        1,
        "",
        "omniagents: no snapshot starts with 'zz' in project 'alice'; `omniagents state history` lists them\n",
    )


def test_restore_makes_a_new_snapshot_of_an_old_one(program: Program, two_snapshots: list[str]) -> None:
    assert program("state", "restore", "alice", two_snapshots[1]).code == 0
    assert program("run", "alice", "--", "cat", "a.txt").out == "one\n"
    kept = program("state", "history", "alice", "--json").json
    assert [one["id"] for one in kept[1:]] == two_snapshots
    assert kept[0]["message"] == f"restored {two_snapshots[1][:12]}"


def test_restore_to_a_directory_leaves_the_project_alone(
    program: Program, two_snapshots: list[str], tmp_path: Path
) -> None:
    answer = program("state", "restore", "alice", two_snapshots[1], "--to", str(tmp_path / "out"))
    assert answer == (0, "", f"wrote 1 file (4 B) to {tmp_path / 'out'}\n")
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["a.txt"]
    assert (tmp_path / "out" / "a.txt").read_text() == "one\n"
    assert len(program("state", "history", "alice", "--json").json) == 2


def test_restore_never_removes_what_is_in_a_directory(
    program: Program, two_snapshots: list[str], tmp_path: Path
) -> None:
    (tmp_path / "mine.txt").touch()
    answer = program("state", "restore", "alice", "latest", "--to", str(tmp_path))
    assert answer.code == 2
    assert "is not empty" in answer.err
    assert (tmp_path / "mine.txt").exists()


def test_check_finds_whole_what_is_whole(program: Program, two_snapshots: list[str]) -> None:
    answer = program("state", "check", "alice", "--read-data")
    assert answer.code == 0
    assert answer.out.startswith("whole: 2 snapshots, ")
    assert program("state", "check", "alice", "--json").json["is_whole"] is True


def test_check_names_what_is_damaged(program: Program, two_snapshots: list[str]) -> None:
    for pack in Path(program.environment["OMNIAGENTS_STATE_DIRECTORY"]).glob("*/packs/*/*"):
        pack.unlink()
    answer = program("state", "check", "alice")
    assert answer.code == 1
    assert "is missing (snapshots affected: " in answer.err
    assert program("state", "check", "alice", "--json").json["problems"] != []


def test_rm_asks_and_without_anybody_to_ask_does_nothing(program: Program, two_snapshots: list[str]) -> None:
    process = program.process("state", "rm", "alice")
    _, errors = process.communicate()
    assert process.returncode == 2
    assert errors.endswith(b"Error: nobody is here to ask; --yes removes without asking\n")
    assert len(program("state", "history", "alice", "--json").json) == 2


def test_rm_removes_one_project_for_good(program: Program, two_snapshots: list[str]) -> None:
    program("run", "bob", "--", "touch b.txt")
    assert program("state", "rm", "--yes", "alice").err == "removed everything kept of project 'alice'\n"
    assert program("state", "history", "alice", "--json").json == []
    assert len(program("state", "history", "bob", "--json").json) == 1


def test_a_manager_that_cannot_list_or_check_says_so(program: Program) -> None:
    for command, what in (("ls", "list its projects"), ("check", "check what it keeps")):
        answer = program("state", command, "-s", "none", *(["alice"] if command == "check" else []))
        assert answer == (1, "", f"omniagents: the state manager 'none' cannot {what}\n")


def test_options_reach_the_state_manager(program: Program, tmp_path: Path) -> None:
    elsewhere = f"directory={tmp_path / 'elsewhere'}"
    program("run", "--state-option", elsewhere, "alice", "--", "touch a.txt")
    assert program("state", "history", "alice", "--json").json == []
    assert len(program("state", "history", "--state-option", elsewhere, "alice", "--json").json) == 1
