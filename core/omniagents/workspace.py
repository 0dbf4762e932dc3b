"""The host's client of the guest: a project's files and commands.

Every method is one request, whatever the number of files, and has an async twin with an ``a``
in front (``read_bytes`` and ``aread_bytes``). Paths are relative to the workspace, or absolute
inside it; ``outside=True`` reaches the rest of the environment. Missing and mistyped files are
the builtin ``FileNotFoundError``, ``IsADirectoryError``… with the path in ``filename``.
"""

from __future__ import annotations

import functools
import hashlib
import json
import os
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from typing import Any, TypeVar

from omniagents import trees
from omniagents.answers import Answer, at_once, command_result, in_thread, translated, twins
from omniagents.calls import PendingCall
from omniagents.errors import GuestCallError
from omniagents.guest import files
from omniagents.link import GuestLink
from omniagents.listing import Listing
from omniagents.process import Process
from omniagents.records import (
    CommandResult,
    ExportedEntry,
    FileInfo,
    ImportEntry,
    LeftOut,
    Match,
    Reply,
    Scan,
)

__all__ = ["Process", "Workspace"]

DEFAULT_MAX_OUTPUT_BYTES = 64 << 20

T = TypeVar("T")


class Workspace:
    """A project's files and commands, while its backend runs.

    Attributes:
        root: The workspace's absolute path inside the environment.
    """

    def __init__(self, link: GuestLink, root: str) -> None:
        self.root = root
        self._link = link

    def request(self, operation: str, arguments: Mapping[str, Any], payload: bytes = b"") -> Future[Reply]:
        """Send one request as it is; tools use this. The future raises ``GuestCallError`` for a refusal."""
        return self._link.submit(PendingCall(operation, arguments, payload)).future

    def _run(
        self,
        command: str | Sequence[str],
        *,
        input: bytes = b"",
        cwd: str | None = None,
        env: Mapping[str, str] | None = None,
        user: str | None = None,
        timeout_seconds: float | None = None,
        merge_streams: bool = False,
        max_output_bytes: int = DEFAULT_MAX_OUTPUT_BYTES,
        outside: bool = False,
    ) -> Answer[CommandResult]:
        """Run a command and wait for it.

        Args:
            command: A string for the shell (``bash``, else ``sh``), or an argv.
            input: Its standard input; at its end the command reads end-of-file.
            cwd: Directory; the workspace by default.
            env: Variables added to the environment's own.
            user: Name or number; needs an environment whose guest is root.
            timeout_seconds: Wall clock. On expiry the whole process tree is killed, and the result has the
                output until then and ``timed_out``.
            merge_streams: One stream, ``stdout``, in arrival order.
            max_output_bytes: Kept of each stream: the first fifth and the last four fifths.
            outside: ``cwd`` may be outside the workspace.

        Raises:
            FileNotFoundError: No such directory, or no such program for an argv.
        """
        arguments = _command(command, cwd, env, user, timeout_seconds, merge_streams, outside)
        arguments["max_output"] = max_output_bytes
        call = PendingCall("run", arguments, input, max_reply=2 * max_output_bytes + (1 << 20))
        return Answer(self._link.submit(call).future, command_result)

    run, arun = twins(_run)

    def start_process(
        self,
        command: str | Sequence[str],
        *,
        cwd: str | None = None,
        env: Mapping[str, str] | None = None,
        user: str | None = None,
        timeout_seconds: float | None = None,
        merge_streams: bool = False,
        outside: bool = False,
    ) -> Process:
        """Start a command and return at once; its output streams. Arguments as for ``run``."""
        arguments = _command(command, cwd, env, user, timeout_seconds, merge_streams, outside)
        arguments["stream"] = True
        return Process(self, self._link.submit(PendingCall("run", arguments, more=True, stream=True)))

    astart_process = at_once(start_process)

    def _read_bytes(
        self, path: str, *, offset: int = 0, limit: int | None = None, outside: bool = False
    ) -> Answer[bytes]:
        """A regular file's bytes, from ``offset``, at most ``limit``.

        Raises:
            OSError: ``EFBIG``: without a ``limit``, more than 1 GiB.
        """
        arguments = {"path": path, "offset": offset, "limit": limit, "outside": outside}
        call = PendingCall("read", arguments, max_reply=files.MAX_READ_BYTES if limit is None else limit)
        return Answer(self._link.submit(call).future, lambda reply: reply.payload)

    read_bytes, aread_bytes = twins(_read_bytes)

    def _write_bytes(
        self,
        path: str,
        content: bytes,
        *,
        expected_sha256: str | None = None,
        mode: int | None = None,
        make_parents: bool = True,
        outside: bool = False,
    ) -> Answer[FileInfo]:
        """Write a whole file atomically: a reader sees the old or the new content, never a part.

        Args:
            expected_sha256: Compare-and-swap: SHA-256 in hexadecimal of the content that must be there now
                (``Workspace.sha256``), or ``"absent"``.
            mode: Permission bits; an existing file keeps its own by default.
            make_parents: Create missing directories.

        Raises:
            WriteConflictError: The file is not what was expected; nothing was written.
        """
        arguments = {
            "path": path,
            "expected": expected_sha256,
            "mode": mode,
            "make_parents": make_parents,
            "outside": outside,
        }
        return Answer(self._link.submit(PendingCall("write", arguments, bytes(content))).future, _info)

    write_bytes, awrite_bytes = twins(_write_bytes)

    @staticmethod
    def sha256(content: bytes) -> str:
        """What ``write_bytes`` compares ``expected_sha256`` with."""
        return hashlib.sha256(content).hexdigest()

    def _stat(self, path: str, *, follow: bool = True, outside: bool = False) -> Answer[FileInfo]:
        """What is at ``path``; ``follow=False`` describes a link itself."""
        return self._ask("stat", _info, path=path, follow=follow, outside=outside)

    stat, astat = twins(_stat)

    def _exists(self, path: str, *, outside: bool = False) -> Answer[bool]:
        """Whether there is anything at ``path``, links followed."""
        return self._ask("exists", lambda reply: reply.value["exists"] is True, path=path, outside=outside)

    exists, aexists = twins(_exists)

    def _list(self, path: str = ".", *, outside: bool = False) -> Answer[Sequence[FileInfo]]:
        """The entries of one directory, sorted by code point; links are not followed."""

        def decode(reply: Reply) -> Sequence[FileInfo]:
            return [trees.file_info(fields) for fields in json.loads(reply.payload)]

        return self._ask("list", decode, path=path, outside=outside)

    list, alist = twins(_list)

    def _realpath(self, path: str, *, outside: bool = False) -> Answer[str]:
        """``path`` with every link resolved, relative to the workspace (absolute outside it)."""
        return self._ask("realpath", lambda reply: str(reply.value["path"]), path=path, outside=outside)

    realpath, arealpath = twins(_realpath)

    def _make_dir(self, path: str, *, outside: bool = False) -> Answer[FileInfo]:
        """Create a directory and its parents; one that exists is fine."""
        return self._ask("make_dir", _info, path=path, outside=outside)

    make_dir, amake_dir = twins(_make_dir)

    def _move(self, path: str, to: str, *, outside: bool = False) -> Answer[FileInfo]:
        """Rename a file, link or directory; parents of the new place are created, a file there is replaced."""
        return self._ask("move", _info, path=path, to=to, outside=outside)

    move, amove = twins(_move)

    def _remove(self, *paths: str, missing_ok: bool = False, outside: bool = False) -> Answer[int]:
        """Remove files, links (never what they point to) and directories with all they hold; how many paths were."""
        arguments = {"paths": [*paths], "missing_ok": missing_ok, "outside": outside}
        return self._ask("remove", lambda reply: int(reply.value["removed"]), **arguments)

    remove, aremove = twins(_remove)

    def _ask(self, operation: str, decode: Callable[[Reply], T], **arguments: Any) -> Answer[T]:
        return Answer(self.request(operation, arguments), decode)

    def _glob(
        self, pattern: str, *, path: str = ".", case_sensitive: bool = False, ignore: bool = True
    ) -> Answer[Sequence[str]]:
        """Files that match, ordered and capped as the tool ``glob`` does; ``ignore=False`` finds ignored ones too."""
        return self._ask(
            "glob",
            lambda reply: [str(found) for found in reply.value["paths"]],
            pattern=pattern,
            path=path,
            case_sensitive=case_sensitive,
            respect_git_ignore=ignore,
        )

    glob, aglob = twins(_glob)

    def _grep(
        self,
        pattern: str,
        *,
        path: str = ".",
        include: str | None = None,
        case_sensitive: bool = True,
        fixed_strings: bool = False,
        ignore: bool = True,
        max_matches: int = 10_000,
    ) -> Answer[Sequence[Match]]:
        """Lines that match a regular expression of Python's ``re``, by path and line; ``include`` is a glob."""
        return self._ask(
            "grep",
            _matches,
            pattern=pattern,
            path=path,
            include=include,
            case_sensitive=case_sensitive,
            fixed_strings=fixed_strings,
            no_ignore=not ignore,
            context=0,
            max_matches=max_matches,
        )

    grep, agrep = twins(_grep)

    def _replace(self, path: str, old: str, new: str, *, expected: int | None = 1) -> Answer[int]:
        """Replace a text in a file, as the tool ``replace`` does; how many places were changed.

        Args:
            expected: In how many places ``old`` must stand; None for whatever number.

        Raises:
            GuestCallError: ``NO_MATCH``, ``AMBIGUOUS_MATCH``…; the file is untouched.
        """
        first = old.encode()
        arguments = {"path": path, "old_bytes": len(first), "expected": expected}
        future = self.request("replace", arguments, first + new.encode())
        return Answer(future, lambda reply: int(reply.value["replacements"]))

    replace, areplace = twins(_replace)

    def scan(self, path: str = ".", *, exclude: Sequence[str] = (), exclude_file: str | None = None) -> Scan:
        """Every path below a directory with what ``lstat`` says of it.

        Args:
            exclude: Patterns in gitignore syntax; what they match is left out with all below it.
            exclude_file: A file of more patterns, at the scanned directory; ignored if missing.
        """
        return _scanned(self._scan_call(path, exclude, exclude_file))

    async def ascan(self, path: str = ".", *, exclude: Sequence[str] = (), exclude_file: str | None = None) -> Scan:
        """Like ``scan``; cancelling stops it."""
        call = self._scan_call(path, exclude, exclude_file)
        return await in_thread(call.future, functools.partial(_scanned, call))

    def _scan_call(self, path: str, exclude: Sequence[str], exclude_file: str | None) -> PendingCall:
        arguments = {"path": path, "exclude": [*exclude], "exclude_file": exclude_file}
        return self._link.submit(PendingCall("scan", arguments, stream=True))

    def export(self, paths: Sequence[str]) -> Iterator[ExportedEntry]:
        """Stream entries out of the workspace, in the given order; consume one before asking for the next.

        What cannot be read is an entry with a ``problem``, not an exception.
        """
        yield from _exported(self._export_call(paths), paths)

    async def aexport(self, paths: Sequence[str]) -> AsyncIterator[ExportedEntry]:
        """Like ``export``; an entry's chunks are there to be read in a thread. Cancelling stops it."""
        call = self._export_call(paths)
        entries = _exported(call, paths)
        try:
            while (entry := await in_thread(call.future, functools.partial(next, entries, None))) is not None:
                yield entry
        finally:
            call.future.cancel()

    def _export_call(self, paths: Sequence[str]) -> PendingCall:
        return self._link.submit(PendingCall("export", {}, trees.encode_names(paths), stream=True))

    def import_(self, entries: Iterable[ImportEntry], *, remove: Sequence[str] = ()) -> Sequence[FileInfo]:
        """Stream entries into the workspace: first ``remove`` goes, then each entry replaces what is at its path.

        Returns:
            What ``lstat`` says of each entry once all are in place, in order.
        """
        return _imported(self._import_call(), entries, remove)

    async def aimport_(self, entries: Iterable[ImportEntry], *, remove: Sequence[str] = ()) -> Sequence[FileInfo]:
        """Like ``import_``; the entries are asked for in a thread. Cancelling stops it."""
        call = self._import_call()
        return await in_thread(call.future, functools.partial(_imported, call, entries, remove))

    def _import_call(self) -> PendingCall:
        return self._link.submit(PendingCall("import", {}, more=True))


