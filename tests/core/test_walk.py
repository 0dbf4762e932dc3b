"""Walking trees: order, links, depth, unreadable directories, and the operation ``scan``."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from omniagents.guest import scanning
from omniagents.guest.context import Call, CallCancelled, Context
from omniagents.guest.failure import GuestFailure
from omniagents.guest.long_paths import open_path
from omniagents.guest.root import Root
from omniagents.guest.scanning import scan
from omniagents.guest.walk import Entry, Skipped, iter_files
from omniagents.records import FileInfo


def scanned(root: Path, **arguments) -> tuple[list[FileInfo], dict]:
    context = Context(Root(str(root)))
    value, _ = scan(context, arguments)
    lines = [json.loads(line) for piece in context.call.sent for line in piece.splitlines()]
    left_out = [pair for line in lines if isinstance(line, dict) for pair in line["left_out"]]
    entries = [FileInfo(*entry) for line in lines if isinstance(line, list) for entry in line]
    return entries, {**json.loads(json.dumps(value)), "left_out": left_out}


def paths(root: Path, **arguments) -> list[str]:
    return [info.path for info in scanned(root, **arguments)[0]]


def make(root: Path, *names: str) -> None:
    for name in names:
        target = root / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.touch()


@pytest.fixture
def make_deep(tmp_path):
    """Create a chain of directories that no system call could name at once, and a file at its end."""
    script = (
        "import os, sys\nos.chdir(sys.argv[1])\n"
        "for _ in range(int(sys.argv[2])):\n    os.mkdir(sys.argv[3])\n    os.chdir(sys.argv[3])\n"
        "open('end', 'w').write('needle')\nos.symlink('end', 'link')\n"
    )

    def create(depth: int, name: str) -> Path:
        root = tmp_path / "deep"
        root.mkdir()
        subprocess.run([sys.executable, "-c", script, str(root), str(depth), name], check=True)
        return root

    yield create
    # pytest's own clean-up recurses, and gives up.
    subprocess.run(["rm", "-rf", str(tmp_path / "deep")], check=True)


def test_scan_states_what_lstat_says(workspace_root):
    (workspace_root / "d").mkdir(mode=0o750)
    (workspace_root / "d/f").write_bytes(b"abc")
    (workspace_root / "d/f").chmod(0o640)
    (workspace_root / "l").symlink_to("nowhere")
    os.mkfifo(workspace_root / "p")
    infos, value = scanned(workspace_root)
    assert [(info.path, info.kind, info.target) for info in infos] == [
        ("d", "directory", None), ("d/f", "file", None), ("l", "link", "nowhere"), ("p", "other", None),
    ]  # fmt: skip
    status = os.lstat(workspace_root / "d/f")
    assert infos[1] == FileInfo("d/f", "file", 3, 0o640, status.st_mtime_ns, status.st_ctime_ns, status.st_ino, None)
    assert (value["left_out"], value["left_out_total"]) == ([], 0)
    assert abs(time.time_ns() - value["started_ns"]) < 60 * 10**9


NAMES = st.sampled_from(["a", "a-", "a b", "a0", "b", "é", "\U0001f600", "\udcff", ".a", "a.b", "a\nb"])


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(st.lists(NAMES, min_size=1, max_size=4).map("/".join), max_size=15))
def test_the_order_is_that_of_the_whole_paths_by_code_point(names):
    with tempfile.TemporaryDirectory() as directory:
        expected = set()
        for name in names:
            Path(directory, name).mkdir(parents=True, exist_ok=True)
            expected |= {str(parent) for parent in (Path(name), *Path(name).parents)} - {"."}
        assert paths(Path(directory)) == sorted(expected)


def test_scan_of_a_sub_directory_names_paths_from_the_workspace(workspace_root):
    make(workspace_root, "a/b/c", "d")
    assert paths(workspace_root, path="a") == ["a/b", "a/b/c"]


def test_scan_leaves_out_patterns_and_says_which(workspace_root):
    make(workspace_root, "a.log", "b/c.log", "node_modules/x/y", "keep.log", "z", ".git/config")
    (workspace_root / ".myignore").write_text("z\n!keep.log\n")
    infos, value = scanned(workspace_root, exclude=["*.log", "node_modules/"], exclude_file=".myignore")
    assert [info.path for info in infos] == [".git", ".git/config", ".myignore", "b", "keep.log"]
    assert sorted(value["left_out"]) == [
        ["a.log", "*.log"], ["b/c.log", "*.log"], ["node_modules", "node_modules/"], ["z", "z"],
    ]  # fmt: skip
    assert value["left_out_total"] == 4


def test_scan_anchors_patterns_at_the_scanned_directory(workspace_root):
    make(workspace_root, "s/x", "s/t/x")
    assert paths(workspace_root, path="s", exclude=["/x"]) == ["s/t", "s/t/x"]


def test_scan_does_not_mind_a_missing_exclude_file_and_never_reads_gitignore(workspace_root):
    make(workspace_root, "a")
    (workspace_root / ".gitignore").write_text("a\n")
    assert paths(workspace_root, exclude_file=".nothing") == [".gitignore", "a"]


def test_scan_leaves_out_omniagents_own_logs_without_a_word(workspace_root):
    make(workspace_root, ".omniagents/logs/x", ".omniagents/memory.json", "a/.omniagents/logs/y")
    infos, value = scanned(workspace_root)
    assert [info.path for info in infos] == [
        ".omniagents", ".omniagents/memory.json", "a", "a/.omniagents", "a/.omniagents/logs", "a/.omniagents/logs/y",
    ]  # fmt: skip
    assert value["left_out_total"] == 0


def test_scan_streams_batches_of_a_thousand(workspace_root):
    make(workspace_root, *(f"f{number:04}" for number in range(2500)))
    context = Context(Root(str(workspace_root)))
    scan(context, {})
    assert [len(json.loads(piece)) for piece in context.call.sent] == [1000, 1000, 500]


def test_scan_streams_fewer_at_once_where_paths_are_long(workspace_root, monkeypatch):
    monkeypatch.setattr(scanning, "_BATCH_NAMES_BYTES", 20)
    make(workspace_root, *(f"f{number:04}" for number in range(6)), *(f"g{number:08}" for number in range(5)))
    context = Context(Root(str(workspace_root)))
    scan(context, {"exclude": ["g*"]})
    lines = [json.loads(piece) for piece in context.call.sent]
    assert [len(line if isinstance(line, list) else line["left_out"]) for line in lines] == [4, 2, 3, 2]


def test_scan_bounds_the_list_of_what_it_leaves_out(workspace_root, monkeypatch):
    monkeypatch.setattr(scanning, "_MAX_LEFT_OUT", 3)
    make(workspace_root, *(f"f{number}" for number in range(5)))
    _, value = scanned(workspace_root, exclude=["f*"])
    assert (len(value["left_out"]), value["left_out_total"]) == (3, 5)


def test_an_unreadable_directory_is_reported_and_the_rest_goes_on(workspace_root, monkeypatch):
    make(workspace_root, "a/x", "b/y")
    real = os.scandir

    def refuse(path):
        if str(path).rstrip("/").endswith("/a"):
            raise PermissionError(13, "Permission denied", path)
        return real(path)

    monkeypatch.setattr(os, "scandir", refuse)
    infos, value = scanned(workspace_root)
    assert [info.path for info in infos] == ["a", "b", "b/y"]
    assert value["left_out"] == [["a", "unreadable"]]
    skipped = Skipped()
    assert list(iter_files(Root(str(workspace_root)), str(workspace_root), ignore=True, skipped=skipped)) == [
        Entry("b/y", "file")
    ]
    assert skipped.as_json() == {"unreadable": {"count": 1, "names": ["a/"]}}


def test_what_vanishes_during_the_scan_is_not_an_error(workspace_root, monkeypatch):
    make(workspace_root, "a", "b")
    real = os.lstat

    def vanish(path, **options):
        if str(path).endswith("/a"):
            raise FileNotFoundError(2, "No such file or directory", path)
        return real(path, **options)

    monkeypatch.setattr(os, "lstat", vanish)
    infos, value = scanned(workspace_root)
    assert ([info.path for info in infos], value["left_out_total"]) == (["b"], 0)


def test_links_are_never_followed(workspace_root, tmp_path):
    make(tmp_path, "outside/secret")
    (workspace_root / "out").symlink_to(tmp_path / "outside")
    (workspace_root / "loop").symlink_to(".")
    assert paths(workspace_root) == ["loop", "out"]
    skipped = Skipped()
    assert not list(iter_files(Root(str(workspace_root)), str(workspace_root), ignore=False, skipped=skipped))
    assert skipped.as_json() == {"links to directories": {"count": 2, "names": ["loop", "out"]}}


def test_trees_deeper_than_a_path_may_be_long_are_walked(make_deep):
    root = make_deep(60, "d" * 100)
    infos, _ = scanned(root)
    directory = "/".join(["d" * 100] * 60)
    assert len(infos) == 62
    assert [(info.path, info.kind, info.size, info.target) for info in infos[-2:]] == [
        (directory + "/end", "file", 6, None),
        (directory + "/link", "link", 3, "end"),
    ]
    descriptor = open_path(f"{root}/{directory}/end", os.O_RDONLY)
    assert os.read(descriptor, 10) == b"needle"
    os.close(descriptor)


def test_trees_deeper_than_python_may_recurse_are_walked(make_deep):
    root = make_deep(3000, "d")
    assert len(paths(root)) == 3002
    files = list(iter_files(Root(str(root)), str(root), ignore=True))
    assert [(len(entry.path), entry.kind) for entry in files] == [(6003, "file"), (6004, "link")]


def test_more_patterns_of_the_caller_come_before_gitignore(workspace_root):
    make(workspace_root, "a", "b", "c")
    (workspace_root / ".gitignore").write_text("b\n.gitignore\n")
    entries = iter_files(Root(str(workspace_root)), str(workspace_root), ignore=True, extra_exclude=["/a", "!b"])
    assert [entry.path for entry in entries] == ["b", "c"]


@pytest.mark.parametrize(
    ("path", "code", "message"),
    [
        (
            "nothing",
            "FILE_NOT_FOUND",
            "there is no directory nothing; list_directory with path '.' shows what there is.",
        ),
        ("fil", "FILE_NOT_FOUND", "there is no directory fil; did you mean 'file'?"),
        ("file", "NOT_A_DIRECTORY", "file is a file, not a directory; name a directory, such as '.'."),
        (
            "../x",
            "PATH_OUTSIDE_WORKSPACE",
            "../x is outside the workspace; use a path relative to the workspace, such as 'x'",
        ),
    ],
)
def test_a_directory_that_cannot_be_scanned_is_refused_with_the_cure(workspace_root, path, code, message):
    make(workspace_root, "file")
    with pytest.raises(GuestFailure) as caught:
        scanned(workspace_root, path=path)
    assert (caught.value.code, caught.value.message) == (code, message)


def test_a_cancelled_scan_stops(workspace_root):
    make(workspace_root, "a/b")
    call = Call()
    call.cancelled.set()
    with pytest.raises(CallCancelled):
        scan(Context(Root(str(workspace_root)), call), {})
