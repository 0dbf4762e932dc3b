"""Where the branches are: an address without a secret in it."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import SplitResult, unquote, urlsplit, urlunsplit

from omniagents.errors import StateConfigurationError

__all__ = ["REMOTE_VARIABLE", "Remote", "parse_remote"]

REMOTE_VARIABLE = "OMNIAGENTS_GIT_REMOTE"

_SCHEMES = ("https", "http", "ssh", "file")
_SCP = re.compile(r"(?P<host>[^/:\s]+):(?!//|:)\S")
_LOOPBACK = re.compile(r"localhost|127(\.\d+){3}|::1")


@dataclass(frozen=True)
class Remote:
    """A git repository to keep branches in.

    Attributes:
        url: As git is given it: never with a password.
        scheme: ``https``, ``http``, ``ssh`` or ``file``.
        host: With the port if one is stated; empty for ``file``.
        username: What the address said.
        password: What the address said; for the credential channel only.
    """

    url: str
    scheme: str
    host: str = ""
    username: str = ""
    password: str = ""

    @property
    def is_local(self) -> bool:
        """Whether it is on this machine's disk."""
        return self.scheme == "file"

    @property
    def may_carry_secrets(self) -> bool:
        """Whether a token sent there can only be read there: not over plain HTTP to another machine."""
        name = urlsplit(self.url).hostname or ""
        return self.scheme == "https" or (self.scheme == "http" and _LOOPBACK.fullmatch(name) is not None)

    def __repr__(self) -> str:
        return f"Remote({self.url!r})"


def parse_remote(given: str | os.PathLike[str] | None) -> Remote:
    """The remote of an argument, or else of ``OMNIAGENTS_GIT_REMOTE``.

    Raises:
        StateConfigurationError: Neither is set, or it is no address this manager can use.
    """
    text = os.fspath(given) if given is not None else os.environ.get(REMOTE_VARIABLE, "")
    if not text:
        raise StateConfigurationError(
            f"no git repository was named: set {REMOTE_VARIABLE}, or pass remote=, such as "
            "'https://github.com/you/workspaces.git', 'git@github.com:you/workspaces.git' "
            "or the path of a bare repository"
        )
    if text.startswith("-") or not text.isprintable():
        raise StateConfigurationError(f"not the address of a git repository: {_shown(text)}")
    if "://" in text:
        return _from_url(text)
    scp = _SCP.match(text)
    if scp is not None and not text.startswith((".", "~")):
        user, _, host = scp["host"].rpartition("@")
        if host.startswith("-"):
            raise StateConfigurationError(f"not the address of a git repository: {_shown(text)}")
        return Remote(text, "ssh", host, user)
    return Remote(Path(text).expanduser().absolute().as_uri(), "file")


def _from_url(text: str) -> Remote:
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError as error:
        raise StateConfigurationError(f"not the address of a git repository: {_shown(text)} ({error})") from None
    if parts.scheme not in _SCHEMES:
        raise StateConfigurationError(
            f"the address {_shown(text)} has the scheme {parts.scheme!r}; supported are {', '.join(_SCHEMES)}"
        )
    if parts.scheme == "file":
        return Remote(text, "file")
    name = parts.hostname or ""
    if not name or name.startswith("-"):
        raise StateConfigurationError(f"the address {_shown(text)} names no host")
    host = f"[{name}]" if ":" in name else name
    host = f"{host}:{port}" if port else host
    username, password = unquote(parts.username or ""), unquote(parts.password or "")
    return Remote(_without_password(parts, host), parts.scheme, host, username, password)


def _without_password(parts: SplitResult, host: str) -> str:
    user = f"{parts.username}@" if parts.username and not parts.password else ""
    return urlunsplit((parts.scheme, user + host, parts.path, parts.query, ""))


def _shown(text: str) -> str:
    return repr(re.sub(r"//[^/@]*@", "//***@", text))
