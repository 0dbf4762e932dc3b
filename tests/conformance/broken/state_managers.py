"""State managers with one defect each."""

from __future__ import annotations

import contextlib
import dataclasses
import tarfile
import uuid
from collections.abc import Callable, Iterable, Sequence
from typing import Any, BinaryIO, ClassVar

import pytest

from omniagents import _ids
from omniagents.errors import SnapshotNotFoundError
from omniagents.records import FileInfo, ImportEntry
from omniagents.state import Snapshot
from omniagents.testing import StateManagerContract
from omniagents.workspace import Workspace
from omniagents_memory_state.state_manager import MemoryStateManager


class Proxy:
    """A workspace as a broken manager uses it."""

    def __init__(self, workspace: Workspace) -> None:
        self.workspace = workspace

    def __getattr__(self, name: str) -> Any:
        return getattr(self.workspace, name)


class ProxyManager(MemoryStateManager):
    """Reaches workspaces through ``proxy``."""

    proxy: type[Proxy] = Proxy

    def _around(self, workspace: Workspace) -> Workspace:
        around: Any = self.proxy(workspace)
        return around  # type: ignore[no-any-return]

    def load(self, project_id: str, workspace: Workspace) -> Snapshot | None:
        return super().load(project_id, self._around(workspace))

    def save(self, project_id: str, workspace: Workspace, message: str = "") -> Snapshot:
        return super().save(project_id, self._around(workspace), message)

    def restore(self, project_id: str, snapshot_id: str, workspace: Workspace) -> Snapshot:
        return super().restore(project_id, snapshot_id, self._around(workspace))


def altering(alter: Callable[[ImportEntry], ImportEntry | None]) -> type[MemoryStateManager]:
    """A manager that alters or leaves out (None) entries when it loads them."""

    class Altered(Proxy):
        def import_(self, entries: Iterable[ImportEntry], **options: Any) -> Sequence[FileInfo]:
            altered = [entry for entry in map(alter, entries) if entry is not None]
            return self.workspace.import_(altered, **options)

    return type("Altering", (ProxyManager,), {"proxy": Altered})


def with_info(entry: ImportEntry, **changes: Any) -> ImportEntry:
    return ImportEntry(entry.info._replace(**changes), entry.chunks)


class Broken(StateManagerContract):
    """The contract on one manager of ``manager_class``."""

    manager_class: type[MemoryStateManager]
    detects_conflicts = False
    survives_its_process = False

    @pytest.fixture
    def state_manager_factory(self) -> Callable[[], MemoryStateManager]:
        manager = self.manager_class()
        return lambda: manager


class TestFaithful(Broken):
    manager_class = ProxyManager


class TestLosesModes(Broken):
    manager_class = altering(lambda entry: with_info(entry, mode=0o755 if entry.info.kind == "directory" else 0o644))


