"""Ways to keep a directory: the snapshot engine on a bucket, and what others do."""

from __future__ import annotations

import os
import shutil
import subprocess
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import requests.adapters
import zstandard

from omniagents.backends.local_backend import LocalBackend
from omniagents.state import StateManager
from omniagents_snapshot.manager import SnapshotStateManager

__all__ = ["KEEPERS", "LOSSY", "PART", "RESTIC_SERVER", "ZSTD_LEVEL", "Keeper"]

#: The variable that names the repository of the restic that is far away.
RESTIC_SERVER = "BENCH_RESTIC_SERVER"
#: What a partial restore is of.
PART = "src/package0"
# What the snapshot engine compresses with, so that the same work is compared.
ZSTD_LEVEL = 3
# What transfer_manager is told: more connections do not make it faster on two cores.
_CONNECTIONS = 32


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

    def guest(self) -> int | None:
        """The process that works inside the environment, if there is one."""
        return None

    def close(self) -> None:
        """End what runs."""
        return


class Managed(Keeper):
    """Omniagents: a backend on the directory, and its checkpoints."""

    def __init__(self, workspace: Path, store: Path) -> None:
        super().__init__(workspace, store)
        self.project_id = type(self).__name__
        self._backend = self._started(workspace, self.manager())

    @abstractmethod
    def manager(self) -> StateManager:
        """A new one, as in a new process."""

    def forget(self) -> None:
        """Lose the copies on this machine, as on another one."""
        shutil.rmtree(self.store / "cache", ignore_errors=True)

    def save(self) -> None:
        saved = self._backend.checkpoint()
        assert saved is not None
        self._latest = saved.id

    def restore(self, target: Path) -> None:
        """By a new manager; the time includes the start of the environment."""
        if not target.name.endswith("again"):
            self.forget()
        self.close()
        self._backend = self._started(target, self.manager())

    def guest(self) -> int:
        return self._guest

    def close(self) -> None:
        self._backend.shutdown(save=False)

    def _started(self, workspace: Path, manager: StateManager | None) -> LocalBackend:
        backend = LocalBackend(self.project_id, manager, workspace_dir=workspace, checkpoint_interval_seconds=None)
        backend.start()
        # The guest is the parent of what it runs.
        self._guest = int(backend.workspace.run('echo "$PPID"').stdout)
        return backend


class Engine(Managed):
    """The snapshot engine."""

    def restore_part(self, target: Path) -> None:
        """On a machine that has nothing of it yet, as a user who wants some files back."""
        self.forget()
        self.close()
        self._backend = self._started(target, None)
        manager = self.manager()
        assert isinstance(manager, SnapshotStateManager)
        manager.restore(self.project_id, self._latest, self._backend.workspace, paths=[PART])


class Snapshots(Engine):
    """It on a bucket."""

    def manager(self) -> StateManager:
        import google.cloud.storage  # noqa: F401  # here, not in what is measured: it takes half a second

        from omniagents_gcs.state_manager import GCSStateManager

        return GCSStateManager("snapshots", leave_out=(), cache_directory=self.store / "cache")


class LocalSnapshots(Engine):
    """It on a directory of the same disk; nothing to wait for."""

    def manager(self) -> StateManager:
        from omniagents_snapshot.directory import DirectoryStateManager

        return DirectoryStateManager(self.store / "objects", leave_out=())


class GitBranch(Managed):
    """omniagents-git with a bare repository on the same disk; nothing to wait for."""

    def manager(self) -> StateManager:
        from omniagents_git.state_manager import GitStateManager

        repository = self.store / "remote.git"
        if not repository.exists():
            subprocess.run(["git", "init", "--quiet", "--bare", str(repository)], check=True)
        return GitStateManager(repository, leave_out=(), cache_directory=self.store / "cache", keep_secrets=True)


class BucketKeeper(Keeper):
    """Google's own client with a bucket of its name."""

    bucket = ""

    def __init__(self, workspace: Path, store: Path) -> None:
        super().__init__(workspace, store)
        from google.auth.credentials import AnonymousCredentials
        from google.cloud import storage

        client = storage.Client(project="bench", credentials=AnonymousCredentials())  # type: ignore[no-untyped-call]
        for scheme in ("http://", "https://"):
            client._http.mount(scheme, requests.adapters.HTTPAdapter(pool_maxsize=_CONNECTIONS))
        self._bucket: Any = client.bucket(self.bucket)