def _command(
    command: str | Sequence[str],
    cwd: str | None,
    env: Mapping[str, str] | None,
    user: str | None,
    timeout_seconds: float | None,
    merge_streams: bool,
    outside: bool,
) -> dict[str, Any]:
    """The guest's arguments of a ``run``."""
    return {
        "command": command if isinstance(command, str) else [os.fspath(part) for part in command],
        "cwd": cwd,
        "env": dict(env or {}),
        "user": user,
        "timeout": None if timeout_seconds is None else float(timeout_seconds),
        "merge": merge_streams,
        "outside": outside,
    }


def _scanned(call: PendingCall) -> Scan:
    try:
        left_out: list[LeftOut] = []
        entries = Listing(trees.decode_scan(call.pieces(), left_out))
        value = call.future.result().value
        with trees.untrusted():
            return Scan(entries, left_out, int(value["started_ns"]))
    except GuestCallError as refusal:
        raise translated(refusal) from refusal
    finally:
        call.future.cancel()


def _exported(call: PendingCall, paths: Sequence[str]) -> Iterator[ExportedEntry]:
    try:
        yield from trees.decode_export(call.pieces(), paths)
    except GuestCallError as refusal:
        raise translated(refusal) from refusal
    finally:
        call.future.cancel()


def _imported(call: PendingCall, entries: Iterable[ImportEntry], remove: Sequence[str]) -> Sequence[FileInfo]:
    described = Listing()

    def noting() -> Iterator[ImportEntry]:
        for entry in entries:
            described.append(entry.info)
            yield entry

    try:
        if trees.encode_import(noting(), remove, functools.partial(call.send, more=True)):
            call.send(b"", more=False)
        return trees.decode_statuses(call.future.result().payload, described)
    except GuestCallError as refusal:
        raise translated(refusal) from refusal
    finally:
        call.future.cancel()


def _info(reply: Reply) -> FileInfo:
    return trees.file_info(reply.value["info"])


def _matches(reply: Reply) -> Sequence[Match]:
    return [
        Match(str(found["path"]), int(number), str(text))
        for found in reply.value["files"]
        for number, is_match, text, *_ in found["lines"]
        if is_match
    ]
