"""Removing trees that a hostile program made to be hard to remove."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from omniagents.guest.removal import remove_tree


def test_a_tree_deeper_than_the_longest_path_is_removed(tmp_path: Path) -> None:
    top = tmp_path / "deep"
    top.mkdir()
    descriptor = os.open(top, os.O_RDONLY)
    for _ in range(3000):
        os.mkdir("d" * 50, dir_fd=descriptor)
        inner = os.open("d" * 50, os.O_RDONLY, dir_fd=descriptor)
        os.close(descriptor)
        descriptor = inner
    os.close(descriptor)

    remove_tree(str(top))

    assert not top.exists()


def test_links_are_removed_and_what_they_point_to_stays(tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    (kept / "inner").mkdir(parents=True)
    (kept / "inner" / "file").write_bytes(b"x")
    top = tmp_path / "top"
    top.mkdir()
    (top / "to-directory").symlink_to(kept)
    (top / "dangling").symlink_to("nowhere")

    remove_tree(str(top))

    assert not top.exists()
    assert (kept / "inner" / "file").read_bytes() == b"x"


def test_a_link_itself_is_removed(tmp_path: Path) -> None:
    (tmp_path / "target").mkdir()
    (tmp_path / "link").symlink_to("target")

    remove_tree(str(tmp_path / "link"))

    assert os.listdir(tmp_path) == ["target"]


def test_a_directory_that_becomes_a_link_meanwhile_leads_nowhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "kept").mkdir(mode=0o500)
    inner = tmp_path / "top" / "inner"
    inner.mkdir(parents=True)
    scandir = os.scandir

    @contextlib.contextmanager
    def slow_scandir(directory: int) -> Iterator[list[os.DirEntry[str]]]:
        with scandir(directory) as entries:
            listed = [entry for entry in entries if entry.is_dir(follow_symlinks=False)]
        inner.rmdir()
        inner.symlink_to(tmp_path / "kept")
        yield listed

    monkeypatch.setattr(os, "scandir", slow_scandir)
    with pytest.raises(NotADirectoryError):
        remove_tree(str(tmp_path / "top"))
    assert (tmp_path / "kept").stat().st_mode & 0o777 == 0o500


@pytest.mark.platform
@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody whom permissions bind")
def test_read_only_directories_are_removed_by_their_owner(tmp_path: Path) -> None:
    top = tmp_path / "top"
    (top / "a" / "b").mkdir(parents=True)
    (top / "a" / "b" / "file").write_bytes(b"x")
    for path in (top / "a" / "b" / "file", top / "a" / "b", top / "a", top, tmp_path):
        os.chown(path, 65534, 65534)
    for path in (top / "a" / "b", top / "a", top):
        path.chmod(0o500 if path != top / "a" / "b" else 0)
    for parent in tmp_path.parents:
        if parent != Path("/"):
            parent.chmod(parent.stat().st_mode | 0o011)

    child = os.fork()
    if not child:
        with contextlib.suppress(BaseException):
            os.setgid(65534)
            os.setuid(65534)
            remove_tree(str(top))
            os._exit(0)
        os._exit(1)

    assert os.waitpid(child, 0)[1] == 0
    assert not top.exists()


def test_a_missing_path_is_the_builtin_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        remove_tree(str(tmp_path / "nothing"))
