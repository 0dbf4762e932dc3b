"""The engine, as few typed calls as the backend needs; the only module that touches the docker SDK."""

from __future__ import annotations

import contextlib
import os
import socket
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple, cast

import docker
import docker.errors
import docker.utils
import requests
from docker.constants import DEFAULT_DOCKER_API_VERSION, DEFAULT_UNIX_SOCKET
from docker.context import Context, ContextAPI

from omniagents.errors import BackendError
from omniagents_docker.channel import channel_over
from omniagents_docker.stream import ExecStream

__all__ = ["Engine", "EngineError", "ExecResult"]

_REQUEST_SECONDS = 60.0
_ABSENT = 404
_CONFLICT = 409
_UNDER_WAY = "already in progress"
_REMOVAL_SECONDS = 20.0
_LOOK_SECONDS = 0.05


# What is not there needs no removing, and is None to a reader.
_absent = contextlib.suppress(docker.errors.NotFound)


class EngineError(BackendError):
    """The engine refused, or did not answer.

    Attributes:
        status: The HTTP status of a refusal; None if there was no answer.
    """

    def __init__(self, message: str, status: int | None = None) -> None:
        super().__init__(message)
        self.status = status

    @property
    def is_conflict(self) -> bool:
        """The name is taken, or the container is not in the state that the request needs."""
        return self.status == _CONFLICT

    @property
    def is_absent(self) -> bool:
        """There is no such thing, or not any more."""
        return self.status == _ABSENT


class ExecResult(NamedTuple):
    """How a short command in a container ended; output is standard output and error together."""

    exit_code: int
    output: str


class _Client(docker.APIClient):  # type: ignore[misc]  # the SDK has no types
    """The SDK's, whose TLS settings requests would forget where REQUESTS_CA_BUNDLE or CURL_CA_BUNDLE is set."""

    def __init__(self, **arguments: Any) -> None:
        super().__init__(**arguments)
        # There is no proxy before a unix socket, and no password for it in ~/.netrc, which is read at every request.
        self.trust_env = not self.base_url.startswith("http+docker:")

    def merge_environment_settings(self, url: Any, proxies: Any, stream: Any, verify: Any, cert: Any) -> Any:
        return super().merge_environment_settings(url, proxies, stream, self.verify if verify is None else verify, cert)


