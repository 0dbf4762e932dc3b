"""``omniagents state tag``, ``prune``, ``fork``, ``diff``, ``export``, ``stats`` and ``repair``."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest
from tests.core.cli_support import Program

pytestmark = pytest.mark.extra


@pytest.fixture
def ids(program: Program) -> list[str]:
    """Project alice: ``a.txt`` was ``one`` and then ``two``, ``b.txt`` came; ids, newest first."""
    program("run", "alice", "--", "echo one > a.txt; mkdir d; echo x > d/x")
    program("run", "alice", "--", "echo two > a.txt; echo new > b.txt")
    return [one["id"] for one in program("state", "history", "alice", "--json").json]


def store(program: Program) -> Path:
    return Path(program.environment["OMNIAGENTS_STATE_DIRECTORY"])


def test_a_tag_names_a_snapshot_everywhere(program: Program, ids: list[str]) -> None:
    answer = program("state", "tag", "alice", ids[1][:8], "v1.0")
    assert answer == (0, "", f"{ids[1][:12]} of project 'alice' is 'v1.0' from now on\n")
    assert program("state", "tag", "alice", "--json").json == {"v1.0": ids[1]}
    assert program("state", "tag", "alice").out.split() == ["tag", "snapshot", "v1.0", ids[1][:12]]
    assert program("state", "show", "alice", "v1.0", "--json").json["id"] == ids[1]
    assert [one["tags"] for one in program("state", "history", "alice", "--json").json] == [[], ["v1.0"]]
    assert "v1.0" in program("state", "history", "alice").out
    assert program("state", "untag", "alice", "v1.0").code == 0
    assert program("state", "untag", "alice", "v1.0") == (
        1,
        "",
        "omniagents: project 'alice' has no tag 'v1.0'; it has: none\n",
    )


def test_what_is_no_tag_is_refused(program: Program, ids: list[str]) -> None:
    answer = program("state", "tag", "alice", "latest", "a/b")
    assert answer.code == 2
    assert "'a/b' is no tag" in answer.err
    assert program("state", "tag", "alice", "latest").code == 2


def test_prune_says_what_it_would_remove_and_then_does(program: Program, ids: list[str]) -> None:
    rules = ("--last", "1", "--hourly", "0", "--daily", "0", "--weekly", "0")
    planned = program("state", "prune", "alice", *rules, "--dry-run", "--json").json
    assert (planned["removed"], planned["dry_run"], planned["kept"]) == ([ids[1]], True, {ids[0]: ["latest", "last"]})
    assert len(program("state", "history", "alice", "--json").json) == 2
    answer = program("state", "prune", "alice", *rules)
    assert answer.code == 0
    assert answer.out.startswith("alice: removed 1 snapshot and ")
    assert [one["id"] for one in program("state", "history", "alice", "--json").json] == [ids[0]]
    assert program("state", "check", "alice", "--read-data").code == 0


def test_prune_keeps_by_the_managers_own_rules_and_takes_all_projects(program: Program, ids: list[str]) -> None:
    program("run", "bob", "--", "echo x > x")
    reports = program("state", "prune", "--all", "--json").json
    assert [(one["project_id"], one["removed"]) for one in reports] == [("alice", []), ("bob", [])]
    assert program("state", "prune").code == 2
    assert program("state", "prune", "alice", "--all").code == 2


def test_a_fork_begins_with_a_snapshot(program: Program, ids: list[str]) -> None:
    assert program("state", "fork", "alice", "bob", "--snapshot", ids[1][:8]) == (
        0,
        "",
        "project 'bob' begins with 2 files (6 B)\n",
    )
    assert program("run", "bob", "--", "cat", "a.txt").out == "one\n"
    assert program("state", "fork", "alice", "carol", "--json").json["project_id"] == "carol"
    answer = program("state", "fork", "alice", "bob")
    assert answer.code == 1
    assert answer.err.startswith("omniagents: project 'bob' exists already")


def test_a_diff_shows_paths_or_lines(program: Program, ids: list[str]) -> None:
    answer = program("state", "diff", "alice", ids[1])
    assert answer.code == 1
    assert [line.split() for line in answer.out.splitlines()] == [
        ["~", "a.txt", "content,", "time", "4", "B"],
        ["+", "b.txt", "4", "B"],
    ]
    text = program("state", "diff", "alice", ids[1], ids[0], "--text", "--path", "a.txt").out
    assert text == "--- a/a.txt\n+++ b/a.txt\n@@ -1 +1 @@\n-one\n+two\n"
    found = program("state", "diff", "alice", ids[1], "--json", "--text").json
    assert [(one["path"], one["action"]) for one in found["changes"]] == [("a.txt", "changed"), ("b.txt", "added")]
    assert "+new" in found["text"]
    assert program("state", "diff", "alice", ids[0]) == (0, "", "")


def test_an_archive_is_written_whole_or_not_at_all(program: Program, ids: list[str], tmp_path: Path) -> None:
    answer = program("state", "export", "alice", ids[1], "-o", str(tmp_path / "alice.tar"), "--json")
    assert answer.json["snapshot"] == ids[1]
    with tarfile.open(tmp_path / "alice.tar") as archive:
        assert archive.getnames() == ["a.txt", "d", "d/x"]
    assert program("state", "export", "alice", "-o", str(tmp_path / "part.tar.zst"), "--path", "d").code == 0
    assert (tmp_path / "part.tar.zst").read_bytes()[:4] == b"\x28\xb5\x2f\xfd"
    assert program("state", "export", "alice", "-o", str(tmp_path / "alice.tar")).code == 2
    for pack in store(program).glob("*/packs/*/*"):
        pack.write_bytes(b"\0" * pack.stat().st_size)
    for cached in (Path(program.environment["XDG_CACHE_HOME"]), store(program) / ".cache"):
        for path in cached.rglob("*"):
            if path.is_file():
                path.unlink()
    assert program("state", "export", "alice", "-o", str(tmp_path / "broken.tar")).code == 1
    assert sorted(path.name for path in tmp_path.iterdir() if "tar" in path.name) == ["alice.tar", "part.tar.zst"]


def test_an_archive_goes_to_a_pipe(program: Program, ids: list[str]) -> None:
    process = program.process("state", "export", "alice")
    out, err = process.communicate()
    assert (process.returncode, err) == (0, b"")
    listed = subprocess.run(["tar", "-t"], input=out, capture_output=True, check=True)
    assert listed.stdout == b"a.txt\nb.txt\nd/\nd/x\n"


def test_stats_of_one_project_and_of_all(program: Program, ids: list[str]) -> None:
    one = program("state", "stats", "alice", "--json").json
    assert (one["snapshots"], one["files"], one["unused_bytes"]) == (2, 3, 0)
    assert one["stored_bytes"] > 0
    assert [found["project_id"] for found in program("state", "stats", "--json").json] == ["alice"]
    assert program("state", "stats").out.splitlines()[1].split()[0] == "alice"


def test_a_repair_says_what_it_did(program: Program, ids: list[str]) -> None:
    assert program("state", "repair", "alice") == (0, "nothing to repair\n", "")
    next(store(program).glob("*/HEAD")).unlink()
    answer = program("state", "check", "alice")
    assert answer.code == 1
    assert "is missing, so that nothing is loaded; repair() rebuilds it" in answer.err
    assert "would be done: HEAD names the newest" in program("state", "repair", "alice", "--dry-run").out
    assert program("state", "repair", "alice").out == "done: HEAD names the newest snapshot that is left\n"
    assert program("run", "alice", "--", "cat", "a.txt").out == "two\n"


def test_part_of_a_snapshot_is_restored(program: Program, ids: list[str], tmp_path: Path) -> None:
    assert program("state", "restore", "alice", ids[1], "--path", "a.txt").code == 0
    assert program("run", "alice", "--", "cat a.txt b.txt").out == "one\nnew\n"
    answer = program("state", "restore", "alice", ids[1], "--path", "d", "--to", str(tmp_path / "out"))
    assert answer == (0, "", f"wrote d to {tmp_path / 'out'}\n")
    assert [path.name for path in (tmp_path / "out").rglob("*")] == ["d", "x"]
    missing = program("state", "restore", "alice", ids[1], "--path", "nine")
    assert missing.code == 1
    assert "has no such path" in missing.err


@pytest.mark.parametrize(
    ("arguments", "what"),
    [
        (("prune", "alice"), "remove some snapshots and keep others"),
        (("stats", "alice"), "say how much it keeps"),
        (("repair", "alice"), "repair what it keeps"),
        (("tag", "alice"), "list tags"),
        (("untag", "alice", "x"), "take tags away"),
    ],
)
def test_a_manager_without_an_ability_says_so(program: Program, arguments: tuple[str, ...], what: str) -> None:
    command, *rest = arguments
    assert program("state", command, "--state", "none", *rest) == (
        1,
        "",
        f"omniagents: the state manager 'none' cannot {what}\n",
    )


@pytest.mark.parametrize(
    "command", ["tag", "untag", "prune", "repair", "fork", "diff", "export", "stats", "check", "restore"]
)
def test_every_command_has_help(program: Program, command: str) -> None:
    answer = program("state", command, "--help")
    assert answer.code == 0
    assert "PROJECT" in answer.out
    assert "--state-option" in answer.out


def test_nothing_but_results_is_on_stdout_even_on_a_terminal(program: Program, ids: list[str]) -> None:
    """Progress is for a terminal's stderr."""
    leader, follower = pty.openpty()
    with subprocess.Popen(
        [sys.executable, "-m", "omniagents", "state", "check", "alice", "--json"],
        stdout=subprocess.PIPE,
        stderr=follower,
        env={**os.environ, **program.environment},
    ) as process:
        out, _ = process.communicate()
    os.close(follower)
    os.close(leader)
    assert process.returncode == 0
    assert out.startswith(b'{\n  "is_whole": true')