class TestLosesTimes(Broken):
    manager_class = altering(lambda entry: with_info(entry, mtime_ns=entry.info.mtime_ns // 10**9 * 10**9))


class TestLosesDirectories(Broken):
    manager_class = altering(lambda entry: None if entry.info.kind == "directory" else entry)


class TestLosesLinks(Broken):
    manager_class = altering(lambda entry: None if entry.info.kind == "link" else entry)


class TestLosesHiddenFiles(Broken):
    manager_class = altering(lambda entry: None if entry.info.path.startswith(".") else entry)


class TestLosesOddNames(Broken):
    manager_class = altering(lambda entry: entry if entry.info.path.isascii() else None)


class TestLosesBytes(Broken):
    @staticmethod
    def _as_text(entry: ImportEntry) -> ImportEntry:
        content = b"".join(entry.chunks).decode("utf-8", "ignore").encode()
        return ImportEntry(entry.info._replace(size=len(content)), [content]) if entry.info.kind == "file" else entry

    manager_class = altering(_as_text)


class _Following(Proxy):
    def import_(self, entries: Iterable[ImportEntry], **options: Any) -> Sequence[FileInfo]:
        for entry in entries:
            if entry.info.kind == "file":
                self.workspace.write_bytes(
                    self.workspace.root + "/" + entry.info.path, b"".join(entry.chunks), outside=True
                )
        return []


class TestWritesThroughLinks(Broken):
    manager_class = type("Following", (ProxyManager,), {"proxy": _Following})


class _Leaving(Proxy):
    def import_(self, entries: Iterable[ImportEntry], **options: Any) -> Sequence[FileInfo]:
        return self.workspace.import_(entries)


class TestLeavesWhatIsTooMuch(Broken):
    manager_class = type("Leaving", (ProxyManager,), {"proxy": _Leaving})


class _Obeying(Proxy):
    def scan(self, path: str = ".", **options: Any) -> Any:
        return self.workspace.scan(path, **{**options, "exclude_file": ".gitignore"})


class TestObeysGitIgnore(Broken):
    manager_class = type("Obeying", (ProxyManager,), {"proxy": _Obeying})


class TestMixesProjects(Broken):
    class manager_class(ProxyManager):  # noqa: N801
        def load(self, project_id: str, workspace: Workspace) -> Snapshot | None:
            return super().load(project_id.replace("_", "-"), workspace)

        def save(self, project_id: str, workspace: Workspace, message: str = "") -> Snapshot:
            snapshot = super().save(project_id.replace("_", "-"), workspace, message)
            return dataclasses.replace(snapshot, project_id=project_id)


class TestTellsHistoryOldestFirst(Broken):
    class manager_class(ProxyManager):  # noqa: N801
        def history(self, project_id: str) -> Sequence[Snapshot]:
            return super().history(project_id)[::-1]


class TestTellsLocalTimes(Broken):
    class manager_class(ProxyManager):  # noqa: N801
        def history(self, project_id: str) -> Sequence[Snapshot]:
            return [
                dataclasses.replace(snapshot, created_at=snapshot.created_at.astimezone().replace(tzinfo=None))
                for snapshot in super().history(project_id)
            ]


class TestSavesWhatHasNotChanged(Broken):
    class manager_class(ProxyManager):  # noqa: N801
        def save(self, project_id: str, workspace: Workspace, message: str = "") -> Snapshot:
            return dataclasses.replace(super().save(project_id, workspace, message), id=uuid.uuid4().hex)


class TestRestoresSomething(Broken):
    class manager_class(ProxyManager):  # noqa: N801
        def restore(self, project_id: str, snapshot_id: str, workspace: Workspace) -> Snapshot:
            try:
                return super().restore(project_id, snapshot_id, workspace)
            except SnapshotNotFoundError:
                return super().restore(project_id, self.history(project_id)[0].id, workspace)


class TestForgetsNothing(Broken):
    class manager_class(ProxyManager):  # noqa: N801
        def delete(self, project_id: str) -> None:
            """Nothing is removed."""


class TestLosesAllByAFailedSave(Broken):
    class manager_class(ProxyManager):  # noqa: N801
        def save(self, project_id: str, workspace: Workspace, message: str = "") -> Snapshot:
            with contextlib.ExitStack() as failed:
                failed.callback(lambda: MemoryStateManager.delete(self, project_id))
                snapshot = super().save(project_id, workspace, message)
                failed.pop_all()
            return snapshot


class TestOverwritesOtherWriters(Broken):
    manager_class = ProxyManager
    detects_conflicts = True


class TestForgetsWithItsProcess(Broken):
    manager_class = ProxyManager
    survives_its_process = True


class TestBelievesItsClock(Broken):
    class manager_class(ProxyManager):  # noqa: N801
        def save(self, project_id: str, workspace: Workspace, message: str = "") -> Snapshot:
            saved = dataclasses.replace(super().save(project_id, workspace, message), created_at=_ids.utc_now())
            self._saved = [*getattr(self, "_saved", []), saved]
            return saved

        def history(self, project_id: str) -> Sequence[Snapshot]:
            return sorted(getattr(self, "_saved", []), key=lambda one: one.created_at, reverse=True)


class TestHasNoLimits(Broken):
    manager_class = ProxyManager
    quota_options: ClassVar[dict[str, Any]] = {}

    @pytest.fixture
    def state_manager_factory(self) -> Callable[..., MemoryStateManager]:
        manager = self.manager_class()
        return lambda **options: manager


class TestExportsNothing(Broken):
    class manager_class(ProxyManager):  # noqa: N801
        def export(self, project_id: str, snapshot_id: str, file: BinaryIO, **options: Any) -> Snapshot:
            with tarfile.open(fileobj=file, mode="w"):
                return self.history(project_id)[0]
