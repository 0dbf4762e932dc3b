"""``move`` between two file systems of one environment."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import pytest


@pytest.fixture
def elsewhere(workspace_root: Path):
    """A directory on another file system than the workspace."""
    for place in ("/dev/shm", "/run", "/tmp"):
        if os.path.isdir(place) and os.access(place, os.W_OK) and os.stat(place).st_dev != workspace_root.stat().st_dev:
            with tempfile.TemporaryDirectory(dir=place) as directory:
                yield Path(directory)
            return
    pytest.skip("no second file system: mount -t tmpfs none /dev/shm")


def move(backend, source: Path, target: Path) -> None:
    arguments = {"path": str(source), "to": str(target), "outside": True}
    backend.workspace.request("move", arguments, b"").result()


def test_a_tree_moves_to_another_file_system_as_it_is(backend, workspace_root: Path, elsewhere: Path) -> None:
    tree = workspace_root / "tree"
    (tree / "inner").mkdir(parents=True)
    (tree / "inner/run.sh").write_bytes(b"#!/bin/sh\n")
    (tree / "inner/run.sh").chmod(0o750)
    (tree / "link").symlink_to("nowhere")
    move(backend, tree, elsewhere / "moved")
    assert (elsewhere / "moved/inner/run.sh").stat().st_mode & 0o777 == 0o750
    assert os.readlink(elsewhere / "moved/link") == "nowhere"
    assert not tree.exists()


def test_a_file_that_moves_to_another_file_system_replaces_what_is_there(
    backend, workspace_root: Path, elsewhere: Path
) -> None:
    (workspace_root / "new.txt").write_bytes(b"new")
    (elsewhere / "old.txt").write_bytes(b"old")
    move(backend, workspace_root / "new.txt", elsewhere / "old.txt")
    assert [(each.name, each.read_bytes()) for each in elsewhere.iterdir()] == [("old.txt", b"new")]
