"""Saving and restoring a workspace with the snapshot engine beside tar, tar through zstd, an object per file, restic,
rclone and git.

All sides work on the same directory with a warm cache and keep what they store on the same disk; "distant" ones wait
40 ms for every request besides. Every round begins with empty stores. What is restored is compared with what was saved
once, after the last round. rclone takes part where it is installed.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import stat
import subprocess
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from itertools import pairwise
from pathlib import Path

import zstandard
from _harness import Measurement, Report, options, package_version, program_version, scratch, timed
from _stores import DistantStore
from _trees import state_tree

from omniagents.backends.local_backend import LocalBackend
from omniagents_snapshot.directory import DirectoryStateManager
from omniagents_snapshot.directory_store import DirectoryStore
from omniagents_snapshot.manager import SnapshotStateManager
from omniagents_snapshot.store import Store

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
PART = "src/package0"
LATENCY_SECONDS = 0.04
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

    def restore_part(self, target: Path) -> None:
        """Only what is below ``PART``.

        Raises:
            NotImplementedError: Only everything can be restored.
        """
        raise NotImplementedError

    def close(self) -> None:
        """End what runs."""
        return

    def cost(self) -> dict[str, int]:
        """Requests and bytes since it was last asked, where they are counted."""
        return {}

    def stored_bytes(self) -> int:
        """The size of everything in the store."""
        return sum(os.lstat(Path(parent) / file).st_size for parent, _, files in os.walk(self.store) for file in files)


class Snapshots(Keeper):
    """Omniagents: a backend on the directory, and its checkpoints into a store on the same disk."""

    project_id = "bench"

    def __init__(self, workspace: Path, store: Path) -> None:
        super().__init__(workspace, store)
        self._backend = self._started(workspace)

    def save(self) -> None:
        saved = self._backend.checkpoint()
        assert saved is not None
        self._latest = saved.id

    def restore(self, target: Path) -> None:
        """By a new manager, as in a new process; the time includes the start of the environment."""
        self.close()
        self._backend = self._started(target)

    def restore_part(self, target: Path) -> None:
        """Into a running environment, as a user who wants some files back."""
        self.close()
        self._backend = LocalBackend(self.project_id, workspace_dir=target, checkpoint_interval_seconds=None)
        self._backend.start()
        self.manager().restore(self.project_id, self._latest, self._backend.workspace, paths=[PART])

    def close(self) -> None:
        self._backend.shutdown(save=False)

    def manager(self) -> SnapshotStateManager:
        """A new one, as in a new process."""
        return DirectoryStateManager(self.store, leave_out=())

    def guest(self) -> int:
        """The guest's process id: it is the parent of what it runs."""
        return int(self._backend.workspace.run('echo "$PPID"').stdout)

    def _started(self, workspace: Path) -> LocalBackend:
        backend = LocalBackend(
            self.project_id, self.manager(), workspace_dir=workspace, checkpoint_interval_seconds=None
        )
        backend.start()
        return backend


class DistantSnapshots(Snapshots):
    """The same with a store that is far away, and copies on this machine from the second restore on."""

    project_id = "distant"

    #: What keeps the objects, given a directory of its own; an emulator of an object store fits as well.
    new_store: Callable[[Path], Store] = DirectoryStore

    def __init__(self, workspace: Path, store: Path) -> None:
        self.distant = DistantStore(type(self).new_store(store / "objects"), LATENCY_SECONDS)
        super().__init__(workspace, store)

    def restore(self, target: Path) -> None:
        if not target.name.endswith("again"):
            shutil.rmtree(self.store / "cache")
        super().restore(target)

    def manager(self) -> SnapshotStateManager:
        return SnapshotStateManager(self.distant, leave_out=(), cache_directory=self.store / "cache")

    def cost(self) -> dict[str, int]:
        found = {"requests": self.distant.requests, "sent": self.distant.sent, "received": self.distant.received}
        self.distant.reset()
        return found

    def stored_bytes(self) -> int:
        return sum(found.size for found in self.distant.list(""))