class TarZstd(BucketKeeper):
    """The whole directory again at every save, as one object: tar through zstd on all cores."""

    bucket = "tar"

    def save(self) -> None:
        compressor = zstandard.ZstdCompressor(level=ZSTD_LEVEL, threads=-1)
        command = ["tar", "-C", str(self.workspace), "-cf", "-", "."]
        path = self.store / "all.tar.zst"
        with subprocess.Popen(command, stdout=subprocess.PIPE) as tar, path.open("wb") as file:
            assert tar.stdout is not None
            compressor.copy_stream(tar.stdout, file)
        _check(tar)
        self._bucket.blob("all.tar.zst").upload_from_filename(str(path))
        path.unlink()

    def restore(self, target: Path) -> None:
        with subprocess.Popen(["tar", "-C", str(target), "-xpf", "-"], stdin=subprocess.PIPE) as tar:
            assert tar.stdin is not None
            with zstandard.ZstdDecompressor().stream_writer(tar.stdin) as plain:
                self._bucket.blob("all.tar.zst").download_to_file(plain, raw_download=True)
        _check(tar)


class Files(BucketKeeper):
    """An object for each file, by transfer_manager; a file that looks as before is not sent again, and what is stored
    carries neither modes nor links."""

    bucket = "files"

    def __init__(self, workspace: Path, store: Path) -> None:
        super().__init__(workspace, store)
        self._sent: dict[str, tuple[int, int]] = {}

    def save(self) -> None:
        from google.cloud.storage import transfer_manager

        seen: dict[str, tuple[int, int]] = {}
        for parent, _, files in os.walk(self.workspace):
            for path in (Path(parent, file) for file in files):
                if path.is_file() and not path.is_symlink():
                    status = path.stat()
                    seen[str(path.relative_to(self.workspace))] = (status.st_size, status.st_mtime_ns)
        changed = [name for name, looks in seen.items() if self._sent.get(name) != looks]
        done = transfer_manager.upload_many_from_filenames(
            self._bucket, changed, source_directory=str(self.workspace), worker_type="thread", max_workers=_CONNECTIONS
        )
        _raise_first(done)
        self._sent = seen

    def restore(self, target: Path) -> None:
        self._fetch(target, list(self._sent))

    def restore_part(self, target: Path) -> None:
        self._fetch(target, [name for name in self._sent if name.startswith(PART + "/")])

    def _fetch(self, target: Path, names: Sequence[str]) -> None:
        from google.cloud.storage import transfer_manager

        done = transfer_manager.download_many_to_path(
            self._bucket, names, destination_directory=str(target), worker_type="thread", max_workers=_CONNECTIONS
        )
        _raise_first(done)


class Rclone(Keeper):
    """A directory on the same disk kept equal to another, modes and links included."""

    def save(self) -> None:
        self._sync(self.workspace, self.store / "copy")

    def restore(self, target: Path) -> None:
        self._sync(self.store / "copy", target)

    def restore_part(self, target: Path) -> None:
        self._sync(self.store / "copy" / PART, target / PART)

    def _sync(self, source: Path, target: Path) -> None:
        options = ["--links", "--metadata", "--create-empty-src-dirs", "--config", "/dev/null", "--transfers", "8"]
        subprocess.run(["rclone", "sync", *options, str(source), str(target)], check=True)


class Restic(Keeper):
    """Debian's restic with a repository on the same disk; its cache lies beside it."""

    def __init__(self, workspace: Path, store: Path) -> None:
        super().__init__(workspace, store)
        self._run("init")

    def repository(self) -> str:
        return str(self.store / "repository")

    def save(self) -> None:
        self._run("backup", ".", cwd=self.workspace)

    def restore(self, target: Path) -> None:
        self._run("restore", "latest", "--target", str(target))

    def restore_part(self, target: Path) -> None:
        self._run("restore", "latest", "--target", str(target), "--include", f"/{PART}")

    def _run(self, *arguments: str, cwd: Path | None = None) -> None:
        command = ["restic", "--quiet", "--repo", self.repository(), "--cache-dir", str(self.store / "cache")]
        subprocess.run([*command, *arguments], cwd=cwd, env={**os.environ, "RESTIC_PASSWORD": "benchmark"}, check=True)


class RemoteRestic(Restic):
    """The same with a repository as far away as the bucket."""

    def repository(self) -> str:
        return os.environ[RESTIC_SERVER]


def _check(process: subprocess.Popen[bytes]) -> None:
    if process.returncode:
        raise SystemExit(f"{process.args!r} failed with {process.returncode}")


def _raise_first(results: Sequence[object]) -> None:
    for result in results:
        if isinstance(result, Exception):
            raise result


KEEPERS: dict[str, type[Keeper]] = {
    "omniagents, gcs": Snapshots,
    "omniagents, directory": LocalSnapshots,
    "omniagents, git": GitBranch,
    "restic, 40 ms away": RemoteRestic,
    "restic, disk": Restic,
    "tar + zstd, gcs": TarZstd,
    "object per file, gcs": Files,
}
if shutil.which("rclone"):
    KEEPERS["rclone, disk"] = Rclone
#: Those that do not bring everything back as it was.
LOSSY = frozenset({"object per file, gcs", "rclone, disk"})
