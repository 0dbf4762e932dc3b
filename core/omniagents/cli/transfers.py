"""Progress of long loads and saves, seen from the workspace: how many entries and bytes have passed."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, BinaryIO

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TaskID, TextColumn

from omniagents.cli.output import console, human_size
from omniagents.records import ExportedEntry, FileInfo, ImportEntry
from omniagents.state.base import Snapshot, StateManager
from omniagents.workspace import Workspace

__all__ = ["CountedFile", "ReportingStateManager", "bars", "working"]

# What is done sooner needs no progress bar.
_PATIENCE_SECONDS = 1.0

_WORDS = {
    "scan": "looking",
    "read": "reading",
    "store": "storing",
    "write": "writing",
    "check": "checking",
    "repack": "repacking",
}

Report = Callable[[int, int], None]


class ReportingStateManager(StateManager):
    """Another manager, with a progress line on a terminal's stderr while it moves much."""

    def __init__(self, inner: StateManager) -> None:
        self.inner = inner
        self.keeps_snapshots = inner.keeps_snapshots

    def load(self, project_id: str, workspace: Workspace) -> Snapshot | None:
        with bars(self.inner) as are_shown, _Line("loading") as line:
            return self.inner.load(project_id, workspace if are_shown else _Watched(workspace, line))

    def save(self, project_id: str, workspace: Workspace, message: str = "") -> Snapshot:
        with bars(self.inner) as are_shown, _Line("saving") as line:
            return self.inner.save(project_id, workspace if are_shown else _Watched(workspace, line), message)

    def restore(
        self, project_id: str, snapshot_id: str, workspace: Workspace, *, paths: Sequence[str] | None = None
    ) -> Snapshot:
        part = {} if paths is None else {"paths": paths}
        with bars(self.inner) as are_shown, _Line("restoring") as line:
            seen = workspace if are_shown else _Watched(workspace, line)
            return self.inner.restore(project_id, snapshot_id, seen, **part)

    def history(self, project_id: str) -> Sequence[Snapshot]:
        return self.inner.history(project_id)

    def delete(self, project_id: str) -> None:
        self.inner.delete(project_id)


# One thing at a time is shown: checkpoints are also made in the background.
_screen_lock = threading.Lock()


@contextmanager
def bars(manager: StateManager) -> Iterator[bool]:
    """Progress bars on a terminal's stderr for a manager that says how far it is (``progress``); whether there are."""
    screen = console(stderr=True)
    if not screen.is_terminal or not hasattr(manager, "progress") or not _screen_lock.acquire(blocking=False):
        yield False
        return
    telling: Any = manager
    before, shown = telling.progress, _Bars(screen)
    telling.progress = shown.take
    try:
        yield True
    finally:
        telling.progress = before
        shown.stop()
        _screen_lock.release()


@contextmanager
def working(doing: str) -> Iterator[Callable[[int], None]]:
    """A line on a terminal's stderr while something is done; takes the number of bytes done so far."""
    with _Line(doing) as line:
        yield line.show_bytes


class CountedFile:
    """A file that is written; ``show`` is told how many bytes so far."""

    def __init__(self, file: BinaryIO, show: Callable[[int], None]) -> None:
        self._file = file
        self._show = show
        self._count = 0

    def write(self, data: bytes) -> int:
        written = self._file.write(data)
        self._count += written
        self._show(self._count)
        return written

    def flush(self) -> None:
        self._file.flush()


class _Bars:
    """A bar for the phase that is under way."""

    def __init__(self, screen: Console) -> None:
        text = TextColumn("{task.description}", markup=False)
        self._progress = Progress(SpinnerColumn(), text, BarColumn(), console=screen, transient=True)
        self._started = time.monotonic()
        self._task: TaskID | None = None

    def take(self, now: Any) -> None:
        """Show one moment, as ``Progress`` of a snapshot manager describes it."""
        if self._task is None:
            if time.monotonic() - self._started < _PATIENCE_SECONDS:
                return
            self._progress.start()
            self._task = self._progress.add_task("")
        files = f"{now.files:,}" + (f" of {now.total_files:,}" if now.total_files else "")
        size = human_size(now.bytes) + (f" of {human_size(now.total_bytes)}" if now.total_bytes else "")
        word = _WORDS.get(now.phase, now.phase)
        self._progress.update(
            self._task, description=f"{word}: {files}, {size}", completed=now.bytes, total=now.total_bytes or None
        )

    def stop(self) -> None:
        if self._task is not None:
            self._progress.stop()


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

    def show_bytes(self, count: int) -> None:
        """So many bytes have passed by now."""
        self._bytes = count
        self._show()

    def _show(self) -> None:
        if self._progress is None or time.monotonic() - self._started < _PATIENCE_SECONDS:
            return
        if not self._is_shown:
            self._is_shown = True
            self._task = self._progress.add_task(self._doing)
            self._progress.start()
        of = f" of {self.total:,}" if self.total else ""
        files = f"{self._entries:,}{of} files, " if self._entries else ""
        self._progress.update(self._task, description=f"{self._doing}: {files}{human_size(self._bytes)}")