class Engine:
    """A Docker Engine, or what speaks like one.

    Args:
        client: The SDK's low-level client.
        arguments: What it was made with.
        is_podman: Whether it is Podman that speaks like an engine.
    """

    def __init__(self, client: docker.APIClient, arguments: Mapping[str, Any], is_podman: bool = False) -> None:
        self.is_podman = is_podman
        #: Its volumes can be given a size, as far as was tried. (Podman takes one, and then cannot mount the volume.)
        self.has_quotas = not is_podman
        self._client = client
        self._arguments = arguments
        self.address: str = client.base_url

    @classmethod
    def connect(cls, host: str | None = None, *, timeout_seconds: float = _REQUEST_SECONDS) -> Engine:
        """Find the engine as the docker command does: ``host``, DOCKER_HOST, DOCKER_CONTEXT, the current context.

        Args:
            timeout_seconds: How long the engine may be silent during any request.

        Raises:
            EngineError: Nobody answers there.
        """
        if (host or os.environ.get("DOCKER_HOST", "")).startswith("ssh://"):
            raise EngineError("ssh:// is not supported: forward the engine's socket (ssh -L) and name that")
        with _translated(f"no Docker Engine at {host or os.environ.get('DOCKER_HOST') or 'its default address'}"):
            arguments = {**_arguments(host), "timeout": timeout_seconds, "version": DEFAULT_DOCKER_API_VERSION}
            _knock(arguments.get("base_url"))
            said = _greeting(arguments)
            arguments["version"] = said.get("Api-Version", "auto")
            return cls(_Client(**arguments), arguments, is_podman="Libpod-API-Version" in said)

    def sibling(self) -> Engine:
        """Another connection to the same engine."""
        with self._asking("the engine does not take another connection"):
            return Engine(_Client(**self._arguments), self._arguments, self.is_podman)

    def info(self) -> dict[str, Any]:
        """What the engine says of itself and its machine."""
        with self._asking("the engine's state cannot be read"):
            found: dict[str, Any] = self._client.info()
            return found

    def version(self) -> dict[str, Any]:
        """Versions of the engine and its parts."""
        with self._asking("the engine's version cannot be read"):
            found: dict[str, Any] = self._client.version()
            return found

    def image(self, name: str) -> dict[str, Any] | None:
        """An image's description; None if the engine does not have it."""
        with self._asking(f"image {name!r} cannot be read"), _absent:
            found: dict[str, Any] = self._client.inspect_image(name)
            return found
        return None

    def pull(self, name: str) -> Iterator[Mapping[str, Any]]:
        """Pull an image; yields the engine's progress messages.

        Raises:
            EngineError: It cannot be pulled.
        """
        repository, tag = docker.utils.parse_repository_tag(name)
        with self._asking(f"image {name!r} cannot be pulled"):
            for message in self._client.pull(repository, tag=tag or "latest", stream=True, decode=True):
                if "error" in message:
                    raise EngineError(f"image {name!r} cannot be pulled: {message['error']}")
                yield message

    def networks(self, name: str) -> list[dict[str, Any]]:
        """Networks of exactly this name, the oldest first."""
        with self._asking("networks cannot be listed"):
            found = self._client.networks(names=[name])
        exact = [network for network in found if network["Name"] == name]
        return sorted(exact, key=lambda network: (network["Created"], network["Id"]))

    def create_network(self, name: str, options: Mapping[str, str], labels: Mapping[str, str]) -> str:
        """Make a bridge network; returns its id."""
        with self._asking(f"network {name!r} cannot be created"):
            made = self._client.create_network(
                name, driver="bridge", options=dict(options), labels=dict(labels), check_duplicate=True
            )
            return str(made["Id"])

    def remove_network(self, network: str) -> None:
        """Remove a network nobody uses; absent is fine."""
        with self._asking(f"network {network!r} cannot be removed"), _absent:
            self._client.remove_network(network)

    def create(self, name: str, config: Mapping[str, Any]) -> tuple[str, list[str]]:
        """Create a container; returns its id and the engine's warnings.

        Raises:
            EngineError: Refused; ``is_conflict`` where the name is taken.
        """
        with self._asking("the container cannot be created"):
            made = self._client.create_container_from_config(dict(config), name)
            return str(made["Id"]), list(made.get("Warnings") or [])

    def start(self, container: str) -> None:
        """Start a created or stopped container."""
        with self._asking("the container cannot be started"):
            self._client.start(container)

    def inspect(self, container: str) -> dict[str, Any] | None:
        """A container's description, by id or name; None if there is none."""
        with self._asking("the container cannot be read"), _absent:
            found: dict[str, Any] = self._client.inspect_container(container)
            return found
        return None

    def containers(self, label: str) -> list[dict[str, Any]]:
        """All containers with a label, or a ``label=value``, running or not."""
        with self._asking("containers cannot be listed"):
            found: list[dict[str, Any]] = self._client.containers(all=True, filters={"label": label})
            return found

    def volumes(self, label: str) -> list[dict[str, Any]]:
        """All volumes with a label."""
        with self._asking("volumes cannot be listed"):
            return list(self._client.volumes(filters={"label": label}).get("Volumes") or [])

    def volume(self, name: str) -> dict[str, Any] | None:
        """A volume's description; None if there is none."""
        with self._asking(f"volume {name!r} cannot be read"), _absent:
            found: dict[str, Any] = self._client.inspect_volume(name)
            return found
        return None

    def has_volume(self, name: str) -> bool:
        """Whether there is a volume of this name."""
        return self.volume(name) is not None

    def create_volume(self, name: str, labels: Mapping[str, str], options: Mapping[str, str]) -> None:
        """Make a volume of the local driver."""
        with self._asking("the workspace's volume cannot be created"):
            self._client.create_volume(name, driver="local", labels=dict(labels), driver_opts=dict(options) or None)

    def remove_volume(self, name: str) -> None:
        """Remove a volume; absent is fine."""
        with self._asking(f"volume {name!r} cannot be removed"), _absent:
            self._client.remove_volume(name, force=True)

    def rename(self, container: str, name: str) -> None:
        """Give a container another name; one that is taken is a conflict."""
        with self._asking("the container cannot be renamed"):
            self._client.rename(container, name)

    def pause(self, container: str) -> None:
        """Freeze every process of a container."""
        with self._asking("the container cannot be paused"):
            self._client.pause(container)

    def unpause(self, container: str) -> None:
        """Let a frozen container go on."""
        with self._asking("the container cannot be resumed"):
            self._client.unpause(container)

    def remove(self, container: str) -> None:
        """Kill and remove a container in whatever state; absent is fine. Its volumes stay."""
        end = time.monotonic() + _REMOVAL_SECONDS
        while True:
            try:
                with self._asking("the container cannot be removed"), _absent:
                    self._client.remove_container(container, force=True)
                return
            except EngineError as error:
                # Somebody else has begun to: it is gone when that is done.
                if _UNDER_WAY not in str(error) or time.monotonic() > end:
                    raise
            time.sleep(_LOOK_SECONDS)

    def events(self, label: str) -> Iterator[Mapping[str, Any]]:
        """What happens to containers with a label, from now on and without end."""
        with self._asking("events cannot be read"):
            yield from self._client.events(decode=True, filters={"type": "container", "label": label})

    def run(
        self, container: str, argv: Sequence[str], *, user: str, path: str | None = None, privileged: bool = False
    ) -> ExecResult:
        """Run a short command in a container and wait for it."""
        environment = None if path is None else [f"PATH={path}"]
        with self._asking("a command cannot be run in the container"):
            made = self._client.exec_create(
                container, list(argv), user=user, environment=environment, privileged=privileged, workdir="/"
            )
            output = self._client.exec_start(made["Id"])
            code = self._client.exec_inspect(made["Id"])["ExitCode"]
        return ExecResult(-1 if code is None else int(code), output.decode("utf-8", "replace"))

    def open(self, container: str, argv: Sequence[str], *, user: str, end: Callable[[str], None]) -> ExecStream:
        """Start a process in a container and attach to it.

        Args:
            end: Called with the exec's id when the stream is closed: sees to it that the process ends.

        Raises:
            EngineError: The container is gone, stopped or paused, or the engine does not answer.
        """
        with self._asking("a process cannot be started in the container"):
            made = self._client.exec_create(container, list(argv), user=user, stdin=True, workdir="/")
            exec_id = str(made["Id"])
            attached = self._client.exec_start(exec_id, socket=True)
        reader = attached._response.raw._fp.fp
        return ExecStream(channel_over(_socket_below(attached), reader), lambda: end(exec_id))

    def is_exec_running(self, exec_id: str) -> bool:
        """Whether a process that was started in a container still runs."""
        with self._asking("a process in the container cannot be read"), _absent:
            return bool(self._client.exec_inspect(exec_id)["Running"])
        return False

    def close(self) -> None:
        """Give up connections that are idle."""
        self._client.close()

    @contextlib.contextmanager
    def _asking(self, what: str) -> Iterator[None]:
        with _translated(what):
            _knock(self._arguments.get("base_url"))
            yield


