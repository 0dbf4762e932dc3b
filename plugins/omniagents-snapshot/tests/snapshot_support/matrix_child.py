"""A host process that works on one project and kills itself at a store call.

Arguments: what to do, the store's directory, a directory for the environment's data, the number of the call to die
at, and when: ``before`` it, ``during`` it, ``after`` it.
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from typing import Any

from omniagents.backends.local_backend import LocalBackend
from omniagents_snapshot.directory import DirectoryStateManager
from omniagents_snapshot.retention import Retention
from snapshot_support.stores import WatchedStore


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def arm(watched: WatchedStore, number: int, moment: str) -> None:
    """Let the process die at the store's ``number``-th call from now on."""
    watched.calls.clear()

    def at(count: int, call: str, name: str) -> None:
        if count == number:
            if moment != "during":
                die()
            synced: Any = os.fsync
            # Half of the object is written, or it is written and has no name yet.
            os.fsync = lambda descriptor: (os.ftruncate(descriptor, 10), synced(descriptor), die())  # type: ignore[assignment]

    setattr(watched, "before" if moment == "during" else moment, at)


def main(what: str, directory: Path, data: Path, number: int, moment: str) -> None:
    os.environ["XDG_DATA_HOME"] = str(data)
    manager = DirectoryStateManager(directory)
    watched = manager.store = WatchedStore(manager.store)
    if what == "prune":
        arm(watched, number, moment)
        manager.prune("alice", Retention(last=1, hourly=0, daily=0, weekly=0))
        return
    backend = LocalBackend("alice", state_manager=manager, checkpoint_interval_seconds=None)
    if what == "load":
        arm(watched, number, moment)
        backend.start()
        return
    backend.start()
    backend.workspace.run(
        "echo second > which; head -c 3000000 /dev/urandom > more; rm -f gone; mkdir -p d; date > d/x"
    )
    (data / "expected").write_bytes(backend.workspace.read_bytes("more"))
    arm(watched, number, moment)
    backend.checkpoint("second")


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]), int(sys.argv[4]), sys.argv[5])
    print("survived", flush=True)
    os._exit(0)  # like a killed one, it shuts nothing down