class DistantFiles(Keeper):
    """An object for each file, by 32 threads, as a bucket's transfer manager does it; a file that looks as before
    is not sent again, and what is stored carries neither modes nor links."""

    def __init__(self, workspace: Path, store: Path) -> None:
        super().__init__(workspace, store)
        self.distant = DistantStore(DirectoryStore(store / "objects"), LATENCY_SECONDS)
        self._sent: dict[str, tuple[str, os.stat_result]] = {}

    def save(self) -> None:
        paths = [Path(parent, file) for parent, _, files in os.walk(self.workspace) for file in files]
        with ThreadPoolExecutor(32) as executor:
            list(executor.map(self._send, (path for path in paths if path.is_file() and not path.is_symlink())))

    def restore(self, target: Path) -> None:
        self._fetch(target, list(self._sent.items()))

    def restore_part(self, target: Path) -> None:
        self._fetch(target, [item for item in self._sent.items() if item[0].startswith(PART + "/")])

    def cost(self) -> dict[str, int]:
        found = {"requests": self.distant.requests, "sent": self.distant.sent, "received": self.distant.received}
        self.distant.reset()
        return found

    def _send(self, path: Path) -> None:
        name, status = str(path.relative_to(self.workspace)), path.stat()
        known = self._sent.get(name)
        if known and (known[1].st_size, known[1].st_mtime_ns) == (status.st_size, status.st_mtime_ns):
            return
        key = hashlib.sha256(f"{name}\0{status.st_mtime_ns}".encode()).hexdigest()
        self.distant.put_new(key, path.read_bytes())
        self._sent[name] = (key, status)

    def _fetch(self, target: Path, items: Sequence[tuple[str, tuple[str, os.stat_result]]]) -> None:
        def fetch(item: tuple[str, tuple[str, os.stat_result]]) -> None:
            path = target / item[0]
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(self.distant.get(item[1][0]))

        with ThreadPoolExecutor(32) as executor:
            list(executor.map(fetch, items))


class Git(Keeper):
    """A commit of everything git takes in; no delta compression, which would only cost time here."""

    def __init__(self, workspace: Path, store: Path) -> None:
        super().__init__(workspace, store)
        self._git("init", "--quiet", "--bare", str(store / "git"), cwd=store)

    def save(self) -> None:
        self._git("add", "--all", "--force", ".")
        self._git("commit", "--quiet", "--allow-empty", "--message", "saved")

    def restore(self, target: Path) -> None:
        self._git("checkout", "--quiet", "--force", "HEAD", "--", ".", cwd=target, index=f"{target}.index")

    def restore_part(self, target: Path) -> None:
        self._git("checkout", "--quiet", "--force", "HEAD", "--", PART, cwd=target, index=f"{target}.index")

    def _git(self, *arguments: str, cwd: Path | None = None, index: str = "") -> None:
        where = cwd or self.workspace
        environment = {
            **os.environ,
            "GIT_CONFIG_GLOBAL": "/dev/null",
            "GIT_CONFIG_NOSYSTEM": "1",
            "GIT_OPTIONAL_LOCKS": "0",  # else it writes into the repository in the workspace
            "GIT_INDEX_FILE": index or str(self.store / "index"),
        }
        for role in ("AUTHOR", "COMMITTER"):
            environment |= {f"GIT_{role}_NAME": "b", f"GIT_{role}_EMAIL": "b@localhost"}
        if arguments[0] != "init":
            environment |= {"GIT_DIR": str(self.store / "git"), "GIT_WORK_TREE": str(where)}
        command = ["git", "-c", "core.bare=false", "-c", "core.compression=1", "-c", "gc.auto=0", *arguments]
        subprocess.run(command, cwd=where, env=environment, check=True, stderr=subprocess.DEVNULL)


class Rclone(Keeper):
    """A directory kept equal to another, modes and links included."""

    def save(self) -> None:
        self._sync(self.workspace, self.store / "copy")

    def restore(self, target: Path) -> None:
        self._sync(self.store / "copy", target)

    def restore_part(self, target: Path) -> None:
        self._sync(self.store / "copy" / PART, target / PART)

    def _sync(self, source: Path, target: Path) -> None:
        options = ["--links", "--metadata", "--create-empty-src-dirs", "--config", "/dev/null", "--transfers", "8"]
        subprocess.run(["rclone", "sync", *options, str(source), str(target)], check=True)


class Tar(Keeper):
    """The whole directory again at every save."""

    def save(self) -> None:
        subprocess.run(["tar", "-C", str(self.workspace), "-cf", str(self.store / "all.tar"), "."], check=True)

    def restore(self, target: Path) -> None:
        subprocess.run(["tar", "-C", str(target), "-xpf", str(self.store / "all.tar")], check=True)


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

    def restore_part(self, target: Path) -> None:
        self._run("restore", "latest", "--target", str(target), "--include", f"/{PART}")

    def stored_bytes(self) -> int:
        files = (path for path in (self.store / "repository").rglob("*") if path.is_file())
        return sum(path.stat().st_size for path in files)

    def _run(self, *arguments: str, cwd: Path | None = None) -> None:
        repository, cache = self.store / "repository", self.store / "cache"
        command = ["restic", "--quiet", "--repo", str(repository), "--cache-dir", str(cache), *arguments]
        subprocess.run(command, cwd=cwd, env={**os.environ, "RESTIC_PASSWORD": "benchmark"}, check=True)


