"""Hosts that save until they are killed: each line of standard input is a project and the seconds one may live.

Each host is forked from this process, which has imported everything, so that a hundred of them take little time.
Answers with a line for each: the number of the last save that its host called done, or "none".
"""

from __future__ import annotations

import itertools
import os
import random
import signal
import sys
import tempfile
import time
from pathlib import Path

import google.cloud.storage  # noqa: F401 - once, and not in each host
from snapshot_support.local_tree import LocalTree, as_workspace

from omniagents_gcs.state_manager import GCSStateManager


def save_until_killed(project_id: str, done: int) -> None:
    """Each save holds a file per number up to its own, and one that every save changes."""
    with tempfile.TemporaryDirectory() as folder:
        tree, manager = LocalTree(Path(folder)), GCSStateManager()
        manager.load(project_id, as_workspace(tree))
        latest = Path(folder, "latest")
        for number in itertools.count(int(latest.read_text()) + 1 if latest.exists() else 0):
            Path(folder, f"file{number % 10}").write_bytes(b"%d\n" % number + random.Random(number).randbytes(50_000))
            latest.write_text(str(number))
            manager.save(project_id, as_workspace(tree), str(number))
            os.write(done, b"%d\n" % number)


def main() -> None:
    """Fork, wait, kill, answer; until standard input ends."""
    for line in sys.stdin:
        project_id, seconds = line.split()
        reading, writing = os.pipe()
        child = os.fork()
        if child == 0:
            os.close(reading)
            save_until_killed(project_id, writing)
        os.close(writing)
        time.sleep(float(seconds))
        os.kill(child, signal.SIGKILL)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
        with os.fdopen(reading, "rb") as pipe:
            numbers = pipe.read().split(b"\n")[:-1]
        print(numbers[-1].decode() if numbers else "none", flush=True)


if __name__ == "__main__":
    main()
