"""Files that a program keeps writing while they are saved, in a real environment."""

from __future__ import annotations

from itertools import groupby
from pathlib import Path

import pytest

from omniagents.backends.local_backend import LocalBackend
from omniagents_snapshot.directory import DirectoryStateManager

# Each version of the file is one byte, over and over, written front to back: at every moment the file is one version,
# or the start of one and the rest of the version before. Anything else mixes moments.
_WRITER = """
import itertools
for number in itertools.cycle(range(1, 250)):
    with open("moving", "r+b") as file:
        for _ in range(64):
            file.write(bytes([number]) * 65536)
            file.flush()
"""


@pytest.mark.slow
def test_what_is_written_without_pause_is_saved_whole_or_reported(tmp_path: Path) -> None:
    manager = DirectoryStateManager(tmp_path / "store")
    workspace = tmp_path / "workspace"
    workspace.mkdir()
    (workspace / "moving").write_bytes(bytes(4 << 20))
    (workspace / "still").write_bytes(b"still")
    (workspace / "writer.py").write_text(_WRITER, encoding="utf-8")
    backend = LocalBackend("alice", manager, workspace_dir=workspace, checkpoint_interval_seconds=None)
    backend.start()
    try:
        backend.workspace.run("python3 writer.py >writer.log 2>&1 & sleep 0.2")
        for number in range(5):
            snapshot = backend.checkpoint(str(number))
            assert snapshot is not None
            content = restored(tmp_path, snapshot.id, number)
            assert is_of_one_moment(content) or "moving" in {item.path for item in snapshot.left_out}
    finally:
        backend.shutdown(save=False)


def is_of_one_moment(content: bytes) -> bool:
    versions = [version for version, _ in groupby(content)]
    follows = len(versions) == 2 and versions[0] in (versions[1] + 1, versions[1] - 248)
    return len(content) == 4 << 20 and (len(versions) == 1 or follows)


def restored(tmp_path: Path, snapshot_id: str, number: int) -> bytes:
    """The moving file of a snapshot; the one beside it has come back, too."""
    target = tmp_path / f"restored{number}"
    with LocalBackend("elsewhere", workspace_dir=target, checkpoint_interval_seconds=None) as backend:
        DirectoryStateManager(tmp_path / "store").restore("alice", snapshot_id, backend.workspace)
        assert (target / "still").read_bytes() == b"still"
        return (target / "moving").read_bytes()
