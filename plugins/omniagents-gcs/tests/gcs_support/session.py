"""One session of several that work at the same time. Arguments: the project, the session's name, how many saves."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from snapshot_support.local_tree import LocalTree, as_workspace

from omniagents.errors import StateConflictError
from omniagents_gcs.state_manager import GCSStateManager


def main(project_id: str, name: str, saves: int) -> None:
    """Add one file by each save; after a conflict, go on from what the others saved."""
    with tempfile.TemporaryDirectory() as folder:
        tree, manager = LocalTree(Path(folder)), GCSStateManager()
        print("ready", flush=True)
        sys.stdin.readline()
        for number in range(saves):
            while True:
                manager.load(project_id, as_workspace(tree))
                Path(folder, f"{name}-{number}").write_text(f"{name} {number}")
                try:
                    manager.save(project_id, as_workspace(tree), f"{name} {number}")
                except StateConflictError:
                    continue
                break


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
