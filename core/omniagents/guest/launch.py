"""From a request to a started process: its argv, directory, environment, user and pipes."""

from __future__ import annotations

import contextlib
import errno
import os
import sys
from typing import Any, Callable, Dict, List, Mapping, NamedTuple, Tuple

from .failure import GuestFailure, failure_of_os_error
from .naming import resolve_shown
from .root import Root, display

__all__ = ["Launched", "launch", "shell", "which"]

# Linux refuses a single argument over 128 KiB (MAX_ARG_STRLEN, execve(2)); longer scripts go through a file.
_MAX_SCRIPT_ARGUMENT = 100_000
_PIPE_BYTES = 1 << 18
_F_SETPIPE_SZ = 1031  # linux/fcntl.h; the fcntl module has it from Python 3.10
_AT_A_LIMIT = (errno.EAGAIN, errno.EMFILE, errno.ENFILE, errno.ENOMEM)


class Launched(NamedTuple):
    """A running process and our ends of its pipes; ``stdin`` is None where it reads end-of-file at once."""

    pid: int
    stdin: int | None
    outputs: Tuple[Tuple[int, int], ...]


def which(program: str, path: str) -> str | None:
    """The first executable file of this name on ``path``; ``shutil.which`` without its costly import."""
    for directory in path.split(os.pathsep):
        if not os.path.isabs(directory):
            continue  # relative to a directory that the process will not be in
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
        arguments: ``command`` (str: shell, list: argv), ``cwd``, ``outside``, ``env``, ``defaults`` (more environment,
            which ``inherited`` and ``env`` override), ``user``, ``merge``.
        inherited: What every process of this environment gets; ``env`` adds to it, a null removes.
        has_input: Whether bytes for its standard input will follow.

    Raises:
        GuestFailure: No such directory or program, no such user, or a limit of the environment.
    """
    from .spawning import Program, spawn  # the guest answers sooner for the first time without it

    directory = _directory(root, arguments)
    environment = {**(arguments.get("defaults") or {}), **inherited, **(arguments.get("env") or {})}
    environment = {name: value for name, value in environment.items() if value is not None}
    become = _identity(arguments.get("user"))
    with contextlib.ExitStack() as ours, contextlib.ExitStack() as theirs:
        try:
            argv, program, script = _argv(arguments["command"], environment.get("PATH") or os.defpath, theirs)
            kept, given = _pipes(has_input, bool(arguments.get("merge")), ours, theirs)
            pid = spawn(Program(program, argv, directory, environment, given, script), become)
        except (OSError, ValueError) as error:
            raise _refusal(error, arguments["command"], directory, arguments.get("cwd") or ".") from error
        ours.pop_all()
    return Launched(pid, kept.get(0), tuple((kept[stream], stream) for stream in (1, 2) if stream in kept))


def _directory(root: Root, arguments: Mapping[str, Any]) -> str:
    named, outside = arguments.get("cwd") or ".", bool(arguments.get("outside"))
    directory = root.resolve(named, outside=True) if outside else resolve_shown(root, named)
    if not os.path.exists(directory):
        raise _no_directory(root, named, directory)
    if not os.path.isdir(directory):
        raise GuestFailure(
            "NOT_A_DIRECTORY",
            "%s is not a directory; the directory to run in is needed" % display(named),
            path=named,
            error_number=errno.ENOTDIR,
        )
    return directory


def _no_directory(root: Root, named: str, directory: str) -> GuestFailure:
    from .similar import not_found  # only refusals need it

    failure = not_found(root, named, directory, directories=True)
    failure.error_number = errno.ENOENT
    return failure


def _argv(command: str | List[str], path: str, opened: contextlib.ExitStack) -> Tuple[List[str], str, Tuple[int, ...]]:
    """The argv, the program, and the descriptors it needs."""
    if not command:
        raise GuestFailure("INVALID_ARGUMENTS", "an empty command")
    if any("\0" in word for word in ([command] if isinstance(command, str) else command)):
        raise GuestFailure("INVALID_ARGUMENTS", "a command cannot contain a NUL character")
    if not isinstance(command, str):
        return command, command[0], ()
    script, program = os.fsencode(command), shell(path)
    name = os.path.basename(program)  # so that its messages are the same wherever it lies
    if len(script) <= _MAX_SCRIPT_ARGUMENT:
        return [name, "-c", command], program, ()
    fd = os.memfd_create("command") if hasattr(os, "memfd_create") else _unnamed_file()
    opened.callback(os.close, fd)
    data = memoryview(script)
    while data:
        data = data[os.write(fd, data) :]
    os.lseek(fd, 0, os.SEEK_SET)
    return [name, "/dev/fd/%d" % fd], program, (fd,)


def _unnamed_file() -> int:
    import tempfile

    with tempfile.TemporaryFile() as file:
        return os.dup(file.fileno())


def _pipes(
    has_input: bool, merge: bool, ours: contextlib.ExitStack, theirs: contextlib.ExitStack
) -> Tuple[Dict[int, int], Tuple[int, int, int]]:
    """Our ends by standard descriptor, and the process's three."""
    kept: Dict[int, int] = {}
    given: Dict[int, int] = {}
    for number in (0,) * has_input + (1,) + (2,) * (not merge):
        reading, writing = os.pipe()
        kept[number], given[number] = (writing, reading) if number == 0 else (reading, writing)
        ours.callback(os.close, kept[number])
        theirs.callback(os.close, given[number])
        _widen(writing)
    if not has_input:
        given[0] = os.open(os.devnull, os.O_RDONLY)
        theirs.callback(os.close, given[0])
    return kept, (given[0], given[1], given[1] if merge else given[2])


def _widen(fd: int) -> None:
    if sys.platform != "linux":
        return
    import fcntl

    try:
        fcntl.fcntl(fd, _F_SETPIPE_SZ, _PIPE_BYTES)
    except OSError:
        return  # over the user's quota of pipe pages: the default size works too


def _identity(user: str | None) -> Callable[[], None] | None:
    """What the child does to become ``user``, if that is somebody else."""
    if user is None:
        return None
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
        os.initgroups(account.pw_name, account.pw_gid)
        os.setgid(account.pw_gid)
        os.setuid(account.pw_uid)

    return switch if os.geteuid() == 0 else None


def _refusal(error: Exception, command: str | List[str], directory: str, named: str) -> GuestFailure:
    number = getattr(error, "errno", None)
    program = display(command[0]) if not isinstance(command, str) else "the shell"
    if isinstance(error, OSError) and error.filename == directory:
        return failure_of_os_error(error, named)
    if number == errno.ENOENT:
        return GuestFailure(
            "FILE_NOT_FOUND",
            "no program %s in the environment" % program,
            path=command[0],
            error_number=number,
            program=command[0],
        )
    if number == errno.E2BIG:
        return GuestFailure(
            "INVALID_ARGUMENTS",
            "the command's arguments are too long for the system; write them to a file and pass its name",
            error_number=number,
        )
    if number in _AT_A_LIMIT:
        return GuestFailure(
            "COMMAND_FAILED",
            "%s could not be started: the environment is at its limit of processes, open files or memory; end some "
            "processes first" % program,
            error_number=number,
        )
    if isinstance(error, OSError):
        return failure_of_os_error(error, program)
    return GuestFailure("INVALID_ARGUMENTS", "%s could not be started: %s" % (program, error))
