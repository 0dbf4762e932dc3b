"""The few things the standard library has no words for: prctl, and who is whose child."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import time
from typing import Callable, Dict, List, Set, Tuple

__all__ = [
    "PR_SET_CHILD_SUBREAPER",
    "PR_SET_PDEATHSIG",
    "children",
    "descendants",
    "die_with_parent",
    "end_children",
    "is_alive",
    "kill_tree",
    "process_start",
    "protect_guest",
    "reap",
    "session",
    "subreaper",
    "sweep",
]

_DYING_CHECK_SECONDS = 0.002
_IS_LINUX = sys.platform == "linux"

# linux/prctl.h
PR_SET_PDEATHSIG = 1
_PR_SET_DUMPABLE = 4
PR_SET_CHILD_SUBREAPER = 36

# bits/waitflags.h: children of this thread only. Search workers are forked, and waited for, by other threads.
_WNOTHREAD = 0x20000000 if _IS_LINUX else 0


def _load_prctl() -> Callable[[int, int], int]:
    if not _IS_LINUX:
        return lambda option, value: -1
    try:
        import ctypes

        function = ctypes.CDLL(None).prctl
    except (ImportError, OSError, AttributeError):
        # A minimal Python without ctypes: the caller learns from -1 that the kernel was not told.
        return lambda option, value: -1
    return lambda option, value: int(function(option, value, 0, 0, 0))


_prctl = _load_prctl()


def subreaper() -> bool:
    """Make orphaned descendants of this process its children; false where the system cannot."""
    return _prctl(PR_SET_CHILD_SUBREAPER, 1) == 0


def die_with_parent() -> None:
    """Have the kernel kill this process when the thread that forked it ends."""
    _prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def protect_guest() -> None:
    """Close ``/proc/<guest>/fd`` and ptrace to other processes of the same user: nobody else writes our frames."""
    _prctl(_PR_SET_DUMPABLE, 0)


def process_start(pid: int) -> str:
    """When a process started, as an opaque text; with the pid it names one process for good. Empty if there is none."""
    try:
        with open("/proc/%d/stat" % pid, "rb") as file:
            return file.read().rpartition(b")")[2].split()[19].decode()  # field 22 of proc_pid_stat(5)
    except (OSError, IndexError):
        return ""


def _everyone() -> List[Tuple[int, int, bool]]:
    """(pid, parent, is zombie) of every process that can be seen."""
    if not _IS_LINUX:
        import subprocess

        listing = subprocess.run(["ps", "-A", "-o", "pid=,ppid=,stat="], stdout=subprocess.PIPE, check=False).stdout
        rows = [line.split() for line in listing.splitlines()]
        return [(int(row[0]), int(row[1]), row[2].startswith(b"Z")) for row in rows if len(row) == 3]
    found = []
    for name in os.listdir("/proc"):
        if not name.isdigit():
            continue
        try:
            with open("/proc/%s/stat" % name, "rb") as file:
                fields = file.read().rpartition(b")")[2].split()
        except OSError:
            continue  # it ended between the listing and here
        found.append((int(name), int(fields[1]), fields[0] == b"Z"))
    return found


def children() -> Set[int]:
    """Living processes whose parent is this process's main thread: started, or adopted when orphaned."""
    own = os.getpid()
    try:
        with open("/proc/%d/task/%d/children" % (own, own), "rb") as file:
            pids = {int(pid) for pid in file.read().split()}
    except OSError:
        return {pid for pid, parent, is_zombie in _everyone() if parent == own and not is_zombie}
    return {pid for pid in pids if is_alive(pid)}


def is_alive(pid: int) -> bool:
    """Whether there is such a process and it has not ended; a zombie has."""
    if not _IS_LINUX:
        return any(pid == other and not is_zombie for other, _, is_zombie in _everyone())
    try:
        with open("/proc/%d/stat" % pid, "rb") as file:
            return file.read().rpartition(b")")[2].split()[0] != b"Z"
    except OSError:
        return False


def session(pid: int) -> int:
    """The session a process belongs to; 0 if it is gone."""
    try:
        return os.getsid(pid)
    except OSError:
        return 0


def descendants(*roots: int) -> Set[int]:
    """Everything alive below ``roots``; the roots themselves are not included."""
    below: Dict[int, List[Tuple[int, bool]]] = {}
    for pid, parent, is_zombie in _everyone():
        below.setdefault(parent, []).append((pid, is_zombie))
    found: Set[int] = set()
    pending = list(roots)
    while pending:
        for pid, is_zombie in below.get(pending.pop(), ()):
            if not is_zombie:
                found.add(pid)
            pending.append(pid)
    return found


def kill_tree(*roots: int) -> Set[int]:
    """Kill ``roots`` and everything below them, however fast it forks.

    Everything is stopped first, until no process appears that was not: a stopped process cannot
    fork, and a stopped parent keeps its children findable. The roots die last.

    Returns:
        All that was killed. It may take a moment to die; a setuid program of another user may not be killed at all.
    """
    stopped: Set[int] = set()
    fresh = set(roots)
    while fresh:
        for pid in fresh:
            _signal(pid, signal.SIGSTOP)
        stopped |= fresh
        fresh = descendants(*roots) - stopped
    for pid in stopped - set(roots):
        _signal(pid, signal.SIGKILL)
    for root in roots:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(root, signal.SIGKILL)  # where orphans cannot be followed, their group still can
        _signal(root, signal.SIGKILL)
    return stopped


def end_children(most_seconds: float) -> None:
    """Kill and reap every child of this thread, orphans that become its children on the way included.

    Args:
        most_seconds: When to give up: a setuid program of another user cannot be killed, nor what hangs in the kernel.
    """
    end = time.monotonic() + most_seconds
    while True:
        living = children()
        if not living or time.monotonic() > end:
            return
        kill_tree(*living)
        time.sleep(_DYING_CHECK_SECONDS)
        reap()


def _signal(pid: int, number: int) -> None:
    # Gone already is what was wanted; a setuid program of another user is not ours to kill.
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.kill(pid, number)


def reap() -> List[Tuple[int, int]]:
    """(pid, wait status) of every child of this thread that has ended."""
    ended: List[Tuple[int, int]] = []
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG | _WNOTHREAD)
        except ChildProcessError:
            return ended
        if not pid:
            return ended
        ended.append((pid, status))


def sweep(marker: bytes, previous: Tuple[int, str] | None) -> None:
    """Kill what an earlier guest of this session left: itself if it hangs, and whoever has ``marker`` as a variable."""
    if previous is not None and previous[1] and process_start(previous[0]) == previous[1]:
        _signal(previous[0], signal.SIGKILL)
    own = os.getpid()
    for pid, _, is_zombie in _everyone():
        if is_zombie or pid == own:
            continue
        try:
            with open("/proc/%d/environ" % pid, "rb") as file:
                is_ours = marker in file.read().split(b"\0")
        except OSError:
            continue  # another user's, or gone
        if is_ours:
            _signal(pid, signal.SIGKILL)
