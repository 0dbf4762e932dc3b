"""Starting a program without copying this process: the child borrows our memory until it has become the program.

Each command's first process has to make itself a subreaper before it runs anything. With ``subprocess`` that
is Python code between fork and exec, and the fork then copies the page tables of a whole interpreter:
milliseconds. Here the child is made with ``CLONE_VM | CLONE_VFORK``, as vfork(2) does, and makes a prepared list
of system calls, the last of which is execve. That takes a hundred bytes of machine code, as only code that uses no
stack is safe in such a child. Where they cannot be had (another architecture, no ctypes, no executable memory),
``subprocess`` does the same, more slowly.
"""

from __future__ import annotations

import contextlib
import errno
import functools
import os
import signal
import sys
from typing import Any, Callable, Dict, List, NamedTuple, Tuple

from . import kernel

__all__ = ["MACHINES", "Machine", "Program", "spawn"]


class Program(NamedTuple):
    """What is to run.

    Attributes:
        name: Its path, absolute or relative to ``directory``; without a slash, it is looked for on ``environment``'s
            PATH.
        streams: Our descriptors that become its standard input, output and error.
        kept: Our descriptors that stay open in it under the same numbers; all others are closed.
    """

    name: str
    argv: List[str]
    directory: str
    environment: Dict[str, str]
    streams: Tuple[int, int, int]
    kept: Tuple[int, ...]


class Machine(NamedTuple):
    """The numbers of an architecture's system calls (asm/unistd.h), and a function in its machine code.

    ``code`` is assembled from ``spawning_<architecture>.s``, which says what it does.
    """

    code: bytes
    rt_sigaction: int
    rt_sigprocmask: int
    dup3: int
    fcntl: int
    chdir: int
    setsid: int
    prctl: int
    execve: int


MACHINES = {
    "x86_64": Machine(
        bytes.fromhex(
            "f30f1efa4989f9bf1141000031f6b8380000000f054885c07401c3498d5910488b03488b7b08488b7310488b53184c8b53204c8b"
            "43280f05483d01f0ffff73064883c338ebd948837b300075f349890149895908bf7f000000b8e70000000f05f4"
        ),
        rt_sigaction=13, rt_sigprocmask=14, dup3=292, fcntl=72, chdir=80, setsid=112, prctl=157, execve=59,
    ),
    "aarch64": Machine(
        bytes.fromhex(
            "5f2403d5e90300aa202288d2010080d2881b80d2010000d4400000b4c0035fd62a410091480140a9410941a9431142a9010000d4"
            "1ffc3fb1620000544ae10091f9ffff174b1940f9abffffb5202900a9e00f80d2c80b80d2010000d4000020d4"
        ),
        rt_sigaction=134, rt_sigprocmask=135, dup3=24, fcntl=25, chdir=49, setsid=157, prctl=167, execve=221,
    ),
}  # fmt: skip

_REPORT_WORDS = 2
_F_SETFD = 2  # asm-generic/fcntl.h
# sys/mman.h
_PROT_READ_EXEC = 0x1 | 0x4
_MAP_PRIVATE = 0x2
_WORD_BYTES = 8


def spawn(program: Program, become: Callable[[], None] | None = None) -> int:
    """Start a program as the leader of its own session, and as a subreaper that dies with this thread.

    Args:
        become: What the child does first, such as changing its user; this process is copied for that.

    Returns:
        Its pid; waiting for it is the caller's.

    Raises:
        OSError: It cannot be started; ``filename`` is the directory if that is why.
        ValueError: A text with a NUL character, or an impossible name of a variable.
    """
    spawner = _spawner() if become is None else None
    # One that is a standard stream already would be in the way of the others.
    if spawner is None or min(program.streams) < len(program.streams):
        return _spawn_copy(program, become)
    return spawner.spawn(program)


def _spawn_copy(program: Program, become: Callable[[], None] | None) -> int:
    import subprocess  # slow to import, and rarely needed

    def settle() -> None:
        if become is not None:
            become()
        # After a change of user, which clears it (prctl(2)).
        kernel.subreaper()
        kernel.die_with_parent()
        for number in _resettable():
            signal.signal(number, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_SETMASK, ())

    try:
        popen = subprocess.Popen(
            program.argv,
            executable=program.name,
            cwd=program.directory,
            env=program.environment,
            stdin=program.streams[0],
            stdout=program.streams[1],
            stderr=program.streams[2],
            pass_fds=program.kept,
            start_new_session=True,
            preexec_fn=settle,
        )
    except subprocess.SubprocessError as error:
        raise OSError(errno.EPERM, "the user cannot be changed: %s" % error, program.name) from error
    popen.returncode = 0  # it is not the one who waits
    return popen.pid


@functools.lru_cache(maxsize=None)
def _spawner() -> _Spawner | None:
    """What starts programs without copying this process; None where that cannot be done."""
    machine = MACHINES.get(os.uname().machine)
    if machine is None or sys.platform != "linux" or sys.maxsize < 2**32 or not hasattr(os, "memfd_create"):
        return None
    null = os.open(os.devnull, os.O_RDWR)
    try:
        spawner = _Spawner(machine)
        # An emulator may make the child a copy, which could not report why it fails.
        os.waitpid(spawner.spawn(Program("/dev/null/", [], "/", {}, (null, null, null), ())), 0)
    except NotADirectoryError:
        return spawner
    except (ImportError, OSError, AttributeError):
        return None  # no ctypes, or no executable memory
    finally:
        os.close(null)
    return None