KEEPERS: dict[str, type[Keeper]] = {
    "omniagents": Snapshots,
    "tar": Tar,
    "tar + zstd": TarZstd,
    "restic": Restic,
    "git": Git,
    "omniagents, distant": DistantSnapshots,
    "an object per file, distant": DistantFiles,
}
if shutil.which("rclone"):
    KEEPERS["rclone"] = Rclone
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
            sides = [side for side in KEEPERS if (phase, side) in rounds[0].seconds]
            samples = {side: [[found.seconds[phase, side]] for found in rounds] for side in sides}
            report.add(Measurement(phase, samples, [pair for pair in PAIRS if pair[1] in sides]))
        stored = {side: [[found.stored["first save", side]] for found in rounds] for side in KEEPERS}
        report.add(Measurement("stored by first save", stored, PAIRS, "bytes"))
        for before, phase in pairwise(PHASES[1:5]):
            added = {side: rounds[-1].stored[phase, side] - rounds[-1].stored[before, side] for side in KEEPERS}
            report.fact(f"bytes_added_by_{phase.replace(' ', '_')}", added)
        for side in KEEPERS:
            costs = {phase: cost for phase in PHASES if (cost := rounds[-1].cost.get((phase, side)))}
            if costs:
                report.fact(f"cost_of_{side}", costs)
        for name in ("host", "guest"):
            peaks = {phase: max(found.peak.get((phase, name), 0) for found in rounds) for phase in PHASES}
            report.fact(f"{name}_peak_mb", {phase: round(peak / 1e6, 1) for phase, peak in peaks.items()})
        report.fact("host_mb_before", round(max(found.host_before for found in rounds) / 1e6, 1))
        report.fact("guest_cpu_seconds", rounds[-1].guest_cpu)
        report.fact("bytes_read_by_the_guest_in_an_unchanged_save", rounds[-1].guest_read)
        report.fact("restored_equal_to_saved", rounds[-1].files_compared)
    report.write()


@dataclass
class Round:
    """What one round found, by phase and side; ``peak`` by phase and process, in bytes."""

    seconds: dict[tuple[str, str], float] = field(default_factory=dict)
    stored: dict[tuple[str, str], int] = field(default_factory=dict)
    peak: dict[tuple[str, str], int] = field(default_factory=dict)
    cost: dict[tuple[str, str], dict[str, int]] = field(default_factory=dict)
    guest_cpu: dict[str, float] = field(default_factory=dict)
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
        if phase in CHANGES:
            CHANGES[phase](workspace, number)
            time.sleep(SETTLED_SECONDS)
        for name, keeper in keepers.items():
            _run_phase(found, phase, name, keeper, directory)
    if is_last:
        found.files_compared = same_trees(workspace, directory / "omniagents restore")
    for keeper in keepers.values():
        keeper.close()
    shutil.rmtree(directory)
    return found


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


def _run_phase(found: Round, phase: str, name: str, keeper: Keeper, directory: Path) -> None:
    target = directory / f"{name} {phase}"
    work = keeper.save
    if "restore" in phase:
        target.mkdir()
        work = partial(keeper.restore_part if phase == "partial restore" else keeper.restore, target)
    os.sync()  # what others have written is not this side's to flush
    guest = keeper.guest() if isinstance(keeper, Snapshots) else os.getpid()
    for pid in {os.getpid(), guest}:
        _forget_peak(pid)
    read_before, cpu_before = _read_bytes(guest), _cpu_seconds(guest)
    keeper.cost()
    try:
        found.seconds[phase, name] = timed(work)()
    except NotImplementedError:
        return
    found.cost[phase, name] = keeper.cost()
    found.stored[phase, name] = keeper.stored_bytes()
    if name == "omniagents":
        same = keeper.guest() if isinstance(keeper, Snapshots) else guest
        # A restore starts an environment of its own, whose guest has used nothing before.
        found.guest_cpu[phase] = round(_cpu_seconds(same) - (cpu_before if same == guest else 0), 3)
        if phase == "unchanged save":
            found.guest_read = _read_bytes(guest) - read_before
        found.peak[phase, "host"] = _memory(os.getpid(), "VmHWM")
        found.peak[phase, "guest"] = _memory(same, "VmHWM")


def _forget_peak(pid: int) -> None:
    # 5: "reset the peak resident set size" (proc(5), /proc/pid/clear_refs)
    Path(f"/proc/{pid}/clear_refs").write_text("5")


def _memory(pid: int, name: str) -> int:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(name + ":"):
            return int(line.split()[1]) * 1024
    raise LookupError(name)


def _cpu_seconds(pid: int) -> float:
    """What a process has used so far (proc(5), fields 14 and 15 of /proc/pid/stat)."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


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
