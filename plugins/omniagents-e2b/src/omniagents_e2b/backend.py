"""``e2b``: one managed cloud sandbox for each project."""

from __future__ import annotations

import contextlib
import logging
import os
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar, Literal

from e2b import Sandbox

from omniagents.backends.base import Backend, Problem
from omniagents.connection import ByteStream
from omniagents.errors import (
    BackendError,
    BackendStartError,
    BackendUnavailableError,
    ProjectInUseError,
    SaveFailedError,
)
from omniagents.presets.base import Preset
from omniagents.state.base import Snapshot, StateManager
from omniagents_e2b.claiming import Claim, outlive_rivals
from omniagents_e2b.keeping import Keeper
from omniagents_e2b.reaper import Orphan, reap
from omniagents_e2b.service import Found, Service, is_gone, network_options, state_of, translated, unless_gone
from omniagents_e2b.stream import Power, SandboxStream
from omniagents_e2b.templates import template_of

__all__ = ["E2BBackend", "OnIdle"]

_log = logging.getLogger("omniagents")

OnIdle = Literal["pause", "kill"]


class E2BBackend(Backend, Power):
    """A sandbox of the project's own at E2B, or at a server that speaks its protocols.

    The sandbox is found again by its metadata: ``start()`` goes on in a running or paused one of this project, and
    makes one only if there is none. While this process lives, it extends the sandbox's life; when the process dies, the
    sandbox's time runs out after ``timeout_seconds`` at most. Calls need one request each.

    The API key is ``E2B_API_KEY``, or ``api_key``. It stays in this process.

    Args:
        template: Name or id of the sandbox's template; by default the preset's (``omniagents e2b build-template``),
            else E2B's own ``base``. It needs Python 3.8 or newer.
        timeout_seconds: How long the sandbox outlives this process, should it die; at least 15.
        idle_timeout_seconds: After so long without a call the workspace is saved, and then ``on_idle`` happens. None
            for never.
        on_idle: ``pause`` keeps files, memory and processes at E2B until the next call, which resumes them; a paused
            sandbox stays until it is killed. ``kill`` shuts the backend down. It is also what E2B itself does to a
            sandbox whose time has run out: with ``kill``, what was not saved is lost with this process.
        network: ``"internet"``, ``"none"``, or the SDK's ``SandboxNetworkOpts`` for rules.
        metadata: Your own, beside ours, for listings at E2B.
        api_key: Instead of ``E2B_API_KEY``.
        request_timeout_seconds: Of one request.
        python: The interpreter in the template.

    The other arguments are ``Backend``'s.
    """

    workspace_path = "/home/user/workspace"
    is_text_channel: ClassVar[bool] = True

    def __init__(
        self,
        project_id: str,
        state_manager: StateManager | None = None,
        *,
        template: str | None = None,
        timeout_seconds: int = 300,
        idle_timeout_seconds: float | None = 300.0,
        on_idle: OnIdle = "pause",
        network: Literal["internet", "none"] | Mapping[str, Any] = "internet",
        metadata: Mapping[str, str] | None = None,
        api_key: str | None = None,
        request_timeout_seconds: float = 60.0,
        python: str = "python3",
        preset: Preset | None = None,
        environment: Mapping[str, str] | None = None,
        checkpoint_interval_seconds: float | None = 60.0,
        takeover: bool = False,
    ) -> None:
        super().__init__(
            project_id,
            state_manager,
            preset=preset,
            environment=environment,
            checkpoint_interval_seconds=checkpoint_interval_seconds,
            takeover=takeover,
        )
        if timeout_seconds < 15:
            raise ValueError(f"timeout_seconds is at least 15, not {timeout_seconds!r}")
        if on_idle not in ("pause", "kill"):
            raise ValueError(f"on_idle is 'pause' or 'kill', not {on_idle!r}")
        self.template = template_of(template, preset)
        self.timeout_seconds = timeout_seconds
        self.idle_timeout_seconds = idle_timeout_seconds
        self.on_idle: OnIdle = on_idle
        self.python = (python,)
        self._request_timeout = request_timeout_seconds
        self._given = {
            "metadata": dict(metadata or {}),
            "lifecycle": {"on_timeout": on_idle},
            **network_options(network),
        }
        options: dict[str, Any] = {"request_timeout": request_timeout_seconds}
        if api_key is not None:
            options["api_key"] = api_key
        self._service = Service(options)
        self._claim = Claim(project_id, self._lease.scope)
        self._sandbox: Sandbox | None = None
        self._stream: SandboxStream | None = None
        self._keeper: Keeper | None = None
        self._is_paused = False
        self._pausing = threading.RLock()

    @classmethod
    def problems(cls) -> list[Problem]:
        """Whether there is an API key; whether E2B takes it, only a start tells."""
        if os.environ.get("E2B_API_KEY"):
            return []
        cure = "set E2B_API_KEY to a key from https://e2b.dev/dashboard?tab=keys"
        return [Problem("no E2B API key", "E2B_API_KEY is not set", cure)]

    @classmethod
    def reap(cls, *, dry_run: bool = True) -> list[Orphan]:
        """Remove the sandboxes that no living process owns; see ``reaper.reap``."""
        if not os.environ.get("E2B_API_KEY"):
            return []
        return reap(Service({}), lambda project_id: cls(project_id)._lease, dry_run=dry_run)

    @property
    def sandbox(self) -> Sandbox | None:
        """The SDK's own object, for what this class does not do; None while not running."""
        return self._sandbox

    @property
    def is_paused(self) -> bool:
        """Whether the sandbox was paused by this backend; the next call resumes it."""
        return self._is_paused

    @property
    def seconds_idle(self) -> float:
        """How long ago anything was asked of the environment, or it answered; saving does not count."""
        link, stream = self._link, self._stream
        if link is None or stream is None or link.is_busy:
            return 0.0
        return time.monotonic() - stream.last_used

    @contextlib.contextmanager
    def changing(self) -> Iterator[None]:
        """No start, pause or shutdown of another thread in here."""
        with self._changing:
            yield

    def start(self) -> None:
        """As ``Backend.start``; a paused sandbox is resumed."""
        try:
            super().start()
        except BaseException:
            if self._keeper is not None:
                self._keeper.end()
                self._keeper = None
            raise

    def shutdown(self, *, save: bool = True) -> None:
        """As ``Backend.shutdown``; a paused sandbox is resumed to be saved.

        Raises:
            SaveFailedError: Also if E2B cannot be reached: the sandbox may well live, and ``start()`` goes on in it.
        """
        keeper = self._keeper
        super().shutdown(save=save)
        # Not under the lock that the keeper's own work may be waiting for.
        if keeper is not None:
            keeper.stop()

    def checkpoint(self, message: str = "") -> Snapshot | None:
        """As ``Backend.checkpoint``. Pausing saved everything: a paused backend has nothing new to save."""
        if self._is_paused and self.state_manager.keeps_snapshots:
            return self.snapshot
        stream = self._stream
        used = stream.last_used if stream is not None else 0.0
        try:
            return super().checkpoint(message)
        finally:
            # Saving is no use of the environment: it does not keep an idle one.
            if stream is not None:
                stream.last_used = used

    def pause(self) -> None:
        """Save, then have E2B keep files, memory and processes, and charge for no processor time.

        Calls under way end with ``BackendNotStartedError``; the next call resumes.

        Raises:
            BackendError: E2B does not answer, or refuses.
            StateError: It could not be saved, and is not paused.
        """
        with self._changing:
            if self._is_paused or self._link is None:
                return
            self._link.suspend(f"{self}: paused")
            self._link.resume()
            self.checkpoint("before a pause")
            with self._pausing:
                sandbox, stream = self._sandbox, self._stream
                if sandbox is None or stream is None:
                    return
                # From here on, whatever is to be sent waits for ``resume``.
                self._is_paused = True
                stream.hold()
                try:
                    with translated(f"{self}: pausing", BackendError):
                        sandbox.pause()
                except BaseException:
                    self._is_paused = False
                    stream.go_on(sandbox)
                    raise

    def resume(self) -> None:
        """Let everything go on after ``pause``; any call does so.

        Raises:
            BackendUnavailableError: The sandbox is gone.
        """
        if not self._is_paused:
            return
        with self._pausing:
            if not self._is_paused or self._sandbox is None or self._stream is None:
                return
            with translated(f"{self}: resuming"):
                self._sandbox = self._service.connect(self._sandbox.sandbox_id, self.timeout_seconds)
                self._stream.go_on(self._sandbox)
            self._is_paused = False

    def extend(self) -> None:
        """Let the sandbox live for ``timeout_seconds`` from now.

        Raises:
            BackendError: E2B does not answer in a quarter of that, or the sandbox is gone.
        """
        sandbox = self._sandbox
        if sandbox is not None and not self._is_paused and not self._claim.is_lost:
            limit = min(self._request_timeout, self.timeout_seconds / 4)
            with translated(f"{self}: extending the sandbox's life"):
                sandbox.set_timeout(self.timeout_seconds, request_timeout=limit)

    def wake(self) -> None:
        """As ``resume``; called by the stream before it sends anything."""
        self.resume()

    def is_asleep(self) -> bool:
        """Whether the sandbox is paused, if only by E2B because its time was over; then any call resumes it."""
        with self._pausing:
            sandbox, stream = self._sandbox, self._stream
            if sandbox is None or stream is None:
                return False
            if not self._is_paused and state_of(sandbox) == "paused":
                _log.warning("%s: its time was over, and E2B paused it; the next call resumes it", self)
                self._is_paused = True
                stream.hold()
            return self._is_paused

    def _provision(self) -> None:
        self._sandbox, self._stream, self._is_paused = None, None, False
        self._claim = Claim(self.project_id, self._lease.scope)
        with translated(f"{self}: starting", BackendStartError):
            for found in self._service.find(self.project_id):
                with unless_gone():
                    self._reattach(found)
                    break
            else:
                self._create()
        if self._keeper is None:
            # From now on, since loading a snapshot may take longer than the sandbox has to live.
            self._keeper = Keeper(self)

    def _reattach(self, found: Found) -> None:
        """Go on in a sandbox there is. Running, it may belong to a living process of another machine."""
        self._sandbox = self._service.connect(found.id, self.timeout_seconds)
        self._is_reattached = True
        has_strangers = self._claim.look(self._sandbox)
        if found.state == "running" and has_strangers and not self.takeover:
            raise ProjectInUseError(
                f"project {self.project_id!r} is in use by a process of another machine, in sandbox {found.id}; shut "
                f"that one down, wait {self.timeout_seconds} s if it died, or start this one with takeover=True"
            )

    def _create(self) -> None:
        self._is_reattached = False
        scope = self._lease.scope
        self._sandbox = self._service.create(self.project_id, scope, self.template, self.timeout_seconds, self._given)
        outlive_rivals(self._service, self.project_id, self._sandbox.sandbox_id)

    def _open(self, argv: Sequence[str]) -> ByteStream:
        sandbox = self._sandbox
        if sandbox is None:
            raise BackendUnavailableError(f"{self}: its sandbox was removed")
        path = self.environment.get("PATH")
        with translated(f"{self}: starting the guest in sandbox {sandbox.sandbox_id}"):
            self._stream = self._claim.enter(
                sandbox, lambda variables: SandboxStream(sandbox, argv, variables, path, self)
            )
        return self._stream

    def _save_before_end(self) -> bool:
        reason = None
        try:
            self.resume()
            if super()._save_before_end():
                return True
        except BackendUnavailableError as error:
            reason = error
        sandbox = self._sandbox
        is_ours = self._lease.is_ours() and not self._claim.is_lost
        if sandbox is None or not is_ours or state_of(sandbox) == "gone":
            return False
        self._status = "failed"
        raise SaveFailedError(
            f"{self}: the workspace could not be saved, because E2B cannot be reached; sandbox {sandbox.sandbox_id} is "
            "kept. start() goes on in it, and shutdown(save=False) discards what was not saved"
        ) from reason

    def _destroy(self) -> None:
        keeper, self._keeper = self._keeper, None
        if keeper is not None:
            keeper.end()
        sandbox, self._sandbox, self._stream = self._sandbox, None, None
        if sandbox is None or self._claim.is_lost:
            return
        with translated(f"{self}: ending sandbox {sandbox.sandbox_id}", BackendError):
            try:
                self._service.kill(sandbox.sandbox_id)
            except Exception as error:
                if not is_gone(error):
                    self._sandbox = sandbox  # to be tried again
                    raise

    def __str__(self) -> str:
        return f"E2BBackend(project_id={self.project_id!r})"
