"""The only module that starts git: with its own configuration, no prompt, no hook, and a time limit.

Needs git 2.38 or newer. Of the user's configuration only ``credential.*`` is read, for network commands.
"""

from __future__ import annotations

import contextlib
import functools
import os
import re
import shutil
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO

from omniagents.errors import StateConfigurationError, StateUnavailableError
from omniagents_git.credentials import SECRET_VARIABLES, Channel, Credentials, Secret, channel
from omniagents_git.failures import GitFailure, as_state_error, redacted
from omniagents_git.remote import Remote

__all__ = ["REMOTE_NAME", "Git", "GitStream"]

REMOTE_NAME = "omniagents"
_OLDEST = (2, 38)

# What git itself needs to run; programs it starts for the network get more.
_LOCAL_VARIABLES = ("PATH", "HOME", "TMPDIR")
_PROMPTS = ("SSH_ASKPASS", "DISPLAY", "WAYLAND_DISPLAY")
# Said by the user for ssh and TLS; every other GIT_ variable would change what git does.
_KEPT_GIT_VARIABLES = ("GIT_SSL_CAINFO", "GIT_SSL_CAPATH", "GIT_PROXY_SSL_CAINFO")
_OWN_VARIABLES = {
    "GIT_CONFIG_GLOBAL": os.devnull,
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_ATTR_NOSYSTEM": "1",
    "GIT_NO_REPLACE_OBJECTS": "1",
    "GIT_TERMINAL_PROMPT": "0",
    "GIT_ALLOW_PROTOCOL": "file:http:https:ssh",
    "GIT_SSH_VARIANT": "ssh",
    "LC_ALL": "C",
}
_CONFIG = (
    ("core.hooksPath", os.devnull),
    ("core.compression", "1"),
    # A cache: what a power cut damages is fetched again.
    ("core.fsync", "none"),
    ("core.bigFileThreshold", "16m"),
    ("core.packedGitWindowSize", "32m"),
    ("core.packedGitLimit", "256m"),
    ("pack.windowMemory", "64m"),
    # Hostile packs are streamed to disk by index-pack, however few objects they have.
    ("fetch.unpackLimit", "1"),
    ("gc.auto", "0"),
    ("gc.autoDetach", "false"),
    ("maintenance.auto", "false"),
    ("http.lowSpeedLimit", "1000"),
    ("http.lowSpeedTime", "60"),
    ("protocol.version", "2"),
)
_SSH_OPTIONS = " -o BatchMode=yes -o ConnectTimeout=30 -o ServerAliveInterval=15 -o ServerAliveCountMax=4"
# Memory of what unpacks a pack that somebody else made.
_MAX_UNPACK_KIB = 4 << 20


