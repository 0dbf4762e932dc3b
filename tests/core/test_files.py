"""What the guest does to single files: nothing blocks, nothing is half written, every refusal names its path."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import hashlib
import json
import os
import stat
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from omniagents.guest import files
from omniagents.guest.context import Call, CallCancelled, Context, PathLocks
from omniagents.guest.failure import GuestFailure
from omniagents.guest.root import Root

Operation = Callable[..., Any]


@pytest.fixture
def do(workspace_root: Path) -> Operation:
    """Call an operation: ``do(files.read, path="a")``; its object and what it sent, payload last."""

    def call(operation: Operation, payload: bytes = b"", **arguments: Any) -> tuple[dict[str, Any], bytes]:
        context = Context(Root(str(workspace_root)), Call(payload))
        value, last = operation(context, arguments)
        return value, b"".join([*context.call.sent, last])

    return call


def refusal(do: Operation, operation: Operation, payload: bytes = b"", **arguments: Any) -> GuestFailure:
    with pytest.raises(GuestFailure) as raised:
        do(operation, payload, **arguments)
    return raised.value


@pytest.fixture
def special(workspace_root: Path) -> Path:
    """A workspace with one of every kind of file."""
    os.mkfifo(workspace_root / "fifo")
    (workspace_root / "directory").mkdir()
    (workspace_root / "device").symlink_to("/dev/zero")
    (workspace_root / "loop").symlink_to("loop")
    (workspace_root / "file").write_bytes(b"content")
    (workspace_root / "link").symlink_to("file")
    return workspace_root


@pytest.mark.parametrize(
    ("path", "code", "number"),
    [
        ("fifo", "NOT_A_REGULAR_FILE", errno.ENXIO),
        ("directory", "IS_A_DIRECTORY", errno.EISDIR),
        ("loop", "NOT_A_REGULAR_FILE", errno.ELOOP),
        ("missing", "FILE_NOT_FOUND", errno.ENOENT),
        ("file/below", "NOT_A_DIRECTORY", errno.ENOTDIR),
        ("device", "PATH_OUTSIDE_WORKSPACE", None),
        ("x" * 256, "INVALID_ARGUMENTS", errno.ENAMETOOLONG),
    ],
)
def test_reading_what_is_no_file_is_refused_at_once(do: Operation, special: Path, path: str, code: str, number: int):
    failure = refusal(do, files.read, path=path)
    assert (failure.code, failure.error_number, failure.path) == (code, number, path)


@pytest.mark.parametrize("path", ["fifo", "directory", "loop"])
def test_writing_over_what_is_no_file_is_refused_at_once(do: Operation, special: Path, path: str):
    before = sorted(os.listdir(special))
    assert refusal(do, files.write, b"x", path=path).path == path
    assert sorted(os.listdir(special)) == before


def test_a_device_outside_is_no_file_either(do: Operation):
    failure = refusal(do, files.read, path="/dev/zero", outside=True)
    assert str(failure) == "/dev/zero is not a regular file"


@pytest.mark.parametrize(
    ("offset", "limit", "content"),
    [(0, None, b"content"), (3, None, b"tent"), (3, 2, b"te"), (0, 0, b""), (100, 5, b""), (6, 100, b"t")],
)
def test_a_part_of_a_file_is_read(do: Operation, special: Path, offset: int, limit: int | None, content: bytes):
    assert do(files.read, path="file", offset=offset, limit=limit)[1] == content
    assert do(files.read, path="link", offset=offset, limit=limit)[1] == content


@pytest.mark.parametrize("arguments", [{"offset": -1}, {"limit": -1}])
def test_a_part_that_cannot_be_is_refused(do: Operation, special: Path, arguments: dict[str, int]):
    assert refusal(do, files.read, path="file", **arguments).code == "INVALID_ARGUMENTS"


def test_an_entry_is_described_whatever_it_is(do: Operation, special: Path):
    entries = json.loads(do(files.list_entries, path=".")[1])
    assert [entry[:2] for entry in entries] == [
        ["device", "link"],
        ["directory", "directory"],
        ["fifo", "other"],
        ["file", "file"],
        ["link", "link"],
        ["loop", "link"],
    ]
    assert {entry[0]: entry[7] for entry in entries if entry[7]} == {
        "device": "/dev/zero",
        "link": "file",
        "loop": "loop",
    }


def test_a_link_is_described_itself_if_asked(do: Operation, special: Path):
    assert do(files.stat_, path="link")[0]["info"][:2] == ["file", "file"]
    assert do(files.stat_, path="link", follow=False)[0]["info"][:2] == ["link", "link"]


@pytest.mark.parametrize(
    ("path", "there"),
    [("link", True), ("fifo", True), (".", True), ("missing", False), ("file/below", False), ("loop", False)],
)
def test_whether_something_exists_is_always_answered_inside_the_workspace(
    do: Operation, special: Path, path: str, there: bool
):
    assert do(files.exists, path=path)[0] == {"exists": there}


def sha(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def test_of_writers_that_compare_and_swap_none_is_lost(workspace_root: Path):
    (workspace_root / "count").write_text("0")
    root, locks = Root(str(workspace_root)), PathLocks()

    def increment(times: int) -> None:
        for _ in range(times):
            while True:
                old = (workspace_root / "count").read_bytes()
                context = Context(root, Call(b"%d" % (int(old) + 1)), locks)
                with contextlib.suppress(GuestFailure):  # somebody else was quicker
                    files.write(context, {"path": "count", "expected": sha(old)})
                    break

    threads = [threading.Thread(target=increment, args=(20,)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert (workspace_root / "count").read_text() == "80"


def test_a_write_that_expects_something_else_changes_nothing(do: Operation, special: Path):
    for path, expected in (("file", sha(b"other")), ("file", "absent"), ("new", sha(b""))):
        assert refusal(do, files.write, b"x", path=path, expected=expected).code == "WRITE_CONFLICT"
    assert (special / "file").read_bytes() == b"content"
    assert not (special / "new").exists()


def test_a_write_whose_input_is_cancelled_leaves_the_old_file_and_nothing_beside_it(special: Path):
    class Cancelled(Call):
        def receive(self) -> bytes:
            if not self.sent:
                self.sent.append(b"once")
                return b"half"
            raise CallCancelled

    before = sorted(os.listdir(special))
    for path in ("file", "new/deep/file"):
        with pytest.raises(CallCancelled):
            files.write(Context(Root(str(special)), Cancelled()), {"path": path})
    assert sorted(os.listdir(special)) == before
    assert (special / "file").read_bytes() == b"content"


def test_a_file_without_write_permission_is_not_written_even_by_root(do: Operation, special: Path):
    (special / "file").chmod(0o444)
    failure = refusal(do, files.write, b"x", path="file")
    assert (failure.code, failure.error_number) == ("PERMISSION_DENIED", errno.EACCES)
    assert (special / "file").read_bytes() == b"content"


def test_what_is_moved_replaces_files_and_makes_directories(do: Operation, special: Path):
    do(files.move, path="file", to="new/place/file")
    assert (special / "new/place/file").read_bytes() == b"content"
    do(files.move, path="loop", to="directory/loop")
    assert os.readlink(special / "directory" / "loop") == "loop"
    assert refusal(do, files.move, path="missing", to="x").path == "missing"
    assert refusal(do, files.move, path="directory", to="directory/inside").code == "INVALID_ARGUMENTS"
    for path in (".", "/workspace", "directory/.."):
        assert refusal(do, files.move, path=path, to="x").code == "INVALID_ARGUMENTS"
    assert refusal(do, files.move, path="new", to="../out").code == "PATH_OUTSIDE_WORKSPACE"


def test_links_are_removed_and_not_what_they_lead_to(do: Operation, special: Path, tmp_path: Path):
    (tmp_path / "precious").mkdir()
    (tmp_path / "precious" / "file").write_text("x")
    (special / "out").symlink_to(tmp_path / "precious")
    (special / "directory" / "out").symlink_to(tmp_path / "precious")
    assert do(files.remove, paths=["out", "directory", "loop", "fifo"])[0] == {"removed": 4}
    assert (tmp_path / "precious" / "file").exists()
    assert refusal(do, files.remove, paths=["file", "missing"]).path == "missing"
    assert do(files.remove, paths=["missing"], missing_ok=True)[0] == {"removed": 0}
    for path in (".", "/workspace/", "directory/.."):
        assert refusal(do, files.remove, paths=[path]).code == "INVALID_ARGUMENTS"


def test_a_directory_is_made_once_and_never_over_a_file(do: Operation, special: Path):
    assert do(files.make_dir, path="a/b/c")[0]["info"][:2] == ["a/b/c", "directory"]
    do(files.make_dir, path="a/b/c")
    assert refusal(do, files.make_dir, path="file").code == "FILE_EXISTS"
    assert refusal(do, files.make_dir, path="file/below").code == "NOT_A_DIRECTORY"


@pytest.fixture
def small_disk(workspace_root: Path) -> Iterator[Path]:
    """A disk of 1 MiB in the workspace; needs root."""
    place = workspace_root / "disk"
    place.mkdir()
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.mount(b"tmpfs", os.fsencode(place), b"tmpfs", 0, b"size=1m"):
        pytest.skip(f"a small file system cannot be mounted here: {os.strerror(ctypes.get_errno())}")
    try:
        yield place
    finally:
        libc.umount2(os.fsencode(place), 2)  # MNT_DETACH


@pytest.mark.platform
def test_a_full_disk_leaves_the_old_file_and_says_so(do: Operation, small_disk: Path):
    (small_disk / "file").write_bytes(b"old")
    for path in ("disk/file", "disk/new/file"):
        failure = refusal(do, files.write, bytes(2 << 20), path=path)
        assert (failure.code, failure.error_number, failure.path) == ("NO_SPACE", errno.ENOSPC, path)
    assert (small_disk / "file").read_bytes() == b"old"
    assert os.listdir(small_disk) == ["file"]


@pytest.mark.platform
def test_a_file_system_in_the_workspace_is_not_removed(do: Operation, small_disk: Path):
    assert refusal(do, files.remove, paths=["disk"]).error_number in (errno.EBUSY, errno.EXDEV)


@pytest.mark.platform
@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
def test_permissions_bind_a_guest_that_is_not_root(do: Operation, special: Path):
    (special / "directory" / "secret").write_text("x")
    (special / "directory").chmod(0o700)
    (special / "file").chmod(0o600)
    special.chmod(0o755)
    for parent in special.parents:
        if not parent.stat().st_mode & stat.S_IXOTH:
            parent.chmod(parent.stat().st_mode | stat.S_IXOTH)
    codes: dict[str, Any] = {}
    os.seteuid(65534)
    try:
        codes["read"] = refusal(do, files.read, path="file").code
        codes["write"] = refusal(do, files.write, b"x", path="file").code
        codes["new"] = refusal(do, files.write, b"x", path="new").code
        codes["stat"] = refusal(do, files.stat_, path="directory/secret").code
        codes["list"] = refusal(do, files.list_entries, path="directory").code
        codes["remove"] = refusal(do, files.remove, paths=["file"]).code
        codes["make_dir"] = refusal(do, files.make_dir, path="new").code
        codes["move"] = refusal(do, files.move, path="file", to="moved").code
    finally:
        os.seteuid(0)
    assert set(codes.values()) == {"PERMISSION_DENIED"}
