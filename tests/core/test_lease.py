"""One living process holds a project, or nobody does."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from omniagents.backends.lease import Lease
from omniagents.errors import ProjectInUseError

HOLDING = """
import sys
from pathlib import Path
from omniagents.backends.lease import Lease
from omniagents.errors import ProjectInUseError
lease = Lease(Path(sys.argv[1]), "p")
sys.stdin.readline()
try:
    lease.acquire(takeover=False, owner="the other")
    print("held", flush=True)
except ProjectInUseError:
    print("refused", flush=True)
sys.stdin.readline()
"""


@contextmanager
def other_process(directory: Path) -> Iterator[subprocess.Popen[str]]:
    """A process that tries to hold the project as soon as it reads a line, then says how that went, and waits."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDING, str(directory)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def go(process: subprocess.Popen[str]) -> None:
    assert process.stdin is not None
    process.stdin.write("go\n")
    process.stdin.flush()


def answer(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def path_of(directory: Path) -> Path:
    (path,) = directory.glob("*.json")
    return path


def test_a_second_holder_is_refused_and_told_who_holds_it(tmp_path: Path):
    Lease(tmp_path, "p").acquire(takeover=False, owner="the first")
    since = json.loads(path_of(tmp_path).read_text())
    with pytest.raises(ProjectInUseError) as refusal:
        Lease(tmp_path, "p").acquire(takeover=False, owner="the second")
    assert str(refusal.value) == (
        f"project 'p' is in use by the first in process {os.getpid()} on {since['host']} since {since['since']}; "
        "shut that backend down, or start this one with takeover=True"
    )


def test_a_holder_may_acquire_again_and_others_after_release(tmp_path: Path):
    lease = Lease(tmp_path, "p")
    lease.acquire(takeover=False, owner="x")
    lease.acquire(takeover=False, owner="x")
    lease.release()
    assert not lease.is_ours()
    Lease(tmp_path, "p").acquire(takeover=False, owner="y")


def test_projects_that_differ_only_at_the_end_of_a_long_id_do_not_meet(tmp_path: Path):
    Lease(tmp_path, "x" * 199 + "a").acquire(takeover=False, owner="a")
    Lease(tmp_path, "x" * 199 + "b").acquire(takeover=False, owner="b")


def test_whoever_was_taken_over_knows_and_takes_nothing_away_from_the_new_holder(tmp_path: Path):
    first, second = Lease(tmp_path, "p"), Lease(tmp_path, "p")
    first.acquire(takeover=False, owner="first")
    assert first.is_ours()
    second.acquire(takeover=True, owner="second")
    assert not first.is_ours()
    first.release()
    assert second.is_ours()


def test_a_dead_holder_is_no_holder_even_while_its_parent_has_not_noticed(tmp_path: Path):
    with other_process(tmp_path) as process:
        go(process)
        assert answer(process) == "held"
        with pytest.raises(ProjectInUseError, match="in use by the other"):
            Lease(tmp_path, "p").acquire(takeover=False, owner="x")
        process.send_signal(signal.SIGKILL)
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)  # dead, and still a zombie
        Lease(tmp_path, "p").acquire(takeover=False, owner="x")


def test_another_process_with_the_dead_holders_pid_is_no_holder(tmp_path: Path):
    lease = Lease(tmp_path, "p")
    lease.acquire(takeover=False, owner="x")
    holder = json.loads(path_of(tmp_path).read_text())
    path_of(tmp_path).write_text(json.dumps({**holder, "start": "1"}))
    Lease(tmp_path, "p").acquire(takeover=False, owner="y")


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"\xff\xfe",
        b"[]",
        b"null",
        b"{}",
        b'{"token": "t", "pid": 1, "start": "1"}',
        b'{"token": "t", "owner": "o", "start": "1", "host": "h", "since": "s", "pid": -1}',
        b'{"token": "t", "owner": "o", "start": "1", "host": "h", "since": "s", "pid": "1"}',
        b'{"token": 1, "owner": "o", "start": "1", "host": "h", "since": "s", "pid": 1}',
        b'{"token": "t", "owner": "o", "start": "1", "host": "h", "since": "s", "pid": 99999999999999999999}',
    ],
)
def test_a_lease_file_that_makes_no_sense_holds_nothing(tmp_path: Path, content: bytes):
    Lease(tmp_path, "p").acquire(takeover=False, owner="x")
    path_of(tmp_path).write_bytes(content)
    lease = Lease(tmp_path, "p")
    assert not lease.is_ours()
    lease.acquire(takeover=False, owner="y")
    assert lease.is_ours()


def test_of_several_processes_that_race_exactly_one_wins(tmp_path: Path):
    with (
        other_process(tmp_path) as one,
        other_process(tmp_path) as two,
        other_process(tmp_path) as three,
    ):
        for process in (one, two, three):
            go(process)
        assert sorted(answer(process) for process in (one, two, three)) == ["held", "refused", "refused"]


@pytest.mark.parametrize("jump", [-(10**9), 10**9])
def test_a_clock_that_jumps_changes_no_holder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, jump: int):
    lease = Lease(tmp_path, "p")
    lease.acquire(takeover=False, owner="x")
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now + jump)
    os.utime(path_of(tmp_path), (now + jump, now + jump))
    assert lease.is_ours()
    with pytest.raises(ProjectInUseError):
        Lease(tmp_path, "p").acquire(takeover=False, owner="y")
