"""Saving and restoring a workspace with the snapshot engine on a bucket 40 ms away, beside others.

These are tar through zstd and an object per file on the same bucket, restic with a server of its protocol as far away,
restic and rclone on the local disk, the snapshot engine on the local disk, and omniagents-git with a local repository.

All sides work on the same directory with a warm cache, each in a process of its own. Every round begins with empty
stores. What is restored is compared with what was saved. rclone takes part where it is installed.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import stat
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import zstandard
from _harness import Measurement, Report, options, package_version, program_version, scratch
from _keepers import KEEPERS, LOSSY, RESTIC_SERVER
from _restic_server import restic_server_process
from _sides import Cost, Side
from _trees import state_tree

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from tests.services.gcs.fault_server import fault_server_process

PHASES = (
    "first save",
    "unchanged save",
    "one-file change",
    "bytes inside 60 MB",
    "insertion before 100 MB",
    "restore",
    "restore again",
    "partial restore",
)
CALLS = {"restore": "restore", "restore again": "restore", "partial restore": "restore_part"}
LATENCY_MS = 40
# The snapshot engine reads files again that changed less than 2 s before they were looked at.
SETTLED_SECONDS = 2.5
OURS = "omniagents, gcs"
PAIRS = [(OURS, other) for other in KEEPERS if other != OURS] + [("omniagents, directory", "restic, disk")]


def main() -> None:
    versions = {
        "tar": program_version("tar", "--version"),
        "restic": program_version("restic", "version"),
        "zstandard": f"{package_version('zstandard')}, zstd {'.'.join(map(str, zstandard.ZSTD_VERSION))}",
        "google-cloud-storage": package_version("google-cloud-storage"),
        "omniagents-snapshot": package_version("omniagents-snapshot"),
    }
    if "rclone, disk" in KEEPERS:
        versions["rclone"] = program_version("rclone", "version")
    report = Report("bench_state", options(__doc__), versions)
    tree = state_tree(report.options.quick)
    report.note(**tree.described(), latency_ms=LATENCY_MS)
    with scratch() as directory, ExitStack() as stack:
        targets = _place_for_restores(stack, directory, tree.bytes)
        report.note(restores_into="memory" if targets.is_relative_to("/dev/shm") else "disk")
        workspace = directory / "workspace"
        shutil.copytree(tree.path, workspace, symlinks=True)
        time.sleep(SETTLED_SECONDS)
        # Stores are removed at the end only: ext4 looks through what was deleted of late for every new file.
        rounds = [
            one_round(workspace, directory / f"round{number}", targets, number)
            for number in range(report.options.counted(1, 1))
        ]
        write(report, rounds)
    report.write()


def write(report: Report, rounds: list[dict[tuple[str, str], Cost]]) -> None:
    """Everything that was found, by phase and side."""
    for phase in PHASES:
        sides = [side for side in KEEPERS if (phase, side) in rounds[0]]
        samples = {side: [[found[phase, side].seconds] for found in rounds] for side in sides}
        report.add(Measurement(phase, samples, [pair for pair in PAIRS if pair[1] in sides]))
    last = rounds[-1]
    for side in KEEPERS:
        found = {phase: last[phase, side] for phase in PHASES if (phase, side) in last}
        if any(cost.requests for cost in found.values()):
            traffic = {phase: [cost.requests, cost.sent, cost.received] for phase, cost in found.items()}
            report.fact(f"requests_sent_received_of_{side}", traffic)
        report.fact(f"peak_mb_of_{side}", {phase: round(cost.peak / 1e6, 1) for phase, cost in found.items()})
    report.fact("guest", {phase: last[phase, OURS].guest for phase in PHASES})


def one_round(workspace: Path, directory: Path, targets: Path, number: int) -> dict[tuple[str, str], Cost]:
    """All phases by all sides; who goes first moves on from round to round."""
    found: dict[tuple[str, str], Cost] = {}
    names = list(KEEPERS)
    names = names[number % len(names) :] + names[: number % len(names)]
    with (
        fault_server_process("snapshots", "tar", "files", latency_ms=LATENCY_MS) as url,
        restic_server_process(LATENCY_MS) as restic,
    ):
        os.environ["STORAGE_EMULATOR_HOST"], os.environ[RESTIC_SERVER] = url, restic
        sides = []
        for name in names:
            (directory / name).mkdir(parents=True)
            sides.append(Side(name, workspace, directory / name))
        for phase in PHASES:
            if phase in CHANGES:
                CHANGES[phase](workspace, number)
                time.sleep(SETTLED_SECONDS)
            for side in sides:
                cost = _run_phase(phase, side, workspace, targets)
                if cost is not None:
                    found[phase, side.name] = cost
        for side in sides:
            side.close()
    return found


def _run_phase(phase: str, side: Side, workspace: Path, targets: Path) -> Cost | None:
    os.sync()  # what others have written is not this side's to flush
    if phase not in CALLS:
        return side.run("save")
    target = targets / f"{side.name} {phase}"
    target.mkdir()
    cost = side.run(CALLS[phase], target)
    if phase == "restore" and side.name not in LOSSY:
        same_trees(workspace, target)
    shutil.rmtree(target)
    return cost


def _place_for_restores(stack: ExitStack, directory: Path, size: int) -> Path:
    """In memory, where there is room: on a disk, what ran before decides how long a new file takes."""
    memory = Path("/dev/shm")
    if memory.is_dir() and shutil.disk_usage(memory).free > 4 * size:
        return Path(stack.enter_context(tempfile.TemporaryDirectory(dir=memory, prefix="omniagents-bench-")))
    return directory


def _append_a_line(workspace: Path, number: int) -> None:
    with (workspace / "src/package0/module1.py").open("a", encoding="utf-8") as file:
        file.write(f"# round {number}\n")


def _change_a_few_bytes(workspace: Path, number: int) -> None:
    path = workspace / "data/random60.bin"
    with path.open("r+b") as file:
        file.seek(path.stat().st_size // 2)
        file.write(b"round %d" % number)


def _insert_at_the_front(workspace: Path, number: int) -> None:
    path = workspace / "data/random100.bin"
    path.write_bytes(b"round %d" % number + path.read_bytes())


CHANGES = {
    "one-file change": _append_a_line,
    "bytes inside 60 MB": _change_a_few_bytes,
    "insertion before 100 MB": _insert_at_the_front,
}


def same_trees(wanted: Path, found: Path) -> int:
    """Compare kinds, modes, contents and link targets; returns how many paths there are.

    Raises:
        SystemExit: They differ; names the first path.
    """
    described = [dict(_described(tree)) for tree in (wanted, found)]
    for path in described[0].keys() | described[1].keys():
        if described[0].get(path) != described[1].get(path):
            raise SystemExit(f"restored {path!r} differs from what was saved")
    return len(described[0])


def _described(tree: Path) -> Iterator[tuple[str, tuple[int, bytes | str]]]:
    for parent, directories, files in os.walk(tree):
        if Path(parent) == tree and ".omniagents" in directories:
            directories.remove(".omniagents")
        for name in directories + files:
            path = Path(parent, name)
            status = path.lstat()
            content: bytes | str = b""
            if stat.S_ISLNK(status.st_mode):
                content = os.readlink(path)
            elif stat.S_ISREG(status.st_mode):
                content = hashlib.blake2b(path.read_bytes()).digest()
            yield os.path.relpath(path, tree), (status.st_mode, content)


if __name__ == "__main__":
    main()
