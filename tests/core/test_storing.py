"""The atomic write every change of a file goes through, and what it does when the system says no."""

from __future__ import annotations

import errno
import hashlib
import os
import pickle
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from omniagents.guest import storing
from omniagents.guest.failure import GuestFailure
from omniagents.guest.storing import ABSENT, digest, read_stored, store


def refusal(action: Callable[[], object]) -> GuestFailure:
    with pytest.raises(GuestFailure) as caught:
        action()
    return caught.value


def in_child(action: Callable[[], Any], *, unprivileged: bool = False) -> Any:
    """What ``action`` returns in a forked child, where it may drop privileges or set limits; refusals as their code."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            if unprivileged and os.geteuid() == 0:
                os.setgroups([])
                os.setgid(65534)
                os.setuid(65534)
            try:
                answer = action()
            except GuestFailure as failure:
                answer = failure.code
            os.write(writing, pickle.dumps(answer))
        finally:
            os._exit(0)
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        answer = pipe.read()
    os.waitpid(child, 0)
    return pickle.loads(answer)


@pytest.fixture
def shared_directory() -> Iterator[Path]:
    """A directory every user can reach and write to, unlike pytest's own."""
    path = Path(tempfile.mkdtemp())
    path.chmod(0o777)
    yield path
    shutil.rmtree(path)


def test_a_new_file_has_the_content_and_the_mode_the_umask_leaves(tmp_path: Path) -> None:
    target = tmp_path / "a" / "b" / "new.txt"
    old_mask = os.umask(0o027)
    try:
        status = store(str(target), b"hello")
    finally:
        os.umask(old_mask)
    assert target.read_bytes() == b"hello"
    assert status.st_size == 5
    assert target.stat().st_mode & 0o7777 == 0o640
    assert os.listdir(target.parent) == ["new.txt"]


@pytest.mark.parametrize("mode", [0o600, 0o755, 0o4755, 0o222])
def test_an_overwritten_file_keeps_its_mode(tmp_path: Path, mode: int) -> None:
    target = tmp_path / "a"
    target.write_bytes(b"old")
    target.chmod(mode)
    store(str(target), b"new")
    assert target.stat().st_mode & 0o7777 == mode


def test_a_given_mode_is_set_exactly(tmp_path: Path) -> None:
    target = tmp_path / "a"
    store(str(target), b"x", mode=0o777)
    assert target.stat().st_mode & 0o7777 == 0o777
    store(str(target), b"y", mode=0o640)
    assert target.stat().st_mode & 0o7777 == 0o640


def test_content_may_come_in_pieces(tmp_path: Path) -> None:
    store(str(tmp_path / "a"), (b"%d," % number for number in range(1000)))
    assert (tmp_path / "a").read_bytes() == b"".join(b"%d," % number for number in range(1000))


def test_pieces_that_stop_coming_leave_no_trace(tmp_path: Path) -> None:
    def pieces() -> Iterator[bytes]:
        yield b"first"
        raise KeyError("no more")

    (tmp_path / "old").write_bytes(b"old")
    for target in (tmp_path / "old", tmp_path / "new" / "deep" / "file"):
        with pytest.raises(KeyError):
            store(str(target), pieces())
    assert os.listdir(tmp_path) == ["old"]
    assert (tmp_path / "old").read_bytes() == b"old"


def test_a_conditional_write_goes_through_when_the_content_is_as_expected(tmp_path: Path) -> None:
    target = tmp_path / "a"
    store(str(target), b"one", expected=ABSENT)
    store(str(target), b"two", expected=hashlib.sha256(b"one").hexdigest())
    assert target.read_bytes() == b"two"
    assert os.listdir(tmp_path) == ["a"]


def test_a_conditional_write_refuses_other_content(tmp_path: Path) -> None:
    target = tmp_path / "a"
    assert refusal(lambda: store(str(target), b"x", expected=digest(b"one"), named="a")).message == (
        "a does not exist any more; nothing was written. Read it again, then repeat the change"
    )
    target.write_bytes(b"one")
    failure = refusal(lambda: store(str(target), b"x", expected=digest(b"two"), named="a"))
    assert (failure.code, failure.message) == (
        "WRITE_CONFLICT",
        "a was changed by someone else; nothing was written. Read it again, then repeat the change",
    )
    assert refusal(lambda: store(str(target), b"x", expected=ABSENT, named="a")).code == "WRITE_CONFLICT"
    assert target.read_bytes() == b"one"
    assert os.listdir(tmp_path) == ["a"]


def test_a_file_that_appears_during_the_write_is_not_overwritten(tmp_path: Path) -> None:
    target = tmp_path / "a"

    def pieces() -> Iterator[bytes]:
        yield b"mine"
        target.write_bytes(b"theirs")

    assert refusal(lambda: store(str(target), pieces(), expected=ABSENT)).code == "WRITE_CONFLICT"
    assert target.read_bytes() == b"theirs"
    assert os.listdir(tmp_path) == ["a"]


