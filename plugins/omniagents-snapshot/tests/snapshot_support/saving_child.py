"""A host process that saves again and again until it is killed. Arguments: the workspace and the store."""

from __future__ import annotations

import itertools
import random
import sys
from pathlib import Path

from omniagents_snapshot.directory import DirectoryStateManager
from snapshot_support.local_tree import LocalTree, as_workspace


def main(root: Path, directory: Path) -> None:
    """Each save holds one file per number up to the save's own, and one file changed by every save."""
    tree, manager = LocalTree(root), DirectoryStateManager(directory)
    start = len(manager.history("alice"))
    print("ready", flush=True)
    for number in itertools.count(start):
        seeded = random.Random(number)
        (root / f"file{number % 20}").write_bytes(b"%d\n" % number + seeded.randbytes(300_000))
        (root / "latest").write_bytes(b"%d\n" % number)
        manager.save("alice", as_workspace(tree), str(number))
        print(number, flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