class Git:
    """Runs git in one bare repository of this machine, against one remote.

    Args:
        timeout_seconds: For each command that is not fed or read by us; for others, how long git may keep us waiting.
    """

    def __init__(self, directory: Path, remote: Remote, credentials: Credentials, *, timeout_seconds: float) -> None:
        self.directory = directory
        self.remote = remote
        self._credentials = credentials
        self._timeout_seconds = timeout_seconds

    def init(self) -> None:
        """Make the bare repository."""
        self.run("init", "--quiet", "--bare", "--template=", str(self.directory), in_repository=False)

    def run(self, *arguments: str, input: bytes = b"", in_repository: bool = True) -> bytes:
        """Run a local command; what it printed.

        Raises:
            GitFailure: It failed.
            StateUnavailableError: It took longer than the time limit.
        """
        return self._run(arguments, input, self._environment(_local_environment(), (), in_repository), [])

    def run_remote(
        self, *arguments: str, doing: str, max_bytes: int | None = None, config: Sequence[tuple[str, str]] = ()
    ) -> bytes:
        """Run a command that talks to the remote; what it printed.

        Args:
            doing: For messages: ``saving project 'alice'``.
            max_bytes: The largest file it may write here; its memory is then limited, too.
            config: More configuration for this command.

        Raises:
            GitFailure: It failed.
            StateAccessError: There are no credentials that may be sent.
        """
        environment = _network_environment()
        secret = self._credentials.find(environment)
        known = _secrets(self.remote, secret)
        environment = {name: value for name, value in environment.items() if not _has_secret(value, known)}
        with channel(self.remote, secret) as way:
            # A token that is given is the only one: else git would tell it to the user's helpers, which may store it.
            is_asked = secret is None and self.remote.scheme in ("http", "https")
            helpers = _user_credential_config(environment) if is_asked else []
            pairs = [*helpers, *way.config, (f"remote.{REMOTE_NAME}.url", self.remote.url), *config]
            try:
                return self._run(
                    arguments, b"", self._environment(environment, pairs), known, way, _limits(max_bytes), doing
                )
            except GitFailure as failure:
                if failure.mentions(("Authentication failed", "returned error: 40")):
                    self._credentials.forget()
                raise

    def error(self, failure: GitFailure, doing: str) -> Exception:
        """The failure as the error for a user."""
        return as_state_error(failure, self.remote, self._credentials.find(_network_environment()), doing)

    @contextlib.contextmanager
    def stream(self, *arguments: str) -> Iterator[GitStream]:
        """Run a local command that is fed and read piece by piece; ended when the block is left."""
        with tempfile.TemporaryFile() as errors:
            process = _start(
                [_program(), *arguments], self._environment(_local_environment(), ()), stderr=errors, descriptors=()
            )
            stream = GitStream(process, arguments[0], errors, self._timeout_seconds)
            try:
                yield stream
            finally:
                stream.close()

    def _run(
        self,
        arguments: Sequence[str],
        input: bytes,
        environment: dict[str, str],
        known: Sequence[Secret],
        way: Channel | None = None,
        limits: Sequence[str] = (),
        doing: str = "",
    ) -> bytes:
        command = [*limits, _program(), *arguments]
        process = _start(command, environment, stderr=subprocess.PIPE, descriptors=way.descriptors if way else ())
        try:
            output, errors = process.communicate(input, timeout=self._timeout_seconds)
        except subprocess.TimeoutExpired as expired:
            _kill(process)
            process.communicate()
            raise StateUnavailableError(
                f"{doing or 'the copy on this machine'}: git {arguments[0]} did not end within "
                f"{self._timeout_seconds:g} s and was stopped ({self.remote.url!r}); "
                "raise timeout_seconds, or try again"
            ) from expired
        except BaseException:
            _kill(process)
            process.communicate()
            raise
        if process.returncode:
            said = errors + (b"\n" + output if arguments[0] == "push" else b"")
            raise GitFailure(arguments[0], process.returncode, redacted(said.decode("utf-8", "replace").strip(), known))
        return bytes(output)

    def _environment(
        self, base: Mapping[str, str], config: Sequence[tuple[str, str]], in_repository: bool = True
    ) -> dict[str, str]:
        environment = {**base, **_OWN_VARIABLES}
        if in_repository:
            environment["GIT_DIR"] = str(self.directory)
        pairs = [*_CONFIG, *config]
        environment["GIT_CONFIG_COUNT"] = str(len(pairs))
        for number, (key, value) in enumerate(pairs):
            environment[f"GIT_CONFIG_KEY_{number}"], environment[f"GIT_CONFIG_VALUE_{number}"] = key, value
        return environment


class GitStream:
    """A git process that is fed and read. Killed once it keeps a caller waiting for longer than the limit."""

    def __init__(self, process: subprocess.Popen[bytes], command: str, errors: IO[bytes], timeout: float) -> None:
        assert process.stdin is not None
        assert process.stdout is not None
        self._process = process
        self._stdin, self._stdout = process.stdin, process.stdout
        self._command = command
        self._errors = errors
        self._timeout = timeout
        self._waiting_since: float | None = None
        self._ended = threading.Event()
        threading.Thread(target=self._watch, daemon=True, name=f"git-{command}-watch").start()

    def write(self, data: bytes) -> None:
        """Raises GitFailure if the process is gone."""
        with self._waiting():
            self._stdin.write(data)

    def flush(self) -> None:
        with self._waiting():
            self._stdin.flush()

    def read_line(self, end: bytes = b"\n") -> bytes:
        """One line without its end; empty at the end of the output."""
        with self._waiting():
            line = self._stdout.readline()
        return line.removesuffix(end)

    def read_some(self, limit: int) -> bytes:
        """At least one byte unless it is the end."""
        with self._waiting():
            return self._stdout.read1(limit)  # type: ignore[attr-defined,no-any-return]

    def read_exactly(self, size: int) -> bytes:
        """Raises GitFailure if the output ends before."""
        with self._waiting():
            data = self._stdout.read(size)
        if len(data) != size:
            raise self._failure()
        return data

    def finish(self) -> None:
        """Nothing more to write: wait for a good end.

        Raises:
            GitFailure: It ended badly.
        """
        with self._waiting():
            self._stdin.close()
            self._process.wait()
        if self._process.returncode:
            raise self._failure()

    def close(self) -> None:
        """End it, however far it is. Idempotent."""
        self._ended.set()
        if self._process.poll() is None:
            _kill(self._process)
        for pipe in (self._stdin, self._stdout):
            with contextlib.suppress(BrokenPipeError):  # what is still buffered goes with the process
                pipe.close()
        self._process.wait()

    @contextlib.contextmanager
    def _waiting(self) -> Iterator[None]:
        self._waiting_since = time.monotonic()
        try:
            yield
        except BrokenPipeError as error:
            raise self._failure() from error
        finally:
            self._waiting_since = None

    def _watch(self) -> None:
        while not self._ended.wait(min(self._timeout / 4, 5.0)):
            since = self._waiting_since
            if since is not None and time.monotonic() - since > self._timeout:
                _kill(self._process)
                return

    def _failure(self) -> GitFailure:
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(timeout=5)
        self._errors.seek(0)
        said = redacted(self._errors.read(1 << 16).decode("utf-8", "replace").strip(), ())
        return GitFailure(self._command, self._process.returncode or 0, said)