def test_a_file_that_changes_during_the_write_is_not_overwritten(tmp_path: Path) -> None:
    target = tmp_path / "a"
    target.write_bytes(b"old")

    def pieces() -> Iterator[bytes]:
        yield b"mine"
        target.write_bytes(b"theirs, longer")

    assert refusal(lambda: store(str(target), pieces(), expected=digest(b"old"))).code == "WRITE_CONFLICT"
    assert target.read_bytes() == b"theirs, longer"


def test_where_links_are_not_supported_a_new_file_is_renamed_into_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_links(*_: object) -> None:
        raise PermissionError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "link", no_links)
    store(str(tmp_path / "a"), b"x", expected=ABSENT)
    assert (tmp_path / "a").read_bytes() == b"x"


def test_all_names_of_a_hard_linked_file_see_the_new_content(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"a longer old content")
    os.link(tmp_path / "a", tmp_path / "b")
    store(str(tmp_path / "a"), b"new")
    assert (tmp_path / "b").read_bytes() == b"new"
    assert (tmp_path / "a").stat().st_nlink == 2


def test_a_hard_linked_file_gets_its_content_back_when_the_write_fails(tmp_path: Path) -> None:
    def pieces() -> Iterator[bytes]:
        yield b"n" * 1000
        raise KeyError

    (tmp_path / "a").write_bytes(b"old")
    os.link(tmp_path / "a", tmp_path / "b")
    with pytest.raises(KeyError):
        store(str(tmp_path / "a"), pieces())
    assert (tmp_path / "b").read_bytes() == b"old"


def test_a_file_that_cannot_be_renamed_over_is_written_in_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def busy(*_: object) -> None:
        raise OSError(errno.EBUSY, "Device or resource busy")

    (tmp_path / "a").write_bytes(b"old")
    monkeypatch.setattr(os, "rename", busy)
    store(str(tmp_path / "a"), b"new", expected=digest(b"old"))
    assert (tmp_path / "a").read_bytes() == b"new"
    assert os.listdir(tmp_path) == ["a"]


def test_a_file_nobody_may_write_is_refused_even_to_root(tmp_path: Path) -> None:
    target = tmp_path / "a"
    target.write_bytes(b"old")
    target.chmod(0o444)
    failure = refusal(lambda: store(str(target), b"new", named="a"))
    assert (failure.code, failure.error_number) == ("PERMISSION_DENIED", errno.EACCES)
    assert failure.message == (
        "a: permission denied. If it is meant to be changed, use run_shell_command with `chmod u+w` first "
        "(on a new file's directory, if it is a new file)"
    )
    assert target.read_bytes() == b"old"


def test_another_users_file_without_permission_is_refused(shared_directory: Path) -> None:
    target = shared_directory / "a"
    target.write_bytes(b"old")
    target.chmod(0o644 if os.geteuid() == 0 else 0o444)
    assert in_child(lambda: store(str(target), b"new"), unprivileged=True) == "PERMISSION_DENIED"
    assert target.read_bytes() == b"old"


def test_in_a_read_only_directory_a_writable_file_is_written_and_a_new_one_refused(shared_directory: Path) -> None:
    inner = shared_directory / "inner"
    inner.mkdir()
    (inner / "a").write_bytes(b"old")
    (inner / "a").chmod(0o666)
    inner.chmod(0o555)
    assert in_child(lambda: store(str(inner / "a"), b"new").st_size, unprivileged=True) == 3
    assert in_child(lambda: store(str(inner / "b"), b"new"), unprivileged=True) == "PERMISSION_DENIED"
    assert in_child(lambda: store(str(inner / "c" / "d"), b"new"), unprivileged=True) == "PERMISSION_DENIED"
    inner.chmod(0o755)
    assert {path.name: path.read_bytes() for path in inner.iterdir()} == {"a": b"new"}


@pytest.mark.parametrize("name", ["new", "below/new"])
def test_a_new_file_in_a_directory_that_nobody_may_write_to_is_refused_to_root_as_well(
    tmp_path: Path, name: str
) -> None:
    closed = tmp_path / "closed"
    closed.mkdir()
    closed.chmod(0o555)
    failure = refusal(lambda: store(str(closed / name), b"x", named=f"closed/{name}"))
    assert (failure.code, failure.error_number) == ("PERMISSION_DENIED", errno.EACCES)
    assert os.listdir(closed) == []
    closed.chmod(0o755)
    assert store(str(closed / name), b"x").st_size == 1


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may write there")
@pytest.mark.platform
def test_outside_the_workspace_root_may_write_where_only_root_may(tmp_path: Path) -> None:
    tmp_path.chmod(0o555)
    assert store(str(tmp_path / "new"), b"x", outside=True).st_size == 1
    tmp_path.chmod(0o755)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
@pytest.mark.platform
def test_the_owner_of_a_file_stays(shared_directory: Path) -> None:
    target = shared_directory / "a"
    target.write_bytes(b"old")
    os.chown(target, 1234, 2345)
    target.chmod(0o6755)
    store(str(target), b"new")
    assert (target.stat().st_uid, target.stat().st_gid, target.stat().st_mode & 0o7777) == (1234, 2345, 0o6755)
    os.chown(target, 0, 0)
    target.chmod(0o666)
    assert in_child(lambda: store(str(target), b"newer").st_uid, unprivileged=True) == 0
    assert target.read_bytes() == b"newer"
    assert os.listdir(shared_directory) == ["a"]


