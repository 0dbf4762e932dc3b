"""From a request to a started process: its argv, directory, environment, user and pipes."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from typing import Any, Callable, List, Mapping, NamedTuple, Tuple

from . import kernel
from .failure import GuestFailure, failure_of_os_error
from .root import Root, display

__all__ = ["Launched", "launch", "shell", "which"]

# Linux refuses a single argument over 128 KiB (MAX_ARG_STRLEN, execve(2)); longer scripts go through a file.
_MAX_SCRIPT_ARGUMENT = 100_000
_PIPE_BYTES = 1 << 18
_F_SETPIPE_SZ = 1031  # linux/fcntl.h; the fcntl module has it from Python 3.10


class Launched(NamedTuple):
    """A running process and our ends of its pipes; ``stdin`` is None where it reads end-of-file at once."""

    popen: subprocess.Popen[bytes]
    stdin: int | None
    outputs: Tuple[Tuple[int, int], ...]


def which(program: str, path: str) -> str | None:
    """The first executable file of this name on ``path``; ``shutil.which`` without its costly import."""
    for directory in path.split(os.pathsep):
        candidate = os.path.join(directory, program)
        if os.path.isfile(candidate) and os.access(candidate, os.X_OK):
            return candidate
    return None


def shell(path: str) -> str:
    """``bash`` if the environment has it, else ``sh``."""
    return which("bash", path) or which("sh", path) or "/bin/sh"


def launch(root: Root, arguments: Mapping[str, Any], inherited: Mapping[str, str], has_input: bool) -> Launched:
    """Start the process a ``run`` request asks for, as the leader of its own session.

    Args:
        arguments: ``command`` (str: shell, list: argv), ``cwd``, ``outside``, ``env``, ``user``, ``merge``.
        inherited: What every process of this environment gets; ``env`` adds to it, a null removes.
        has_input: Whether bytes for its standard input will follow.

    Raises:
        GuestFailure: No such directory or program, no such user, or the environment's limit on processes.
    """
    directory = _directory(root, arguments)
    environment = {**inherited, **(arguments.get("env") or {})}
    environment = {name: value for name, value in environment.items() if value is not None}
    become = _identity(arguments.get("user"))
    argv, script = _argv(arguments["command"], environment.get("PATH") or os.defpath)
    ours, theirs = _pipes(has_input, bool(arguments.get("merge")))
    try:
        popen = subprocess.Popen(
            argv,
            cwd=directory,
            env=environment,
            stdin=theirs[0],
            stdout=theirs[1],
            stderr=theirs[2],
            pass_fds=(script,) if script is not None else (),
            start_new_session=True,
            preexec_fn=become,
        )
    except (OSError, ValueError, subprocess.SubprocessError) as error:
        for fd in ours:
            if fd is not None:
                os.close(fd)
        raise _refusal(error, argv, directory) from error
    finally:
        for fd in {fd for fd in (*theirs, script) if fd is not None and fd >= 0}:
            os.close(fd)
    outputs = tuple((fd, stream) for stream, fd in ((1, ours[1]), (2, ours[2])) if fd is not None)
    return Launched(popen, ours[0], outputs)


def _directory(root: Root, arguments: Mapping[str, Any]) -> str:
    named = arguments.get("cwd") or "."
    directory = root.resolve(named, outside=bool(arguments.get("outside")))
    if not os.path.exists(directory):
        raise GuestFailure(
            "FILE_NOT_FOUND",
            "directory %s does not exist; create it first or use another one" % display(named),
            path=named,
            error_number=errno.ENOENT,
        )
    if not os.path.isdir(directory):
        raise GuestFailure(
            "NOT_A_DIRECTORY",
            "%s is a file; the directory to run in is needed" % display(named),
            path=named,
            error_number=errno.ENOTDIR,
        )
    return directory


def _argv(command: str | List[str], path: str) -> Tuple[List[str], int | None]:
    if not isinstance(command, str):
        if not command:
            raise GuestFailure("INVALID_ARGUMENTS", "an empty command")
        return command, None
    if len(command) <= _MAX_SCRIPT_ARGUMENT:
        return [shell(path), "-c", command], None
    script = os.memfd_create("command", 0) if hasattr(os, "memfd_create") else _unnamed_file()
    data = memoryview(os.fsencode(command))
    while data:
        data = data[os.write(script, data) :]
    os.lseek(script, 0, os.SEEK_SET)
    return [shell(path), "/dev/fd/%d" % script], script


def _unnamed_file() -> int:
    import tempfile

    with tempfile.TemporaryFile() as file:
        return os.dup(file.fileno())


def _pipes(has_input: bool, merge: bool) -> Tuple[List[int | None], List[int]]:
    """Our ends and the process's, each for standard input, output and error."""
    ours: List[int | None] = [None, None, None]
    theirs = [subprocess.DEVNULL, 0, subprocess.STDOUT]
    if has_input:
        theirs[0], ours[0] = os.pipe()
    for stream in (1,) if merge else (1, 2):
        ours[stream], theirs[stream] = os.pipe()
        _widen(theirs[stream])
    return ours, theirs


def _widen(fd: int) -> None:
    if sys.platform != "linux":
        return
    import fcntl

    try:
        fcntl.fcntl(fd, _F_SETPIPE_SZ, _PIPE_BYTES)
    except OSError:
        return  # over the user's quota of pipe pages: the default size works too


def _identity(user: str | None) -> Callable[[], None]:
    """What the child does to itself between fork and exec."""
    if user is None:

        def settle() -> None:
            kernel.subreaper()
            kernel.die_with_parent()

        return settle
    import pwd

    try:
        account = pwd.getpwuid(int(user)) if user.isdigit() else pwd.getpwnam(user)
    except KeyError:
        raise GuestFailure("INVALID_ARGUMENTS", "the environment has no user %r" % user) from None
    if os.geteuid() not in (0, account.pw_uid):
        raise GuestFailure(
            "PERMISSION_DENIED",
            "only root can run a command as %r; this environment runs as uid %d" % (user, os.geteuid()),
            error_number=errno.EPERM,
        )

    def switch() -> None:
        if os.geteuid() == 0:
            os.initgroups(account.pw_name, account.pw_gid)
            os.setgid(account.pw_gid)
            os.setuid(account.pw_uid)
        # After the change of user, which clears it (prctl(2)).
        kernel.subreaper()
        kernel.die_with_parent()

    return switch


def _refusal(error: Exception, argv: List[str], directory: str) -> GuestFailure:
    number = getattr(error, "errno", None)
    program = display(str(argv[0]))
    if number == errno.ENOENT:
        return GuestFailure(
            "FILE_NOT_FOUND", "no program %s in the environment" % program, path=argv[0], error_number=number
        )
    if number == errno.E2BIG:
        return GuestFailure(
            "INVALID_ARGUMENTS",
            "the command's arguments are too long for the system; write them to a file and pass its name",
            error_number=number,
        )
    if number == errno.EAGAIN:
        return GuestFailure(
            "COMMAND_FAILED",
            "%s could not be started: the environment is at its limit of processes; end some of them first" % program,
            error_number=number,
        )
    if isinstance(error, OSError):
        return failure_of_os_error(error, str(argv[0]))
    return GuestFailure("INVALID_ARGUMENTS", "%s could not be started: %s" % (program, error))
