"""Paths are resolved as the operating system does, and never out of the workspace."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from omniagents.guest.failure import GuestFailure
from omniagents.guest.root import Root, display


@pytest.fixture
def root(tmp_path: Path) -> Root:
    workspace = tmp_path / "workspace"
    (workspace / "a" / "b").mkdir(parents=True)
    (workspace / "a" / "file").write_text("x")
    return Root(str(workspace))


def place(root: Root, *parts: str) -> str:
    return "/".join([root.path, *parts])


segments = st.sampled_from(["a", "b", "..", ".", "", "link1", "link2", "link3", "missing", "file", "é", " "])
paths = st.lists(segments, min_size=1, max_size=8).map("/".join)
targets = st.lists(st.sampled_from(["a", "b", "..", ".", "link1", "link2", "missing"]), min_size=1, max_size=4)


@settings(max_examples=150)
@given(links=st.lists(targets.map("/".join), min_size=3, max_size=3), path=paths, is_absolute=st.booleans())
def test_a_path_resolves_to_what_realpath_says_or_is_refused(links: list[str], path: str, is_absolute: bool):
    with tempfile.TemporaryDirectory() as parent:
        workspace = Path(os.path.realpath(parent), "workspace")
        (workspace / "a" / "b").mkdir(parents=True)
        (workspace / "a" / "file").write_text("x")
        for number, target in enumerate(links):
            directory = workspace / ("a" if number == 2 else ".")
            (directory / f"link{number + 1}").symlink_to(target)
        root = Root(str(workspace))
        named = f"{workspace}/{path}" if is_absolute else path
        expected = os.path.realpath(os.path.join(workspace, named))
        try:
            resolved = root.resolve(named)
        except GuestFailure as failure:
            # A loop, a file as directory, or a way out, of which realpath goes on without a word.
            if failure.code == "PATH_OUTSIDE_WORKSPACE":
                assert not is_inside(expected, str(workspace))
            return
        assert resolved == expected
        assert is_inside(resolved, str(workspace))


def is_inside(path: str, directory: str) -> bool:
    return os.path.commonpath([path, directory]) == directory


@pytest.mark.parametrize("path", ["a/b", "./a//b/", "a/b/../b", "missing/../a/b", "/workspace/a/b", "/workspace//a/b"])
def test_one_place_has_many_names(root: Root, path: str):
    assert root.resolve(path) == place(root, "a", "b")
    assert root.resolve(place(root, path.replace("/workspace/", ""))) == place(root, "a", "b")


@pytest.mark.parametrize("path", [".", "", "/workspace", "/workspace/", "a/..", "a/b/../..", "./."])
def test_the_workspace_itself_has_many_names(root: Root, path: str):
    assert root.resolve(path) == root.path
    assert root.relative(root.path) == "."


@pytest.mark.parametrize(
    "path",
    [
        "..",
        "../workspace2",
        "a/../..",
        "/",
        "/etc/passwd",
        "/workspace/../etc/passwd",
        "/workspace2/x",
        "missing/../../x",
    ],
)
def test_a_way_out_is_refused(root: Root, path: str):
    os.mkdir(root.path + "2")
    with pytest.raises(GuestFailure) as refusal:
        root.resolve(path)
    assert refusal.value.code == "PATH_OUTSIDE_WORKSPACE"
    assert root.resolve(path, outside=True).startswith("/")


def test_up_through_a_link_is_up_from_where_it_leads(root: Root):
    os.symlink("a/b", place(root, "deep"))
    assert root.resolve("deep/../file") == place(root, "a", "file")
    os.symlink("/etc", place(root, "etc"))
    with pytest.raises(GuestFailure, match=r"etc/\.\./tmp is outside the workspace"):
        root.resolve("etc/../tmp")


def test_a_link_out_is_refused_at_every_depth_unless_it_is_itself_what_is_meant(root: Root):
    os.symlink("/etc", place(root, "a", "out"))
    for path in ("a/out", "a/out/passwd", "a/out/missing"):
        with pytest.raises(GuestFailure) as refusal:
            root.resolve(path)
        assert refusal.value.code == "PATH_OUTSIDE_WORKSPACE"
    assert root.resolve("a/out", follow_last=False) == place(root, "a", "out")
    with pytest.raises(GuestFailure):
        root.resolve("a/out/passwd", follow_last=False)


def test_a_dangling_link_resolves_to_where_it_leads(root: Root):
    os.symlink("a/new/file", place(root, "dangling"))
    assert root.resolve("dangling") == place(root, "a", "new", "file")


def test_a_loop_of_links_is_an_error_that_names_the_path(root: Root):
    os.symlink("two", place(root, "one"))
    os.symlink("one", place(root, "two"))
    with pytest.raises(GuestFailure) as refusal:
        root.resolve("one/x")
    assert str(refusal.value) == "one/x goes through a loop of symbolic links"
    assert root.resolve("one", follow_last=False) == place(root, "one")


def test_links_that_double_end_soon(root: Root):
    for number in range(30):
        os.symlink(f"l{number + 1}/../l{number + 1}", place(root, f"l{number}"))
    os.mkdir(place(root, "l30"))
    with pytest.raises(GuestFailure) as refusal:
        root.resolve("l0")
    assert refusal.value.code == "NOT_A_REGULAR_FILE"


@pytest.mark.parametrize("path", ["a/file/x", "a/file/..", "a/file/."])
def test_a_file_is_no_directory(root: Root, path: str):
    if path.endswith("/."):
        assert root.resolve(path) == place(root, "a", "file")
        return
    with pytest.raises(GuestFailure) as refusal:
        root.resolve(path)
    assert str(refusal.value) == f"{path}: a/file is not a directory"


@pytest.mark.parametrize("path", ["a\0b", "\0"])
def test_a_nul_is_refused(root: Root, path: str):
    with pytest.raises(GuestFailure, match="a path cannot contain a NUL character"):
        root.resolve(path)


def test_names_too_long_for_the_system_are_refused(root: Root):
    with pytest.raises(GuestFailure) as refusal:
        root.resolve("x" * 300 + "/y")
    assert refusal.value.code == "INVALID_ARGUMENTS"


def test_the_configured_name_of_a_linked_workspace_is_an_alias(tmp_path: Path):
    (tmp_path / "real").mkdir()
    (tmp_path / "configured").symlink_to("real")
    root = Root(str(tmp_path / "configured"))
    assert root.path == str(tmp_path / "real")
    assert root.resolve(str(tmp_path / "configured" / "x")) == str(tmp_path / "real" / "x")


def test_the_root_of_the_system_can_be_a_workspace():
    root = Root("/")
    assert root.resolve("etc") == os.path.realpath("/etc")
    assert root.relative("/etc") == "etc"
    assert root.relative("/") == "."


@given(name=st.text(max_size=20) | st.binary(max_size=20).map(os.fsdecode))
def test_a_displayed_name_is_one_printable_line(name: str):
    assert display(name).isprintable()
    assert "\n" not in display(name)