class _Spawner:
    def __init__(self, machine: Machine) -> None:
        import ctypes

        library = ctypes.CDLL(None)
        self._machine = machine
        self._ctypes: Any = ctypes
        self._start = ctypes.CFUNCTYPE(ctypes.c_long, ctypes.c_void_p)(_executable(machine.code, library, ctypes))
        self._set_mask = library.pthread_sigmask
        set_of_signals = ctypes.c_uint64 * 16  # glibc's and musl's
        self._set_of_signals, self._all = set_of_signals, set_of_signals(*[2**64 - 1] * 16)
        # No signals, and an action that is the default.
        self._zeros = (ctypes.c_uint64 * 4)()
        for name in os.listdir("/proc/self/fd"):
            # Python's own are not inherited; those that this process was started with may be.
            if int(name) > 2:
                with contextlib.suppress(OSError):  # the listing's own
                    os.set_inheritable(int(name), False)

    def spawn(self, program: Program) -> int:
        ctypes = self._ctypes
        texts = _texts(program, _found(program))
        pointers = (ctypes.c_char_p * len(texts))(*texts)
        path, directory = (ctypes.c_uint64 * 2).from_buffer(pointers)
        arguments = ctypes.addressof(pointers) + 2 * _WORD_BYTES
        variables = arguments + (len(program.argv) + 1) * _WORD_BYTES
        calls = self._calls(program, directory)
        calls += [self._machine.execve, path, arguments, variables, 0, 0, 0]
        table = (ctypes.c_uint64 * (_REPORT_WORDS + len(calls)))(0, 0, *calls)
        previous = self._set_of_signals()
        self._set_mask(signal.SIG_SETMASK, self._all, previous)
        try:
            pid: int = self._start(ctypes.addressof(table))
        finally:
            self._set_mask(signal.SIG_SETMASK, previous, None)
        if pid < 0:
            raise OSError(-pid, os.strerror(-pid))
        if table[0]:
            os.waitpid(pid, 0)
            failed, number = table[(table[1] - ctypes.addressof(table)) // _WORD_BYTES], 2**64 - table[0]
            raise OSError(
                number, os.strerror(number), program.directory if failed == self._machine.chdir else program.name
            )
        return pid

    def _calls(self, program: Program, directory: int) -> List[int]:
        """What the child does before it becomes the program, seven words for each system call."""
        machine, zeros = self._machine, self._ctypes.addressof(self._zeros)
        calls = []
        # Our handlers must not run in the child.
        for number in _resettable():
            calls += [machine.rt_sigaction, number, zeros, 0, 8, 0, 0]
        calls += [machine.setsid, 0, 0, 0, 0, 0, 0]
        calls += [machine.prctl, kernel.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0, 1]
        calls += [machine.prctl, kernel.PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0, 1]
        for number, stream in enumerate(program.streams):
            calls += [machine.dup3, stream, number, 0, 0, 0, 0]
        for kept in program.kept:
            calls += [machine.fcntl, kept, _F_SETFD, 0, 0, 0, 0]
        calls += [machine.chdir, directory, 0, 0, 0, 0, 0]
        calls += [machine.rt_sigprocmask, signal.SIG_SETMASK, zeros, 0, 8, 0, 0]
        return calls


def _found(program: Program) -> str:
    """The program's path, as execvp(3) finds it."""
    if "/" in program.name:
        return program.name
    entries = (program.environment.get("PATH") or os.defpath).split(os.pathsep)
    candidates = [os.path.join(program.directory, entry, program.name) for entry in entries]
    for candidate in candidates:
        if os.path.isfile(candidate) and os.access(candidate, os.X_OK):
            return candidate
    number = errno.EACCES if any(map(os.path.exists, candidates)) else errno.ENOENT
    raise OSError(number, os.strerror(number), program.name)


def _texts(program: Program, path: str) -> List[bytes | None]:
    """Path, directory, argv and environment as the kernel takes them."""
    words = [path, program.directory, *program.argv]
    pairs = ["%s=%s" % pair for pair in program.environment.items()]
    if any("=" in name or not name for name in program.environment):
        raise ValueError("illegal environment variable name")
    if any("\0" in text for text in words + pairs):
        raise ValueError("embedded null byte")
    return [*map(os.fsencode, words), None, *map(os.fsencode, pairs), None]


@functools.lru_cache(maxsize=None)
def _resettable() -> List[int]:
    """Signals whose action a program must not inherit: what is ignored here would be ignored there."""
    return sorted(signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP})


def _executable(code: bytes, library: Any, ctypes: Any) -> int:
    """The address of a copy of ``code`` that can be run and not changed."""
    fd = os.memfd_create("spawn")
    try:
        os.write(fd, code)
        library.mmap.restype = ctypes.c_void_p
        library.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, *[ctypes.c_int] * 3, ctypes.c_long]
        address: int = library.mmap(None, len(code), _PROT_READ_EXEC, _MAP_PRIVATE, fd, 0)
    finally:
        os.close(fd)
    if address == 2**64 - 1:
        raise OSError("no executable memory")
    return address
