"""Saving and restoring a workspace with the state manager ``directory`` beside tar, tar through zstd, and restic.

All sides work on the same directory with a warm cache and keep what they store on the same disk. Every round
begins with empty stores: first save, save with nothing changed, save after one file changed, restore into an empty
directory. What is restored is compared with what was saved once, after the last round.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import stat
import subprocess
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import zstandard
from _harness import Measurement, Report, options, package_version, program_version, scratch, timed
from _trees import state_tree

from omniagents.backends.local_backend import LocalBackend
from omniagents_snapshot.directory import DirectoryStateManager

PROJECT = "bench"
PHASES = ("first save", "unchanged save", "one-file change", "restore")
# The snapshot engine reads files again that changed less than 2 s before they were looked at.
SETTLED_SECONDS = 2.5
# What the snapshot engine compresses with, so that the same work is compared.
ZSTD_LEVEL = 3


class Keeper(ABC):
    """One way to keep ``workspace``; ``store`` is its own directory, empty at first."""

    def __init__(self, workspace: Path, store: Path) -> None:
        self.workspace = workspace
        self.store = store

    @abstractmethod
    def save(self) -> None: ...

    @abstractmethod
    def restore(self, target: Path) -> None:
        """Into ``target``, an empty directory."""

    @abstractmethod
    def close(self) -> None:
        """End what runs."""

    def stored_bytes(self) -> int:
        """The size of everything in the store."""
        return sum(os.lstat(Path(parent) / file).st_size for parent, _, files in os.walk(self.store) for file in files)


class Snapshots(Keeper):
    """Omniagents: a backend on the directory, and its checkpoints."""

    def __init__(self, workspace: Path, store: Path) -> None:
        super().__init__(workspace, store)
        self._backend = self._started(workspace)

    def save(self) -> None:
        self._backend.checkpoint()

    def restore(self, target: Path) -> None:
        """By a new manager, as in a new process; the time includes the start of the environment."""
        self.close()
        self._backend = self._started(target)

    def close(self) -> None:
        self._backend.shutdown(save=False)

    def guest(self) -> int:
        """The guest's process id: it is the parent of what it runs."""
        return int(self._backend.workspace.run('echo "$PPID"').stdout)

    def _started(self, workspace: Path) -> LocalBackend:
        manager = DirectoryStateManager(self.store, leave_out=())
        backend = LocalBackend(PROJECT, manager, workspace_dir=workspace, checkpoint_interval_seconds=None)
        backend.start()
        return backend


class Tar(Keeper):
    """The whole directory again at every save."""

    def save(self) -> None:
        subprocess.run(["tar", "-C", str(self.workspace), "-cf", str(self.store / "all.tar"), "."], check=True)

    def restore(self, target: Path) -> None:
        subprocess.run(["tar", "-C", str(target), "-xpf", str(self.store / "all.tar")], check=True)

    def close(self) -> None:
        return


class TarZstd(Tar):
    """tar through zstd on all cores."""

    def save(self) -> None:
        compressor = zstandard.ZstdCompressor(level=ZSTD_LEVEL, threads=-1)
        command = ["tar", "-C", str(self.workspace), "-cf", "-", "."]
        with subprocess.Popen(command, stdout=subprocess.PIPE) as tar, (self.store / "all.tar.zst").open("wb") as file:
            assert tar.stdout is not None
            compressor.copy_stream(tar.stdout, file)
        _check(tar)

    def restore(self, target: Path) -> None:
        with (
            (self.store / "all.tar.zst").open("rb") as file,
            subprocess.Popen(["tar", "-C", str(target), "-xpf", "-"], stdin=subprocess.PIPE) as tar,
        ):
            assert tar.stdin is not None
            zstandard.ZstdDecompressor().copy_stream(file, tar.stdin)
        _check(tar)


class Restic(Keeper):
    """Debian's restic on a local repository; its cache lies beside it."""

    def __init__(self, workspace: Path, store: Path) -> None:
        super().__init__(workspace, store)
        self._run("init")

    def save(self) -> None:
        self._run("backup", ".", cwd=self.workspace)

    def restore(self, target: Path) -> None:
        self._run("restore", "latest", "--target", str(target))

    def close(self) -> None:
        return

    def stored_bytes(self) -> int:
        files = (path for path in (self.store / "repository").rglob("*") if path.is_file())
        return sum(path.stat().st_size for path in files)

    def _run(self, *arguments: str, cwd: Path | None = None) -> None:
        repository, cache = self.store / "repository", self.store / "cache"
        command = ["restic", "--quiet", "--repo", str(repository), "--cache-dir", str(cache), *arguments]
        subprocess.run(command, cwd=cwd, env={**os.environ, "RESTIC_PASSWORD": "benchmark"}, check=True)


KEEPERS: dict[str, type[Keeper]] = {"omniagents": Snapshots, "tar": Tar, "tar + zstd": TarZstd, "restic": Restic}
PAIRS = [("omniagents", other) for other in KEEPERS if other != "omniagents"]