def _start(
    command: Sequence[str], environment: dict[str, str], *, stderr: int | IO[bytes], descriptors: Sequence[int]
) -> subprocess.Popen[bytes]:
    # A session of its own: no terminal to ask on, and one group to kill.
    return subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=stderr,
        env=environment,
        cwd="/",
        pass_fds=tuple(descriptors),
        start_new_session=True,
        bufsize=1 << 18,
    )


def _kill(process: subprocess.Popen[bytes]) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)


def _limits(max_bytes: int | None) -> list[str]:
    """A shell that sets limits and becomes the command."""
    if max_bytes is None:
        return []
    blocks = str(max_bytes // 512 + 1)  # POSIX ulimit -f counts blocks of 512 bytes
    return ["/bin/sh", "-c", f'ulimit -f {blocks} && ulimit -v {_MAX_UNPACK_KIB} && exec "$@"', "sh"]


def _local_environment() -> dict[str, str]:
    return {name: os.environ[name] for name in _LOCAL_VARIABLES if name in os.environ}


def _network_environment() -> dict[str, str]:
    """What ssh, proxies, gh and credential helpers may need; nothing that changes git, asks somebody, or is a token."""
    environment = {
        name: value
        for name, value in os.environ.items()
        if name not in SECRET_VARIABLES and name not in _PROMPTS and not name.startswith("GIT_")
    }
    environment.update({name: os.environ[name] for name in _KEPT_GIT_VARIABLES if name in os.environ})
    environment["GIT_SSH_COMMAND"] = os.environ.get("GIT_SSH_COMMAND", "ssh") + _SSH_OPTIONS
    return environment


def _secrets(remote: Remote, secret: Secret | None) -> list[Secret]:
    """Every secret at hand, in use or not."""
    found = [secret] if secret else []
    if remote.password:
        found.append(Secret(remote.username, remote.password, ""))
    return found + [Secret("", os.environ[name], name) for name in SECRET_VARIABLES if os.environ.get(name)]


def _has_secret(value: str, known: Sequence[Secret]) -> bool:
    return any(secret.password in value for secret in known)


def _user_credential_config(environment: Mapping[str, str]) -> list[tuple[str, str]]:
    """``credential.*`` of the user's and the system's configuration, in git's order; nothing else of it."""
    own = dict(environment)
    own.update({name: os.environ[name] for name in ("GIT_CONFIG_GLOBAL", "GIT_CONFIG_SYSTEM") if name in os.environ})
    found: list[tuple[str, str]] = []
    for scope in ("--system", "--global"):
        asked = subprocess.run(
            [_program(), "config", scope, "--includes", "-z", "--get-regexp", r"^credential\."],
            env={**own, "GIT_DIR": os.devnull, "LC_ALL": "C"},
            cwd="/",
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=30,
            check=False,
        )
        # Exit code 1: no such key, or no such file.
        lines = asked.stdout.decode("utf-8", "surrogateescape").split("\0")
        found += [(key, value) for key, _, value in (line.partition("\n") for line in lines) if key]
    return found


@functools.cache
def _checked_program(path: str) -> str:
    said = subprocess.run([path, "--version"], capture_output=True, timeout=30, check=False, cwd="/").stdout
    version = re.match(rb"git version (\d+)\.(\d+)", said)
    if version is None or (int(version[1]), int(version[2])) < _OLDEST:
        found = said.decode("utf-8", "replace").strip() or "something that tells no version"
        raise StateConfigurationError(
            f"the state manager 'git' needs git {_OLDEST[0]}.{_OLDEST[1]} or newer; {path} is {found}. "
            "Install a newer git"
        )
    return path


def _program() -> str:
    path = shutil.which("git")
    if path is None:
        raise StateConfigurationError(
            "the state manager 'git' needs the program git 2.38 or newer, which is not on the PATH; install it "
            "(Debian and Ubuntu: apt-get install git)"
        )
    return _checked_program(path)
