"""Sandboxes of others, each in a process of the peers' own environment, which is made on first use."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import subprocess
import sys
import venv
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from _harness import Side, cache_directory

__all__ = ["PEERS", "Peer", "peers", "versions"]

_HERE = Path(__file__).parent
_REQUIREMENTS = _HERE / "docker_peers.txt"

PEERS = ("pydantic-ai-backend", "pydantic-ai-harness", "llm-sandbox")


class Peer:
    """A process that runs ``docker_peers.py`` for one of ``PEERS``."""

    def __init__(self, name: str, image: str, address: str) -> None:
        self.name = name
        self._process = subprocess.Popen(
            [_python(), _HERE / "docker_peers.py", name, image],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, "DOCKER_HOST": address},
            text=True,
        )

    def seconds(self, kind: str, times: int) -> list[float]:
        """Let it do a kind of work; how long each time took."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps([kind, times]) + "\n")
        self._process.stdin.flush()
        answer = self._process.stdout.readline()
        if not answer:
            raise SystemExit(f"{self.name} ended with {self._process.wait()} during {kind!r}")
        found: list[float] = json.loads(answer)
        return found

    def side(self, kind: str, times: int) -> Side:
        """The same as a side of a measurement."""
        return partial(self.seconds, kind, times)

    def close(self) -> None:
        """End it with its sandbox."""
        self._process.communicate()


@contextlib.contextmanager
def peers(image: str, address: str) -> Iterator[list[Peer]]:
    """All of them, started."""
    with contextlib.ExitStack() as ending:
        started = []
        for name in PEERS:
            started.append(Peer(name, image, address))
            ending.callback(started[-1].close)
        yield started


def versions() -> dict[str, str]:
    """What is installed of them, by name."""
    lines = (line.partition("==") for line in _REQUIREMENTS.read_text("utf-8").splitlines() if "==" in line)
    return {name: version for name, _, version in lines if name in PEERS}


def _python() -> Path:
    """The interpreter of an environment that has what the requirements name; made with pip where there is none."""
    key = hashlib.sha256(_REQUIREMENTS.read_bytes() + sys.version.encode()).hexdigest()[:16]
    directory = cache_directory() / f"docker-peers-{key}"
    python = directory / "bin" / "python"
    is_complete = directory / "complete"
    if not is_complete.exists():
        venv.create(directory, clear=True, with_pip=True)
        subprocess.run([python, "-m", "pip", "install", "--quiet", "--requirement", _REQUIREMENTS], check=True)
        is_complete.touch()
    return python
