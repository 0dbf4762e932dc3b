"""The one thread that starts sandboxes.

The kernel sends a parent-death signal when the *thread* that forked ends, not the process: a
sandbox started by a worker thread of ours or of an event loop would die with it. This thread lives
as long as the process.

As root it also has a mount namespace of its own, in which directories are staged where an
unprivileged user can reach them: sandboxes run as another user than root, who may not walk through
``/root`` to a workspace there. Nothing is mounted in the host's own namespace.
"""

from __future__ import annotations

import atexit
import contextlib
import ctypes
import os
import queue
import stat
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import Any, ClassVar, TypeVar

__all__ = ["Spawner", "Stage"]

Value = TypeVar("Value")

# linux/sched.h, linux/mount.h
_CLONE_NEWNS = 0x00020000
_MS_BIND, _MS_REC, _MS_SLAVE = 4096, 1 << 14, 1 << 19
_MNT_DETACH = 2

_PLACE = "/tmp"  # not TMPDIR, which may itself be private
_PREFIX = "omniagents-stage-"


class Spawner:
    """Runs functions in the thread that never ends."""

    _current: ClassVar[Spawner | None] = None
    _lock: ClassVar[threading.Lock] = threading.Lock()

    def __init__(self) -> None:
        self._pid = os.getpid()
        self._work: queue.SimpleQueue[tuple[Future[Any], Callable[[], Any]]] = queue.SimpleQueue()
        #: Where root stages directories; use it within ``call`` only.
        self.stage = Stage()
        # A daemon: concurrent.futures' threads end before the exit handlers that still save workspaces.
        threading.Thread(target=self._run, daemon=True, name="omniagents-spawner").start()

    @classmethod
    def get(cls) -> Spawner:
        """This process's; a forked child has none of its parent's threads and gets another."""
        with cls._lock:
            if cls._current is None or cls._current._pid != os.getpid():
                cls._current = Spawner()
            return cls._current

    def call(self, function: Callable[[], Value]) -> Value:
        """Run ``function`` in the thread; its result or exception is the caller's."""
        future: Future[Value] = Future()
        self._work.put((future, function))
        return future.result()

    def _run(self) -> None:
        while True:
            future, function = self._work.get()
            try:
                future.set_result(function())
            except BaseException as error:
                future.set_exception(error)


# A lock that another thread holds while we fork stays locked in the child.
os.register_at_fork(after_in_child=lambda: setattr(Spawner, "_lock", threading.Lock()))


class Stage:
    """A directory that any user can reach, in a mount namespace of the current thread's own."""

    def __init__(self) -> None:
        self._directory = ""

    @contextlib.contextmanager
    def showing(self, sources: Sequence[str]) -> Iterator[list[str]]:
        """Paths at which ``sources`` (directories or files) can be reached meanwhile.

        Raises:
            OSError: One is not there, or this process may not mount.
        """
        if not self._directory:
            self._directory = _make_stage()
        with contextlib.ExitStack() as shown:
            yield [shown.enter_context(self._showing_one(source, slot)) for slot, source in enumerate(sources)]

    @contextlib.contextmanager
    def _showing_one(self, source: str, slot: int) -> Iterator[str]:
        is_directory = stat.S_ISDIR(os.stat(source).st_mode)
        # Used again and never removed: that would undo the mount in the namespaces of sandboxes that still start.
        target = os.path.join(self._directory, f"{'directory' if is_directory else 'file'}{slot}")
        if not os.path.lexists(target):
            os.mkdir(target) if is_directory else os.close(os.open(target, os.O_CREAT | os.O_WRONLY, 0o600))
        _mount(source, target, "", _MS_BIND | _MS_REC)
        try:
            yield target
        finally:
            _unmount(target)


def _make_stage() -> str:
    _sweep()
    directory = tempfile.mkdtemp(prefix=f"{_PREFIX}{os.getpid()}-", dir=_PLACE)
    atexit.register(_remove, directory, os.getpid())
    _check(_libc().unshare(_CLONE_NEWNS), directory)
    # Not shared: what is mounted here is not seen by the host. Slave: what the host mounts is seen here.
    _mount("", "/", "", _MS_REC | _MS_SLAVE)
    _mount("tmpfs", directory, "tmpfs", 0, "mode=711")
    return directory


def _sweep() -> None:
    """Remove the empty directories that killed processes of ours left."""
    for directory in Path(_PLACE).glob(f"{_PREFIX}*-*"):
        pid = directory.name.removeprefix(_PREFIX).partition("-")[0]
        if pid.isdigit() and not os.path.exists(f"/proc/{pid}"):
            _remove(str(directory), os.getpid())


def _remove(directory: str, pid: int) -> None:
    if os.getpid() == pid:
        with contextlib.suppress(OSError):
            os.rmdir(directory)


def _mount(source: str, target: str, kind: str, flags: int, data: str = "") -> None:
    texts = [os.fsencode(text) or None for text in (source, target, kind)]
    _check(_libc().mount(*texts, ctypes.c_ulong(flags), os.fsencode(data) or None), target)


def _unmount(target: str) -> None:
    _check(_libc().umount2(os.fsencode(target), _MNT_DETACH), target)


def _check(answer: int, path: str) -> None:
    if answer != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), path)


def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)