def test_special_files_are_refused_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "directory").mkdir()
    (tmp_path / "link").symlink_to("elsewhere")
    (tmp_path / "file").write_bytes(b"")
    expected = {
        "fifo": ("NOT_A_REGULAR_FILE", "fifo is a FIFO, not a regular file; name another file"),
        "directory": ("IS_A_DIRECTORY", "directory is a directory; name a file inside it"),
        "link": ("NOT_A_REGULAR_FILE", "link is a symbolic link, not a regular file; name another file"),
    }
    for name, (code, message) in expected.items():
        for action in (
            lambda n=name: store(str(tmp_path / n), b"", named=n),
            lambda n=name: read_stored(str(tmp_path / n), n),
        ):
            failure = refusal(action)
            assert (failure.code, failure.message) == (code, message)
    assert refusal(lambda: store("/dev/null", b"x")).message == (
        "/dev/null is a device, not a regular file; name another file"
    )
    assert refusal(lambda: store(str(tmp_path / "file" / "below"), b"x")).code == "NOT_A_DIRECTORY"


def test_a_name_that_is_too_long_leaves_no_new_directories(tmp_path: Path) -> None:
    failure = refusal(lambda: store(str(tmp_path / "new" / ("n" * 300)), b"x", named="n" * 300))
    assert failure.code == "INVALID_ARGUMENTS"
    assert failure.message == "n" * 80 + "…: the name is too long; use at most 255 bytes a name and 4,095 a path"
    assert os.listdir(tmp_path) == []


def test_parents_are_only_made_when_wanted(tmp_path: Path) -> None:
    assert refusal(lambda: store(str(tmp_path / "a" / "b"), b"x", make_parents=False)).code == "FILE_NOT_FOUND"


def test_a_disk_that_fills_up_leaves_the_old_content(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a").write_bytes(b"old")
    real_write = os.write
    written: list[int] = []

    def write(descriptor: int, data: Any) -> int:
        if written:
            raise OSError(errno.ENOSPC, "No space left on device")
        written.append(1)
        return real_write(descriptor, bytes(data)[:10])

    monkeypatch.setattr(os, "write", write)
    failure = refusal(lambda: store(str(tmp_path / "a"), b"x" * 100, named="a"))
    assert (failure.code, failure.message) == (
        "NO_SPACE",
        "a: the disk is full; the file is untouched. Remove what is not needed, then try again",
    )
    assert (tmp_path / "a").read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["a"]


def test_a_file_size_limit_leaves_the_old_content(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"old")

    def limited() -> object:
        import resource

        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
        return store(str(tmp_path / "a"), b"x" * 5000)

    assert in_child(limited) == "FILE_TOO_LARGE"
    assert (tmp_path / "a").read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["a"]


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 64 KiB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(disk)]
    if os.geteuid() != 0 or not shutil.which("mount") or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("a file system can only be mounted by root, and not in every container")
    yield disk
    subprocess.run(["umount", str(disk)], check=True)


@pytest.mark.platform
def test_a_full_disk_leaves_files_hard_links_and_directories_as_they_were(small_disk: Path) -> None:
    (small_disk / "a").write_bytes(b"a" * 8192)
    (small_disk / "b").write_bytes(b"b" * 8192)
    os.link(small_disk / "b", small_disk / "c")
    before = sorted(os.listdir(small_disk))
    for name in ("a", "b", "new", "sub/new"):
        target = str(small_disk / name)
        assert refusal(partial(store, target, b"x" * 100_000)).code == "NO_SPACE"
    assert sorted(os.listdir(small_disk)) == before
    assert (small_disk / "a").read_bytes() == b"a" * 8192
    assert (small_disk / "c").read_bytes() == b"b" * 8192


def test_reading_states_content_and_status_and_refuses_what_is_too_large(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"12345")
    content, status = read_stored(str(tmp_path / "a"), max_bytes=5)
    assert (content, status.st_size) == (b"12345", 5)
    failure = refusal(lambda: read_stored(str(tmp_path / "a"), "a", max_bytes=4))
    assert (failure.code, failure.message) == (
        "FILE_TOO_LARGE",
        "a has 5 bytes; files up to 4 bytes can be changed here. Use run_shell_command (sed, python) instead",
    )


def test_temporary_names_are_recognisable_and_fit_beside_the_longest_name(tmp_path: Path) -> None:
    seen = []

    def pieces() -> Iterator[bytes]:
        seen.extend(os.listdir(tmp_path))
        yield b"x"

    store(str(tmp_path / ("n" * 255)), pieces())
    assert len(seen) == 1
    assert seen[0].startswith(storing.TEMPORARY_PREFIX)
    assert seen[0].endswith(storing.TEMPORARY_SUFFIX)
