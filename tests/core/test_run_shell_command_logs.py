"""Bounded keeping of output in the guest, and its logs."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from omniagents.guest import spool as spools
from omniagents.guest.root import Root
from omniagents.guest.spool import Log, Spool

LOGS = ".omniagents/logs"


def kept(spool: Spool) -> bytes:
    return b"".join(spool.read())


def begun(root: Path) -> Log:
    log = Log(Root(str(root)))
    log.begin()
    return log


def written(root: Path, log: Log) -> bytes:
    assert log.path is not None
    return (root / log.path).read_bytes()


@given(st.lists(st.binary(max_size=40)), st.integers(2, 60))
def test_a_spool_keeps_the_first_fifth_and_the_last_four_fifths(pieces: list[bytes], limit: int) -> None:
    spool, whole = Spool(limit), b"".join(pieces)
    for piece in pieces:
        spool.write(piece)
    head = limit // 5
    if len(whole) <= limit:
        assert (kept(spool), spool.head, spool.is_truncated) == (whole, len(whole), False)
    else:
        assert kept(spool) == whole[:head] + whole[len(whole) - (limit - head) :]
        assert (spool.head, spool.is_truncated) == (head, True)
    assert (spool.total, spool.kept, spool.newlines) == (len(whole), len(kept(spool)), whole.count(b"\n"))


def test_a_large_spool_lies_on_disk_and_reads_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spools, "_MEMORY_BYTES", 100)
    spool = Spool(1000)
    data = os.urandom(5000)
    for start in range(0, 5000, 7):
        spool.write(data[start : start + 7])
    assert kept(spool) == data[:200] + data[-800:]
    assert spool.newlines == data.count(b"\n")
    spool.close()


def test_a_spool_on_a_full_disk_goes_on_in_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spools, "_MEMORY_BYTES", 100)

    class FullDisk:
        def __init__(self, **options: Any) -> None:
            self._pieces = b""

        def seek(self, place: int) -> None:
            pass

        def write(self, data: bytes) -> int:
            raise OSError(28, "No space left on device")

        def read(self, size: int) -> bytes:
            return b""

        def close(self) -> None:
            pass

    monkeypatch.setattr("tempfile.TemporaryFile", FullDisk)
    spool = Spool(1000)
    spool.write(b"a" * 90)
    spool.write(b"b" * 500)
    assert (spool.total, spool.kept) == (590, 100)
    assert kept(spool)[-80:] == b"b" * 80


def test_a_log_holds_what_was_written_with_nul_made_readable(tmp_path: Path) -> None:
    log = begun(tmp_path)
    log.write(b"a\0b")
    log.write(b"c\n")
    assert written(tmp_path, log) == "a\ufffdbc\n".encode()
    assert log.taken == 5


def test_a_log_is_only_its_users(tmp_path: Path) -> None:
    log = begun(tmp_path)
    assert log.path is not None
    assert (tmp_path / log.path).stat().st_mode & 0o777 == 0o600


def test_a_log_ends_at_its_limit_and_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spools, "MAX_LOG_BYTES", 20)
    log = begun(tmp_path)
    for _ in range(10):
        log.write(b"1234567\n")
    assert written(tmp_path, log) == b"1234567\n1234567\n1234\n[log ends here: 20 bytes is the most one log holds]\n"
    assert log.taken == 20


def test_the_oldest_logs_make_room_for_a_new_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spools, "MAX_LOGS_BYTES", 100)
    monkeypatch.setattr(spools, "_LOG_PART_BYTES", 30)
    (tmp_path / LOGS).mkdir(parents=True)
    for age, name in enumerate(("new", "middle", "old")):
        (tmp_path / LOGS / name).write_bytes(bytes(30))
        os.utime(tmp_path / LOGS / name, (1000 - age, 1000 - age))
    begun(tmp_path)
    assert {path.name for path in (tmp_path / LOGS).iterdir()} > {"new", "middle"}
    assert not (tmp_path / LOGS / "old").exists()


def test_a_growing_log_makes_room_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spools, "MAX_LOGS_BYTES", 100)
    monkeypatch.setattr(spools, "_LOG_PART_BYTES", 30)
    first, second = begun(tmp_path), begun(tmp_path)
    for _ in range(20):
        first.write(b"x" * 10)
        second.write(b"y" * 10)
    assert sum(path.stat().st_size for path in (tmp_path / LOGS).iterdir()) <= 100


def test_the_number_of_logs_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spools, "MAX_LOGS", 3)
    for _ in range(5):
        begun(tmp_path)
    assert len(list((tmp_path / LOGS).iterdir())) == 3


def test_what_is_not_a_log_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spools, "MAX_LOGS", 1)
    (tmp_path / LOGS / "directory").mkdir(parents=True)
    (tmp_path / LOGS / "link").symlink_to("/etc/passwd")
    assert begun(tmp_path).path is not None
    assert len(list((tmp_path / LOGS).iterdir())) == 3


@pytest.mark.parametrize("place", [".omniagents", LOGS])
def test_no_log_is_written_through_a_link(tmp_path: Path, place: str) -> None:
    elsewhere, workspace = tmp_path / "elsewhere", tmp_path / "workspace"
    elsewhere.mkdir()
    (workspace / place).parent.mkdir(parents=True)
    (workspace / place).symlink_to(elsewhere)
    log = begun(workspace)
    log.write(b"data")
    assert (log.path, log.taken, list(elsewhere.iterdir())) == (None, 0, [])


def test_a_workspace_that_takes_no_log_has_none(tmp_path: Path) -> None:
    (tmp_path / ".omniagents").write_text("a file")
    log = begun(tmp_path)
    log.write(b"data")
    assert (log.path, log.taken, log.has_begun) == (None, 0, True)
