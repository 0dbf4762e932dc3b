"""E2B's control plane, through its SDK: sandboxes of a project found, made, resumed and ended."""

from __future__ import annotations

import contextlib
import logging
import secrets
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, TypeVar

import httpx
from e2b import Sandbox, SandboxQuery
from e2b.exceptions import (
    AuthenticationException,
    NotFoundException,
    RateLimitException,
    SandboxException,
    SandboxNotFoundException,
    SandboxNotRunningException,
    TimeoutException,
)

from omniagents import __version__
from omniagents.errors import BackendError, BackendStartError, BackendUnavailableError, OmniagentsError

__all__ = [
    "METADATA_PROJECT",
    "Found",
    "Service",
    "asked_again",
    "is_gone",
    "network_options",
    "state_of",
    "translated",
    "unless_gone",
]

_log = logging.getLogger("omniagents")

#: On every sandbox of ours, so that it is found again: the project, whose leases know its owner, and our version.
METADATA_PROJECT: Final = "omniagents-project"
METADATA_SCOPE: Final = "omniagents-scope"
METADATA_VERSION: Final = "omniagents-version"

T = TypeVar("T")

_DELAYS: Final = (0.1, 0.5, 1.0)
# The SDK asks again itself after answers that say so, and lets what its HTTP client raises through.
_BROKEN: Final = (httpx.NetworkError, httpx.ProtocolError)
_KEYS: Final = "https://e2b.dev/dashboard?tab=keys"


@dataclass(frozen=True)
class Found:
    """A sandbox as the control plane lists it.

    Attributes:
        state: ``running`` or ``paused``.
        scope: ``Lease.scope`` of the process that made it.
    """

    id: str
    state: str
    project_id: str
    scope: str
    started_at: datetime


class Service:
    """The account that an API key belongs to. All of this may be asked twice, and is, where a connection broke off.

    Args:
        options: Of every request: ``api_key``, ``request_timeout``, ``domain``… as the SDK takes them.
    """

    def __init__(self, options: Mapping[str, Any]) -> None:
        self.options = dict(options)

    def find(self, project_id: str | None = None) -> list[Found]:
        """The running and paused sandboxes of a project, the oldest first; of all projects for None."""
        wanted = {} if project_id is None else {METADATA_PROJECT: project_id}
        pages = Sandbox.list(SandboxQuery(metadata=wanted) if wanted else None, **self.options)
        found = []
        while pages.has_next:
            for each in _over_connections(pages.next_items):
                project, scope = each.metadata.get(METADATA_PROJECT), each.metadata.get(METADATA_SCOPE, "")
                if project is not None:
                    found.append(Found(each.sandbox_id, each.state.value, project, scope, each.started_at))
        return sorted(found, key=lambda each: (each.started_at, each.id))

    def create(
        self, project_id: str, scope: str, template: str | None, seconds: int, given: Mapping[str, Any]
    ) -> Sandbox:
        """A new sandbox of the project. A request that is repeated does not make two of them."""
        metadata = {
            **(given.get("metadata") or {}),
            METADATA_PROJECT: project_id,
            METADATA_SCOPE: scope,
            METADATA_VERSION: __version__,
        }
        options = {**given, **self.options, "metadata": metadata, "idempotency_key": secrets.token_hex(16)}
        return _over_connections(lambda: Sandbox.create(template, timeout=seconds, **options))

    def connect(self, sandbox_id: str, seconds: int) -> Sandbox:
        """A living sandbox; a paused one is resumed."""
        return _over_connections(lambda: Sandbox.connect(sandbox_id, timeout=seconds, **self.options))

    def kill(self, sandbox_id: str) -> bool:
        """End a sandbox with its files; false if there is none any more."""
        return bool(_over_connections(lambda: Sandbox.kill(sandbox_id, **self.options)))


def is_gone(error: BaseException) -> bool:
    """Whether it says that the sandbox does not exist or run any more; what cannot be reached may well live."""
    return isinstance(error, SandboxNotFoundException | SandboxNotRunningException)


def state_of(sandbox: Sandbox) -> str:
    """``running``, ``paused`` or ``gone``; ``unknown`` where E2B does not say."""
    try:
        return str(sandbox.get_info().state.value)
    except Exception as error:  # of four libraries: what it means, only a missing sandbox tells
        _log.debug("looking for sandbox %s: %s", sandbox.sandbox_id, error)
        return "gone" if is_gone(error) else "unknown"


@contextlib.contextmanager
def unless_gone() -> Iterator[None]:
    """Leave the block, with no error, where the sandbox turns out not to be there any more."""
    try:
        yield
    except SandboxException as error:
        if not is_gone(error):
            raise


def network_options(network: str | Mapping[str, Any]) -> dict[str, Any]:
    """What ``create`` is given for a backend's ``network``; ValueError for a name that means nothing."""
    if isinstance(network, Mapping):
        return {"network": dict(network)}
    if network not in ("internet", "none"):
        raise ValueError(f"network is 'internet', 'none' or a mapping of rules, not {network!r}")
    return {"allow_internet_access": network == "internet"}


def may_pass(error: Exception) -> bool:
    """Whether asking a sandbox again may help: after limits, and whatever comes from the network."""
    if is_gone(error) or isinstance(error, AuthenticationException | OmniagentsError):
        return False
    return not isinstance(error, SandboxException) or isinstance(error, TimeoutException | RateLimitException)


def asked_again(question: Callable[[], T], passes: Callable[[Exception], bool] = may_pass) -> T:
    """The answer to what may be asked twice, whatever the network does to the first few attempts.

    Args:
        passes: Whether another attempt may succeed where one ended with this.
    """
    for delay in _DELAYS:
        try:
            return question()
        except Exception as error:  # of four libraries: what is final is known
            if not passes(error):
                raise
            time.sleep(delay)
    return question()


def _over_connections(question: Callable[[], T]) -> T:
    return asked_again(question, lambda error: isinstance(error, _BROKEN))


@contextlib.contextmanager
def translated(doing: str, kind: type[BackendError] = BackendUnavailableError) -> Iterator[None]:
    """Raise the SDK's errors as ours, with what to do about them.

    Raises:
        BackendStartError: The key is missing or refused, or there is no such template.
        BackendError: Of ``kind``: anything else.
    """
    try:
        yield
    except AuthenticationException as error:
        raise BackendStartError(
            f"{doing}: E2B refuses the API key, or there is none; set E2B_API_KEY to one from {_KEYS} ({error})"
        ) from error
    except RateLimitException as error:
        raise kind(f"{doing}: E2B's rate limit or quota was reached; try again later ({error})") from error
    except (SandboxNotFoundException, SandboxNotRunningException) as error:
        raise kind(f"{doing}: the sandbox is gone: it was ended, or its time was over ({error})") from error
    except (TimeoutException, httpx.TimeoutException) as error:
        raise kind(f"{doing}: no answer from E2B in time; the sandbox may still live ({error})") from error
    except NotFoundException as error:
        raise kind(f"{doing}: {error}") from error
    except OmniagentsError:
        raise
    except _BROKEN as error:
        raise kind(f"{doing}: E2B cannot be reached; is this machine online? ({error})") from error
    except Exception as error:  # the SDK lets errors of the libraries below it through
        raise kind(f"{doing}: E2B: {str(error) or repr(error)}") from error