def main() -> None:
    versions = {
        "tar": program_version("tar", "--version"),
        "restic": program_version("restic", "version"),
        "zstandard": f"{package_version('zstandard')}, zstd {'.'.join(map(str, zstandard.ZSTD_VERSION))}",
        "omniagents-snapshot": package_version("omniagents-snapshot"),
    }
    report = Report("bench_state", options(__doc__), versions)
    tree = state_tree(report.options.quick)
    report.note(**tree.described())
    with scratch() as directory:
        workspace = directory / "workspace"
        shutil.copytree(tree.path, workspace, symlinks=True)
        time.sleep(SETTLED_SECONDS)
        count = report.options.counted(3, 1)
        rounds = [one_round(workspace, directory / f"round{n}", n, is_last=n == count - 1) for n in range(count)]
        for phase in PHASES:
            samples = {side: [[found.seconds[phase, side]] for found in rounds] for side in KEEPERS}
            report.add(Measurement(phase, samples, PAIRS))
        stored = {side: [[found.stored["first save", side]] for found in rounds] for side in KEEPERS}
        report.add(Measurement("stored by first save", stored, PAIRS, "bytes"))
        added = {side: rounds[-1].stored["one-file change", side] - stored[side][-1][0] for side in KEEPERS}
        report.fact("bytes_added_by_one_file_change", added)
        for name in ("host", "guest"):
            peaks = {phase: max(found.peak[phase, name] for found in rounds) for phase in PHASES}
            report.fact(f"{name}_peak_mb", {phase: round(peak / 1e6, 1) for phase, peak in peaks.items()})
        report.fact("host_mb_before", round(max(found.host_before for found in rounds) / 1e6, 1))
        report.fact("bytes_read_by_the_guest_in_an_unchanged_save", rounds[-1].guest_read)
        report.fact("restored_equal_to_saved", rounds[-1].files_compared)
    report.write()


@dataclass
class Round:
    """What one round found, by phase and side; ``peak`` by phase and process, in bytes."""

    seconds: dict[tuple[str, str], float] = field(default_factory=dict)
    stored: dict[tuple[str, str], int] = field(default_factory=dict)
    peak: dict[tuple[str, str], int] = field(default_factory=dict)
    host_before: int = 0
    guest_read: int = 0
    files_compared: int = 0


def one_round(workspace: Path, directory: Path, number: int, *, is_last: bool) -> Round:
    """All phases by all sides; who goes first moves on from round to round."""
    found = Round()
    names = list(KEEPERS)
    names = names[number % len(names) :] + names[: number % len(names)]
    keepers = {}
    for name in names:
        (directory / name).mkdir(parents=True)
        keepers[name] = KEEPERS[name](workspace, directory / name)
    found.host_before = _memory(os.getpid(), "VmRSS")
    for phase in PHASES:
        if phase == "one-file change":
            with (workspace / "src/package0/module1.py").open("a", encoding="utf-8") as file:
                file.write(f"# round {number}\n")
            time.sleep(SETTLED_SECONDS)
        for name, keeper in keepers.items():
            _run_phase(found, phase, name, keeper, directory)
    if is_last:
        found.files_compared = same_trees(workspace, directory / "omniagents restored")
    for keeper in keepers.values():
        keeper.close()
    shutil.rmtree(directory)
    return found


def _run_phase(found: Round, phase: str, name: str, keeper: Keeper, directory: Path) -> None:
    target = directory / f"{name} restored"
    if phase == "restore":
        target.mkdir()
    os.sync()  # what others have written is not this side's to flush
    guest = keeper.guest() if isinstance(keeper, Snapshots) else os.getpid()
    for pid in {os.getpid(), guest}:
        _forget_peak(pid)
    read_before = _read_bytes(guest)
    work = partial(keeper.restore, target) if phase == "restore" else keeper.save
    found.seconds[phase, name] = timed(work)()
    found.stored[phase, name] = keeper.stored_bytes()
    if isinstance(keeper, Snapshots):
        if phase == "unchanged save":
            found.guest_read = _read_bytes(guest) - read_before
        found.peak[phase, "host"] = _memory(os.getpid(), "VmHWM")
        found.peak[phase, "guest"] = _memory(keeper.guest(), "VmHWM")


def _forget_peak(pid: int) -> None:
    # 5: "reset the peak resident set size" (proc(5), /proc/pid/clear_refs)
    Path(f"/proc/{pid}/clear_refs").write_text("5")


def _memory(pid: int, name: str) -> int:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(name + ":"):
            return int(line.split()[1]) * 1024
    raise LookupError(name)


def _read_bytes(pid: int) -> int:
    """What a process has read so far, from files and sockets."""
    return int(Path(f"/proc/{pid}/io").read_text().splitlines()[0].split()[1])


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


def _check(process: subprocess.Popen[bytes]) -> None:
    if process.returncode:
        raise SystemExit(f"{process.args!r} failed with {process.returncode}")


if __name__ == "__main__":
    main()
