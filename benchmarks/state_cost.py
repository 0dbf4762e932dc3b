"""What keeping one user's project costs in storage, day by day.

A project like a user's: sources (this package's own), a SQLite database and a log. A day is eight hours of work with a
checkpoint every few minutes; each changes one to three source files by a line or a few, appends to the log, and inserts
rows into the database; once a day some random data of half a megabyte is uploaded. Every night ``prune`` runs with the
rules it has by default. Printed are the bytes stored at the end of each day, before and after the prune. The clock is
the project's own, not this machine's.

    python -m benchmarks.state_cost [days]
"""

from __future__ import annotations

import json
import random
import shutil
import sqlite3
import sys
import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import omniagents
from omniagents import _ids
from omniagents.backends.local_backend import LocalBackend
from omniagents_snapshot.directory import DirectoryStateManager

_CHECKPOINTS_A_DAY = 96
_SOURCES = Path(omniagents.__file__).parent


class _Clock(datetime):
    current = datetime(2026, 1, 5, 9, tzinfo=UTC)

    @classmethod
    def now(cls, tz: Any = None) -> Any:
        return cls.current


def _work(root: Path, rng: random.Random) -> None:
    sources = sorted(root.rglob("*.py"))
    for path in rng.sample(sources, rng.randint(1, 3)):
        lines = path.read_text().splitlines()
        at = rng.randrange(len(lines) + 1)
        path.write_text("\n".join([*lines[:at], f"x_{rng.randrange(10**9)} = {rng.random()}", *lines[at:]]) + "\n")
    with (root / "app.log").open("a") as log:
        log.writelines(f"{_Clock.current} request {rng.random()}\n" for _ in range(50))
    with sqlite3.connect(root / "app.sqlite") as database:
        database.execute("create table if not exists rows (id integer primary key, value text)")
        database.executemany("insert into rows (value) values (?)", ((rng.randbytes(40).hex(),) for _ in range(20)))


def main(days: int) -> dict[str, Any]:
    """The bytes of every day, and what they come to for a user and a day."""
    rng = random.Random(1)
    _ids.datetime = _Clock  # type: ignore[attr-defined]
    with tempfile.TemporaryDirectory() as directory:
        root = Path(directory, "project")
        shutil.copytree(_SOURCES, root, ignore=shutil.ignore_patterns("__pycache__"))
        manager = DirectoryStateManager(Path(directory, "store"))
        rows = []
        with LocalBackend(
            "cost", state_manager=manager, workspace_dir=root, checkpoint_interval_seconds=None
        ) as backend:
            backend.checkpoint("start")
            first = manager.stats("cost").stored_bytes
            for day in range(days):
                (root / f"upload{day}").write_bytes(rng.randbytes(500_000))
                for _ in range(_CHECKPOINTS_A_DAY):
                    _Clock.current += timedelta(minutes=5)
                    _work(root, rng)
                    backend.checkpoint()
                before = manager.stats("cost")
                manager.prune("cost")
                after = manager.stats("cost")
                rows.append(
                    {
                        "day": day + 1,
                        "project_bytes": before.bytes,
                        "stored_bytes": before.stored_bytes,
                        "snapshots": before.snapshots,
                        "stored_bytes_after_prune": after.stored_bytes,
                        "snapshots_after_prune": after.snapshots,
                    }
                )
                _Clock.current += timedelta(hours=16)
    return {"checkpoints_a_day": _CHECKPOINTS_A_DAY, "first_save_bytes": first, "days": rows}


if __name__ == "__main__":
    print(json.dumps(main(int(sys.argv[1]) if len(sys.argv) > 1 else 5), indent=1))
