"""A host process that saves again and again until it is killed. Arguments: data, repository and cache directory."""

from __future__ import annotations

import itertools
import os
import sys
import uuid

from omniagents.backends.local_backend import LocalBackend
from omniagents_git.state_manager import GitStateManager


def main(data: str, repository: str, cache: str) -> None:
    """Each save holds a file of its own number, and some that change."""
    os.environ["XDG_DATA_HOME"] = data
    manager = GitStateManager(repository, cache_directory=cache, keep=5)
    with LocalBackend(f"child {uuid.uuid4()}", checkpoint_interval_seconds=None) as backend:
        manager.load("alice", backend.workspace)
        is_first = not manager.history("alice")
        start = 0 if is_first else int(backend.workspace.read_bytes("latest")) + 1
        print("ready", flush=True)
        for number in itertools.count(start):
            backend.workspace.write_bytes("latest", b"%d" % number)
            backend.workspace.write_bytes(f"data/{number % 10}", os.urandom(200_000))
            manager.save("alice", backend.workspace, str(number))
            print(number, flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