def _arguments(host: str | None) -> dict[str, Any]:
    """Where the engine is, as the docker command finds it."""
    if host is not None:
        return {
            "base_url": host,
            **{key: value for key, value in docker.utils.kwargs_from_env().items() if key == "tls"},
        }
    if not os.environ.get("DOCKER_HOST"):
        name = os.environ.get("DOCKER_CONTEXT")
        context = _context(name)
        if context is None:
            raise EngineError(f"there is no docker context {name!r}; `docker context ls` lists them")
        if context.Name != "default":
            return {"base_url": context.Host, "tls": context.TLSConfig or False}
    return dict(docker.utils.kwargs_from_env())


def _context(name: str | None) -> Context | None:
    try:
        return ContextAPI.get_context(name)
    except Exception as error:  # the SDK raises nothing more special for a file that it cannot read
        raise EngineError(f"the docker context {name or 'in use'!r} cannot be read: {error}") from error


def _greeting(arguments: Mapping[str, Any]) -> Mapping[str, str]:
    """The headers of the engine's answer to a ping. Its whole version takes 10 ms: it asks each of its parts."""
    with contextlib.closing(_Client(**arguments)) as client:
        answer = client.get(f"{client.base_url}/_ping", timeout=arguments["timeout"])
        answer.raise_for_status()
        headers: Mapping[str, str] = answer.headers
        return headers


def _knock(address: str | None) -> None:
    """Try a unix socket before the SDK does, which leaks its own when it cannot be connected."""
    if address is None or address.startswith(("unix://", "http+unix://")):
        with socket.socket(socket.AF_UNIX) as tried:
            tried.settimeout(_REQUEST_SECONDS)
            tried.connect("/" + (address or DEFAULT_UNIX_SOCKET).partition("://")[2].lstrip("/"))


def _socket_below(attached: Any) -> socket.socket:
    """The socket itself: the SDK hands out a file object over it, or with TLS the socket."""
    return cast("socket.socket", getattr(attached, "_sock", attached))


@contextlib.contextmanager
def _translated(what: str) -> Iterator[None]:
    try:
        yield
    except docker.errors.APIError as error:
        status = error.response.status_code if error.response is not None else None
        raise EngineError(f"{what}: {error.explanation or error}", status) from error
    except (docker.errors.DockerException, requests.RequestException, OSError) as error:
        raise EngineError(f"{what}: the engine does not answer: {error}") from error
