"""Progress of long loads and saves, seen from the workspace: how many entries and bytes have passed."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence

from rich.progress import Progress, SpinnerColumn, TextColumn

from omniagents.cli.output import console, human_size
from omniagents.records import ExportedEntry, FileInfo, ImportEntry
from omniagents.state.base import Snapshot, StateManager
from omniagents.workspace import Workspace

__all__ = ["ReportingStateManager"]

# What is done sooner needs no progress bar.
_PATIENCE_SECONDS = 1.0

Report = Callable[[int, int], None]


class ReportingStateManager(StateManager):
    """Another manager, with a progress line on a terminal's stderr while it moves much."""

    def __init__(self, inner: StateManager) -> None:
        self.inner = inner
        self.keeps_snapshots = inner.keeps_snapshots

    def load(self, project_id: str, workspace: Workspace) -> Snapshot | None:
        with _Line("loading") as line:
            return self.inner.load(project_id, _Watched(workspace, line))

    def save(self, project_id: str, workspace: Workspace, message: str = "") -> Snapshot:
        with _Line("saving") as line:
            return self.inner.save(project_id, _Watched(workspace, line), message)

    def restore(self, project_id: str, snapshot_id: str, workspace: Workspace) -> Snapshot:
        with _Line("restoring") as line:
            return self.inner.restore(project_id, snapshot_id, _Watched(workspace, line))

    def history(self, project_id: str) -> Sequence[Snapshot]:
        return self.inner.history(project_id)

    def delete(self, project_id: str) -> None:
        self.inner.delete(project_id)


class _Watched(Workspace):
    """The same workspace; what is streamed out of it and into it is counted."""

    def __init__(self, workspace: Workspace, line: _Line) -> None:
        super().__init__(workspace._link, workspace.root)
        self._line = line

    def export(self, paths: Sequence[str]) -> Iterator[ExportedEntry]:
        self._line.total = len(paths)
        for entry in super().export(paths):
            entry.chunks = self._line.counted(entry.chunks)
            yield entry
            self._line.one_more()

    def import_(self, entries: Iterable[ImportEntry], *, remove: Sequence[str] = ()) -> Sequence[FileInfo]:
        return super().import_(map(self._counted, entries), remove=remove)

    def _counted(self, entry: ImportEntry) -> ImportEntry:
        self._line.one_more()
        return ImportEntry(entry.info, self._line.counted(entry.chunks))


class _Line:
    """One line that appears on a terminal once the work has taken a while, and goes with it."""

    def __init__(self, doing: str) -> None:
        self.total = 0
        self._doing = doing
        self._entries = self._bytes = 0
        self._started = time.monotonic()
        screen = console(stderr=True)
        columns = (SpinnerColumn(), TextColumn("{task.description}", markup=False))
        self._progress = Progress(*columns, console=screen, transient=True) if screen.is_terminal else None
        self._is_shown = False

    def __enter__(self) -> _Line:
        return self

    def __exit__(self, *error: object) -> None:
        if self._progress is not None and self._is_shown:
            self._progress.stop()

    def counted(self, chunks: Iterable[bytes]) -> Iterator[bytes]:
        for chunk in chunks:
            self._bytes += len(chunk)
            self._show()
            yield chunk

    def one_more(self) -> None:
        self._entries += 1
        self._show()

    def _show(self) -> None:
        if self._progress is None or time.monotonic() - self._started < _PATIENCE_SECONDS:
            return
        if not self._is_shown:
            self._is_shown = True
            self._task = self._progress.add_task(self._doing)
            self._progress.start()
        of = f" of {self.total:,}" if self.total else ""
        self._progress.update(
            self._task, description=f"{self._doing}: {self._entries:,}{of} files, {human_size(self._bytes)}"
        )
