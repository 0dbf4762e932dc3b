"""Sandboxes: each a process tree of its own under bubblewrap, with a home and a /tmp that outlive a pause."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[3]
ENVD_VERSION = "0.6.13"
BASE = "base"


@dataclass
class Sandbox:
    """One sandbox.

    Attributes:
        request: The body of the request that made it.
        directory: Its home and /tmp on this machine, and the socket of its data plane.
    """

    id: str
    template: str
    request: Mapping[str, Any]
    directory: Path
    state: str = "running"
    token: str = field(default_factory=lambda: secrets.token_hex(16))
    started_at: datetime = field(default_factory=lambda: datetime.now(UTC))
    end_at: datetime = field(default_factory=lambda: datetime.now(UTC))
    process: subprocess.Popen[str] | None = None

    @property
    def socket(self) -> str:
        """The Unix socket that its data plane listens on."""
        return str(self.directory / "run" / "envd")

    def extend(self, seconds: float) -> None:
        """Let it live for so long from now."""
        self.end_at = datetime.now(UTC) + timedelta(seconds=seconds)

    def boot(self) -> None:
        """Start its data plane."""
        variables = {**(self.request.get("envVars") or {}), "E2B_SANDBOX": "true", "E2B_SANDBOX_ID": self.id}
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self.socket)
        self.process = subprocess.Popen(
            [
                *self._bwrap(),
                sys.executable,
                "-E",
                "-S",
                "-m",
                f"{__package__}.envd",
                "/run/e2b/envd",
                json.dumps(variables),
            ],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            text=True,
            env={},
            process_group=0,
        )
        assert self.process.stdout is not None
        if self.process.stdout.readline() != "ready\n":
            raise RuntimeError("the sandbox's data plane did not start; is bubblewrap installed?")
        self.state = "running"

    def _bwrap(self) -> list[str]:
        command = ["bwrap", "--unshare-user", "--uid", "1000", "--gid", "1000", "--unshare-pid", "--unshare-ipc"]
        command += ["--unshare-uts", "--hostname", "e2b.local", "--die-with-parent"]
        if self.request.get("allow_internet_access") is False:
            command += ["--unshare-net"]
        command += ["--ro-bind", "/", "/", "--dev", "/dev", "--proc", "/proc", "--tmpfs", "/run", "--tmpfs", "/home"]
        command += ["--bind", str(self.directory / "tmp"), "/tmp"]
        # Where the checkout or its Python lie below what was just covered.
        for needed in {str(ROOT), sys.prefix, sys.base_prefix}:
            command += ["--ro-bind", needed, needed]
        command += ["--bind", str(self.directory / "home"), "/home/user"]
        return [*command, "--bind", str(self.directory / "run"), "/run/e2b", "--chdir", str(ROOT)]

    def pause(self, memory: bool) -> None:
        """Stop every process; without ``memory`` end them, so that only the files are kept."""
        self.state = "paused"
        if memory:
            self._signal(signal.SIGSTOP)
        else:
            self._end_processes()

    def resume(self) -> None:
        """Go on after a pause."""
        if self.process is None:
            self.boot()
        else:
            self._signal(signal.SIGCONT)
        self.state = "running"

    def kill(self) -> None:
        """End it and remove its files."""
        self.state = "killed"
        self._end_processes()
        shutil.rmtree(self.directory, ignore_errors=True)

    def crash(self) -> None:
        """End its processes and nothing else: the control plane still believes it to run."""
        self._end_processes()

    def _end_processes(self) -> None:
        process, self.process = self.process, None
        if process is not None:
            assert process.stdout is not None
            process.kill()
            process.wait()
            process.stdout.close()

    def _signal(self, number: int) -> None:
        assert self.process is not None
        for pid in [*_descendants(self.process.pid)]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)


def _descendants(pid: int) -> Iterator[int]:
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        for child in task.read_text().split():
            yield int(child)
            yield from _descendants(int(child))


class Sandboxes:
    """All sandboxes of one server, and the snapshots taken of them."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._lock = threading.RLock()
        self._by_id: dict[str, Sandbox] = {}
        self._by_key: dict[str, Sandbox] = {}
        self.snapshots: dict[str, Path] = {}
        #: Templates that exist besides ``base`` and the snapshots.
        self.templates: set[str] = {BASE}

    def create(self, request: Mapping[str, Any], idempotency_key: str | None) -> Sandbox:
        """A new running sandbox; the one made before for the same key.

        Raises:
            KeyError: No such template.
        """
        with self._lock:
            known = self._by_key.get(idempotency_key or "")
        if known is not None:
            return known
        template = request["templateID"]
        if template not in self.templates and template not in self.snapshots:
            raise KeyError(template)
        sandbox = Sandbox(f"i{secrets.token_hex(10)}", template, request, self._directory / secrets.token_hex(8))
        if template in self.snapshots:
            _copy(self.snapshots[template], sandbox.directory)
        for name in ("home", "tmp", "run"):
            (sandbox.directory / name).mkdir(parents=True, exist_ok=True)
        sandbox.boot()
        sandbox.extend(request.get("timeout", 300))
        with self._lock:
            self._by_id[sandbox.id] = sandbox
            if idempotency_key:
                self._by_key[idempotency_key] = sandbox
        return sandbox

    def find(self, sandbox_id: str) -> Sandbox | None:
        """A running or paused sandbox."""
        self.expire()
        sandbox = self._by_id.get(sandbox_id)
        return sandbox if sandbox is not None and sandbox.state != "killed" else None

    def living(self) -> list[Sandbox]:
        """All running and paused ones, the newest first."""
        self.expire()
        with self._lock:
            found = [sandbox for sandbox in self._by_id.values() if sandbox.state != "killed"]
        return sorted(found, key=lambda sandbox: sandbox.started_at, reverse=True)

    def snapshot(self, sandbox: Sandbox) -> str:
        """Keep its files as a template; returns the name."""
        name = f"snapshot-{secrets.token_hex(6)}"
        _copy(sandbox.directory, self._directory / name)
        self.snapshots[name] = self._directory / name
        return name

    def delete_snapshot(self, name: str) -> bool:
        """Whether there was one."""
        path = self.snapshots.pop(name, None)
        if path is not None:
            shutil.rmtree(path)
        return path is not None

    def expire(self) -> None:
        """End, or pause, those whose time is over."""
        with self._lock:
            now = datetime.now(UTC)
            for sandbox in self._by_id.values():
                if sandbox.state == "running" and sandbox.end_at <= now:
                    if sandbox.request.get("autoPause"):
                        sandbox.pause(sandbox.request.get("autoPauseMemory", True))
                    else:
                        sandbox.kill()

    def close(self) -> None:
        """End all of them."""
        for sandbox in self.living():
            sandbox.kill()


def _copy(source: Path, target: Path) -> None:
    shutil.copytree(source, target, symlinks=True, ignore=shutil.ignore_patterns("envd"))
