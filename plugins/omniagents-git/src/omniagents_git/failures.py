"""What git said when it failed, as the error a person can act on."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterable

from omniagents.errors import (
    StateAccessError,
    StateConfigurationError,
    StateError,
    StateQuotaError,
    StateUnavailableError,
)
from omniagents_git.credentials import TOKEN_VARIABLE, Secret
from omniagents_git.remote import Remote

__all__ = ["GitFailure", "as_state_error", "redacted"]

_MAX_SAID = 2000
_IN_URL = re.compile(r"(\w://)[^/@\s'\"]+@")

_REFUSED = ("Authentication failed", "returned error: 401", "returned error: 403", "Permission denied (")
_NOBODY_ASKED = ("could not read Username", "could not read Password", "No supported authentication methods")
_NOT_THERE = (
    "does not appear to be a git repository", "not found", "No such file or directory", "not a git repository",
    "does not exist", "returned error: 404",
)  # fmt: skip
_TOO_LARGE = ("exceeds maximum allowed size", "HTTP 413", "returned error: 413", "file size limit", "File too large")
_AWAY = (
    "Connection refused", "Could not resolve host", "Failed to connect", "Connection timed out", "Connection reset",
    "hung up", "early EOF", "unexpected disconnect", "RPC failed", "returned error: 5", "returned error: 429",
    "Empty reply", "Operation too slow", "Connection closed", "Broken pipe", "Could not resolve hostname",
    "Network is unreachable", "No route to host", "Recv failure", "transfer closed", "Error in the HTTP2",
    "Operation timed out", "unable to access",
)  # fmt: skip
# Said of what is on this machine; when a push breaks off over it, git says that the remote hung up, too.
_DAMAGED = (
    "corrupt", "bad object", "unable to read", "missing blob", "missing tree", "non-monotonic", "packfile",
    "pack-objects died", "bad index", "index file", ".lock'", "not a git repository: '",
)  # fmt: skip


class GitFailure(Exception):
    """A git command ended with an error; its words carry no secret.

    Attributes:
        command: The subcommand.
        said: What it printed to stderr, and what a push reported.
    """

    def __init__(self, command: str, exit_code: int, said: str) -> None:
        super().__init__(f"git {command} ended with exit code {exit_code}: {said or 'it said nothing'}")
        self.command = command
        self.exit_code = exit_code
        self.said = said

    def mentions(self, phrases: Iterable[str]) -> bool:
        """Whether git said any of these."""
        return any(phrase in self.said for phrase in phrases)

    @property
    def is_gone(self) -> bool:
        """Whether a commit that was asked for is not kept any more."""
        return self.mentions(
            ("not our ref", "unadvertised object", "did not send the commit", "couldn't find remote ref")
        )

    @property
    def is_about_the_remote(self) -> bool:
        """Whether another copy on this machine would fail alike."""
        if self.mentions(_DAMAGED):
            return False
        return self.mentions(("[remote rejected]", *_REFUSED, *_NOBODY_ASKED, *_TOO_LARGE, *_AWAY)) or (
            "Host key verification failed" in self.said or "Could not read from remote" in self.said
        )


def redacted(text: str, secrets: Iterable[Secret]) -> str:
    """``text`` without any of the secrets, however it was written, and without what an address carries."""
    for secret in secrets:
        pair = f"{secret.username}:{secret.password}"
        for form in (base64.b64encode(pair.encode()).decode(), secret.password):
            text = text.replace(form, "***")
    return _IN_URL.sub(r"\1***@", text)[-_MAX_SAID:]


def as_state_error(failure: GitFailure, remote: Remote, secret: Secret | None, doing: str) -> StateError:
    """The error to raise for a failure that has to do with the remote.

    Args:
        doing: What it was for: ``saving project 'alice'``.
    """
    where = f"the git repository {remote.url!r}"
    kind, what = _diagnosis(failure, remote, secret)
    return kind(f"{doing}: {where} {what}. git said: {failure.said or 'nothing'}")


def _diagnosis(failure: GitFailure, remote: Remote, secret: Secret | None) -> tuple[type[StateError], str]:
    if failure.mentions(_TOO_LARGE):
        return StateQuotaError, "takes no push this large; remove large files, or list them in .omniagentsignore"
    if "[remote rejected]" in failure.said or "[rejected]" in failure.said:
        return StateAccessError, (
            "refused the branch: a hook or a protection rule of the server; let it accept branches below the prefix, "
            "also forced pushes and deletions"
        )
    if "Host key verification failed" in failure.said:
        return StateAccessError, (
            "is on a host whose ssh key is not known, or has changed; check the key, then add it to known_hosts "
            f"(ssh-keyscan {remote.host.rpartition('@')[2]} prints it)"
        )
    if failure.mentions(_NOBODY_ASKED):
        return StateAccessError, f"wants credentials, and there are none for {remote.host!r}: {_ways_in(remote)}"
    if failure.mentions(_REFUSED):
        return StateAccessError, _refusal(remote, secret)
    if failure.mentions(_AWAY):
        return StateUnavailableError, "does not answer, or not to the end; save again"
    if failure.mentions(_NOT_THERE):
        return StateConfigurationError, (
            "is not there" + ("" if remote.is_local else ", or these credentials do not show it")
            + "; create it (`git init --bare`, or an empty repository on the forge) or correct the address"
        )  # fmt: skip
    return StateError, "could not be used"


def _refusal(remote: Remote, secret: Secret | None) -> str:
    if remote.scheme == "ssh":
        return "refuses every key of this user: load one with ssh-add, and let it read and write the repository"
    if secret is None:
        return f"refuses what the user's credential helpers gave, or this user may not write there: {_ways_in(remote)}"
    return (
        f"refuses {secret.source}: it is wrong, has expired, or may not read and write contents there; renew it. "
        f"Ways in: {_ways_in(remote)}"
    )


def _ways_in(remote: Remote) -> str:
    github = "GH_TOKEN or GITHUB_TOKEN" if remote.host == "github.com" else f"GH_TOKEN with GH_HOST={remote.host}"
    return (
        f"run `gh auth login`, set {TOKEN_VARIABLE} (or {github}), pass token=, configure a git credential.helper, "
        "or use an ssh address"
    )
