"""Which secret opens the remote, and the one way it reaches git: a file without a name, read by a helper.

A token is never in an argument, a URL, an environment variable of a process that is started, or a file.
"""

from __future__ import annotations

import logging
import os
import shutil
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import NamedTuple

from omniagents.errors import StateAccessError, StateConfigurationError
from omniagents_git.remote import Remote

_log = logging.getLogger(__name__)

__all__ = ["SECRET_VARIABLES", "TOKEN_VARIABLE", "Credentials", "Secret", "channel"]

TOKEN_VARIABLE = "OMNIAGENTS_GIT_TOKEN"
USERNAME_VARIABLE = "OMNIAGENTS_GIT_USERNAME"
#: Never handed to a process that is started here.
SECRET_VARIABLES = (
    TOKEN_VARIABLE, "GH_TOKEN", "GITHUB_TOKEN", "GH_ENTERPRISE_TOKEN", "GITHUB_ENTERPRISE_TOKEN",
)  # fmt: skip

# What GitHub documents as the name to send with a token of an app; with other tokens any name will do.
_TOKEN_USER = "x-access-token"
_GH_SECONDS = 10.0
_GH_KEPT_SECONDS = 300.0


class Secret(NamedTuple):
    """A name and a password for HTTP, and where they are from, for the message when they are refused."""

    username: str
    password: str
    source: str


@dataclass(frozen=True)
class Channel:
    """How git gets at a secret: configuration to give it, and the descriptor to hand over; none without a secret."""

    config: list[tuple[str, str]]
    descriptors: tuple[int, ...]


class Credentials:
    """The secrets for one remote.

    Args:
        token: Said by the caller; asked anew for every request if it is a function.
        username: To go with it.
    """

    def __init__(self, remote: Remote, token: str | Callable[[], str] | None, username: str | None) -> None:
        self._remote = remote
        self._token = token
        self._username = username or os.environ.get(USERNAME_VARIABLE) or remote.username or _TOKEN_USER
        self._from_gh: tuple[float, Secret | None] | None = None
        self._asking = threading.Lock()

    def find(self, environment: Mapping[str, str]) -> Secret | None:
        """The secret to use now; None to leave it to the user's own credential helpers, or to ssh.

        Raises:
            StateAccessError: It would travel in the open.
        """
        if self._remote.scheme not in ("http", "https"):
            return None
        secret = self._said() or self._from_variables() or self._ask_gh(environment)
        if secret is None:
            return None
        if any(character in secret.password + secret.username for character in "\n\0\r"):
            raise StateConfigurationError(f"{secret.source} holds a line break or NUL: it is no token")
        if not self._remote.may_carry_secrets:
            raise StateAccessError(
                f"{secret.source} is not sent to {self._remote.host!r}, because {self._remote.url!r} is plain HTTP to "
                "another machine, where anyone on the way could read it; use https:// or ssh"
            )
        return secret

    def forget(self) -> None:
        """The secret was refused: the next ``find`` asks again."""
        self._from_gh = None

    def _said(self) -> Secret | None:
        if self._token is not None:
            given = self._token if isinstance(self._token, str) else self._token()
            return Secret(self._username, given, "token=") if given else None
        if self._remote.password:
            return Secret(self._remote.username or _TOKEN_USER, self._remote.password, "the password in the address")
        if token := os.environ.get(TOKEN_VARIABLE):
            return Secret(self._username, token, TOKEN_VARIABLE)
        return None

    def _from_variables(self) -> Secret | None:
        """GitHub's variables, for GitHub's hosts only, and for the one that ``GH_HOST`` names (as gh does)."""
        host, told = self._remote.host, os.environ.get("GH_HOST", "")
        is_told = bool(told) and host == told
        names: tuple[str, ...] = ()
        if host == "github.com" or host.endswith(".ghe.com"):
            names = ("GH_TOKEN", "GITHUB_TOKEN")
        elif is_told:
            names = ("GH_ENTERPRISE_TOKEN", "GITHUB_ENTERPRISE_TOKEN", "GH_TOKEN", "GITHUB_TOKEN")
        for name in names:
            if said := os.environ.get(name):
                return Secret(self._username, said, name)
        return None

    def _ask_gh(self, environment: Mapping[str, str]) -> Secret | None:
        """What ``gh auth login`` stored, if this machine has gh and it knows the host."""
        if self._remote.scheme != "https":
            return None
        with self._asking:
            if self._from_gh is not None and time.monotonic() - self._from_gh[0] < _GH_KEPT_SECONDS:
                return self._from_gh[1]
            secret = _ask_gh(self._remote.host, environment)
            self._from_gh = (time.monotonic(), secret)
            return secret


def _ask_gh(host: str, environment: Mapping[str, str]) -> Secret | None:
    program = shutil.which("gh")
    if program is None:
        return None
    try:
        asked = subprocess.run(
            [program, "auth", "git-credential", "get"],
            input=f"protocol=https\nhost={host}\n".encode(),
            env=dict(environment),
            capture_output=True,
            timeout=_GH_SECONDS,
            check=False,
            start_new_session=True,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        # There may be another way in.
        _log.warning("gh, asked for credentials for %s, does not answer: %s", host, error)
        return None
    fields = dict(line.partition("=")[::2] for line in asked.stdout.decode("utf-8", "replace").splitlines())
    if asked.returncode or not fields.get("password"):
        return None
    return Secret(fields.get("username") or _TOKEN_USER, fields["password"], "`gh auth login`")


@contextmanager
def channel(remote: Remote, secret: Secret | None) -> Iterator[Channel]:
    """Give git a secret for this remote's host and no other: through a descriptor that only a helper of git's reads."""
    if secret is None:
        yield Channel([], ())
        return
    descriptor = os.memfd_create("omniagents-git")
    try:
        os.write(descriptor, f"username={secret.username}\npassword={secret.password}\n".encode())
        helper = f'!f() {{ test "$1" = get && cat /proc/self/fd/{descriptor}; }}; f'
        # The host in the key: after a redirection elsewhere there is no helper to ask.
        yield Channel([(f"credential.{remote.scheme}://{remote.host}.helper", helper)], (descriptor,))
    finally:
        os.close(descriptor)
