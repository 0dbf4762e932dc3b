"""When the disk is measured, and who is ended."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from omniagents_bubblewrap import disk_watch
from omniagents_bubblewrap.disk_watch import DiskWatch, TooLate, Usage, over, usage_of
from omniagents_bubblewrap.limits import Limits
from omniagents_bubblewrap.unnamed_files import bytes_without_a_name

_MIB = 1 << 20


@pytest.fixture
def watch(monkeypatch: pytest.MonkeyPatch) -> Any:
    """A watch that looks only when told, on a disk whose numbers the test sets."""
    disk: dict[str, Any] = {"free": (100 * _MIB, 1000), "usage": Usage(0, 1), "measured": 0}
    told: list[str] = []

    def measure(directories: list[str], is_too_late: Callable[[], bool]) -> Usage:
        disk["measured"] += 1
        if disk.get("is_slow") and is_too_late():
            raise TooLate
        return disk["usage"]

    monkeypatch.setattr(disk_watch, "usage_of", measure)
    monkeypatch.setattr(disk_watch, "_free", lambda directory: disk["free"])
    monkeypatch.setattr(DiskWatch, "start", lambda self: None)
    limits = Limits(workspace_bytes=10 * _MIB, workspace_files=100, host_free_bytes=20 * _MIB)
    return DiskWatch(["/"], limits, told.append), disk, told


def test_nothing_is_measured_while_nothing_changes(watch: Any) -> None:
    watching, disk, _ = watch
    for _ in range(3):
        watching.look()
    assert disk["measured"] == 1


def test_more_written_than_is_left_is_measured_at_once_and_ends_who_wrote_it(watch: Any) -> None:
    watching, disk, told = watch
    watching.look()
    disk.update(free=(88 * _MIB, 1000), usage=Usage(12 * _MIB, 1))
    watching.look()
    assert told == ["workspace and home take 12 MiB of disk and may take 10 MiB"]


def test_who_removes_what_is_too_much_is_left_to_it(watch: Any) -> None:
    watching, disk, told = watch
    disk["usage"] = Usage(12 * _MIB, 1)
    watching.look()
    disk.update(free=(101 * _MIB, 1000), usage=Usage(11 * _MIB, 1))
    watching._due = 0
    watching.look()
    assert len(told) == 1


def test_who_goes_on_writing_is_ended_again(watch: Any) -> None:
    watching, disk, told = watch
    disk["usage"] = Usage(12 * _MIB, 1)
    watching.look()
    disk.update(free=(80 * _MIB, 1000), usage=Usage(32 * _MIB, 1))
    watching.look()
    assert len(told) == 2


def test_a_full_disk_ends_who_fills_it_and_nobody_else(watch: Any) -> None:
    watching, disk, told = watch
    watching.look()
    disk.update(free=(5 * _MIB, 1000), usage=Usage(0, 1))
    watching.look()
    assert told == []
    disk.update(free=(2 * _MIB, 1000), usage=Usage(3 * _MIB, 1))
    watching.look()
    assert told == ["the disk is almost full (2 MiB left) and this environment was filling it"]


# Whoever makes measuring slow, with busy loops and deep trees, must not gain time to fill the disk.
def test_who_cannot_be_measured_while_the_disk_fills_is_ended(watch: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    watching, disk, told = watch
    disk.update(free=(5 * _MIB, 1000), is_slow=True)
    watching.look()
    assert told == []
    monkeypatch.setattr(disk_watch, "_MOST_SECONDS_ON_A_FULL_DISK", -1.0)
    disk["free"] = (4 * _MIB, 1000)
    watching.look()
    assert told == ["workspace and home cannot be measured in time"]


def test_measuring_that_takes_too_long_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "nice").write_text("#!/bin/sh\nexec sleep 300\n")
    (tmp_path / "nice").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    with pytest.raises(TooLate):
        usage_of([str(tmp_path)], lambda: True)


# Who may write in a directory and not list it, hides what it writes there from another process of the same user.
def test_a_directory_that_may_not_be_listed_is_measured_all_the_same(works: None) -> None:
    program = """
import os, sys
from omniagents_bubblewrap.disk_watch import usage_of
usage_of(["/dev/null"])  # imports everything while it can be read
if os.geteuid() == 0:
    os.chown(sys.argv[1], 65534, 65534); os.setgroups([]); os.setgid(65534); os.setuid(65534)
hidden = sys.argv[1] + "/hidden"
os.mkdir(hidden); open(hidden + "/file", "wb").write(bytes(1 << 20)); os.chmod(hidden, 0o300)
print(usage_of([sys.argv[1]]).files)
os.chmod(hidden, 0o700)
"""
    with tempfile.TemporaryDirectory(dir="/tmp") as directory:  # not below a directory that is root's alone
        command = [sys.executable, "-c", program, directory]
        result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (result.stdout, result.stderr) == ("3\n", "")


def test_blocks_are_counted_not_sizes_and_links_are_not_followed(tmp_path: Path) -> None:
    with (tmp_path / "sparse").open("wb") as file:
        file.truncate(1 << 40)
    (tmp_path / "link").symlink_to("/usr")
    usage = usage_of([str(tmp_path)])
    assert usage.bytes < _MIB
    assert usage.files == 3


def test_a_file_without_a_name_counts_once_however_often_it_is_open(tmp_path: Path) -> None:
    paths = [tmp_path / "named", tmp_path / "removed"]
    with contextlib.ExitStack() as opened:
        for path in paths * 2:
            opened.enter_context(path.open("ab")).write(bytes(_MIB))
        device = tmp_path.stat().st_dev
        paths[1].unlink()
        assert bytes_without_a_name([os.getpid()], {device}, lambda: None) == 2 * _MIB
        assert bytes_without_a_name([os.getpid()], {device + 1}, lambda: None) == 0


def test_looking_for_open_files_is_given_up_when_it_takes_too_long() -> None:
    def give_up() -> None:
        raise TooLate

    with pytest.raises(TooLate):
        bytes_without_a_name([os.getpid()], set(), give_up)


def test_a_directory_that_is_gone_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        usage_of([str(tmp_path / "gone")])


def test_what_is_within_its_limits_is_not_over_them() -> None:
    assert over(Usage(5, 5), Limits(workspace_bytes=5, workspace_files=5)) == ""
    assert over(Usage(5, 6), Limits(workspace_files=5)) == "workspace and home hold 6 files and may hold 5"
    assert over(Usage(1 << 60, 1 << 60), Limits(workspace_bytes=None, workspace_files=None)) == ""
