"""A Docker Engine of the tests' own, and the images they need, built from Debian packages.

python tests/services/docker_engine.py start    installs what is missing, starts, builds images, prints its address
python tests/services/docker_engine.py stop     stops what start started; images stay cached
python tests/services/docker_engine.py address  prints the address if the engine answers, else fails

The engine listens on a unix socket only, with data, state and pid file in a folder of its own:
``$OMNIAGENTS_SERVICES/docker``, or else ``/var/tmp/omniagents-services/docker``. Nothing is pulled. After start the
images to make may be named. A second engine needs another folder and network namespace (``unshare --net``).
"""

from __future__ import annotations

import fcntl
import hashlib
import http.client
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # as a script, this folder is the only one

from tests.services.daemon import Daemon
from tests.services.session import note_start

__all__ = ["IMAGES", "address", "archive_of", "engine_answers", "ensure_image", "start", "stop"]

FOLDER = Path(os.environ.get("OMNIAGENTS_SERVICES", "/var/tmp/omniagents-services")) / "docker"
SOCKET = FOLDER / "docker.sock"
PID_FILE = FOLDER / "docker.pid"
LOG = FOLDER / "dockerd.log"
CACHE = FOLDER / "images"

RUNTIME = FOLDER / "runc-here"

_CAP_SYS_RESOURCE = 24  # linux/capability.h
_RUNTIME = """\
#!/bin/sh
# runc, but nobody is promised CAP_SYS_RESOURCE, which this machine does not have.
before=
for argument do
  case $before in --process | -p) sed -i 's/"CAP_SYS_RESOURCE",//g' "$argument" ;; esac
  before=$argument
done
exec runc "$@"
"""

_START_SECONDS = 60.0
_STOP_SECONDS = 30.0
_COMMANDS = ("docker", "dockerd", "containerd", "runc", "iptables", "mmdebstrap", "busybox")

_PYTHON = ("bookworm", ("ca-certificates", "git", "procps", "python3", "python3-venv", "ripgrep"))

#: Tag to (Debian release, packages). "" is no Debian at all: busybox alone.
IMAGES: dict[str, tuple[str, tuple[str, ...]]] = {
    "omniagents-test:python": _PYTHON,
    # Nothing can be pulled: this stands in for the default image, with Debian's Python and this machine's uv.
    "astral/uv:python3.12-bookworm": _PYTHON,
    "omniagents-test:busybox": ("", ("busybox-static",)),
    "omniagents-test:python3.9": ("bullseye", ("procps", "python2.7-minimal", "python3")),
    "omniagents-test:python3.13": ("trixie", ("procps", "python3")),
}


def address() -> str:
    """What DOCKER_HOST is for this engine."""
    return f"unix://{SOCKET}"


def engine_answers() -> bool:
    """Whether an engine answers on the socket; a client binary or a socket file alone proves nothing."""
    try:
        return _get("/_ping")[0] == 200
    except OSError:
        return False


def start(*images: str) -> str:
    """Start the engine unless it runs, make ``images`` (all of IMAGES by default), return the address.

    Raises:
        RuntimeError: Something is missing and this user may not install it, or the engine does not come up;
            the message says which command would help.
    """
    _need_commands()
    with _locked():
        if not engine_answers():
            _start_engine()
    for image in images or IMAGES:
        ensure_image(image)
    return address()


def stop() -> None:
    """Stop the engine, by its process id, with every container it runs."""
    with _locked():
        try:
            pid = int(PID_FILE.read_text("ascii"))
        except FileNotFoundError:
            return
        if _is_dockerd(pid):
            os.kill(pid, signal.SIGTERM)
            _wait(lambda: not _is_dockerd(pid), _STOP_SECONDS, f"dockerd {pid} does not stop")
        PID_FILE.unlink(missing_ok=True)


def ensure_image(image: str) -> None:
    """Build one of IMAGES unless the engine has it."""
    release, packages = IMAGES[image]
    with _locked():
        archive = _archive(release, packages)
        # One of another package list has the same name and another label.
        if archive.stem.encode() in _get(f"/images/{image}/json")[1]:
            return
        with archive.open("rb") as data:
            label = f"LABEL omniagents-test={archive.stem}"
            subprocess.run(
                [*_docker(), "import", "--change", label, "-", image], stdin=data, check=True, stdout=subprocess.DEVNULL
            )


def archive_of(image: str) -> Path:
    """The root file system of one of IMAGES as a tar archive, built unless it is cached."""
    with _locked():
        return _archive(*IMAGES[image])


def _need_commands() -> None:
    if any(shutil.which(name) is None for name in _COMMANDS):
        subprocess.run([sys.executable, Path(__file__).with_name("apt.py"), *_COMMANDS], check=True)
    missing = [name for name in _COMMANDS if shutil.which(name) is None]
    if missing:
        raise RuntimeError(f"not installed: {', '.join(missing)}; as root: python tests/services/apt.py")
    if os.geteuid() != 0:
        raise RuntimeError("a Docker Engine of one's own needs root: python tests/services/docker_engine.py start")


def _start_engine() -> None:
    command = [
        "dockerd",
        "--host", address(),
        "--data-root", str(FOLDER / "data"),
        "--exec-root", str(FOLDER / "exec"),
        "--pidfile", str(PID_FILE),
        "--oom-score-adjust", "0",
        *_runtime_options(),
    ]  # fmt: skip
    PID_FILE.unlink(missing_ok=True)
    engine = Daemon(command, LOG)
    _wait(lambda: engine_answers() or engine.poll() is not None, _START_SECONDS, f"dockerd does not answer, see {LOG}")
    if engine.poll() is not None:
        raise RuntimeError(f"dockerd ended with {engine.returncode}; {LOG} ends with: {_tail(LOG)}")
    note_start(FOLDER)


def _runtime_options() -> list[str]:
    """Where the machine lacks a capability, no process can be given it: it is taken out of what runc is told."""
    if _bounding_set() & (1 << _CAP_SYS_RESOURCE):
        return []
    RUNTIME.write_text(_RUNTIME, encoding="ascii")
    RUNTIME.chmod(0o755)
    return ["--add-runtime", f"here={RUNTIME}", "--default-runtime", "here"]


def _bounding_set() -> int:
    lines = Path("/proc/self/status").read_text("ascii").splitlines()
    return next(int(line.split()[1], 16) for line in lines if line.startswith("CapBnd:"))


def _archive(release: str, packages: tuple[str, ...]) -> Path:
    """The root file system, from the cache or built."""
    key = hashlib.sha256(" ".join([release, *packages]).encode()).hexdigest()[:16]
    archive = CACHE / f"{release or 'busybox'}-{key}.tar"
    if not archive.exists():
        CACHE.mkdir(parents=True, exist_ok=True)
        making = archive.with_suffix(".new.tar")
        making.unlink(missing_ok=True)
        (_build_debian if release else _build_busybox)(making, release, packages)
        making.rename(archive)
    return archive


def _build_debian(archive: Path, release: str, packages: tuple[str, ...]) -> None:
    own = Path("/etc/os-release").read_text("utf-8")
    sources = _apt_sources(release) if f"={release}\n" in own else []
    uv = shutil.which("uv")
    subprocess.run(
        [
            "mmdebstrap", "--quiet", "--variant=apt", f"--include={','.join(packages)}",
            *([f"--customize-hook=copy-in {uv} /usr/local/bin"] if uv else []),
            release, str(archive), *sources,
        ],
        check=True,
    )  # fmt: skip


def _apt_sources(release: str) -> list[str]:
    """The machine's own apt source files for its release: they name a mirror that works here."""
    named = re.compile(rf"(?<![\w-]){release}\b")
    files = [Path("/etc/apt/sources.list"), *sorted(Path("/etc/apt/sources.list.d").glob("*"))]
    return [str(file) for file in files if file.is_file() and named.search(file.read_text("utf-8"))]


def _build_busybox(archive: Path, release: str, packages: tuple[str, ...]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        binaries = Path(folder, "bin")
        binaries.mkdir()
        busybox = shutil.which("busybox")
        assert busybox is not None
        shutil.copy2(busybox, binaries / "busybox")
        for name in subprocess.run([busybox, "--list"], capture_output=True, text=True, check=True).stdout.split():
            if name != "busybox":
                (binaries / name).symlink_to("busybox")
        for name in ("etc", "tmp", "proc", "sys", "dev"):
            Path(folder, name).mkdir()
        subprocess.run(["tar", "-C", folder, "-cf", str(archive), "."], check=True)


def _docker() -> list[str]:
    return ["docker", "--host", address()]


def _get(path: str) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection("docker", timeout=10)
    connection.sock = socket.socket(socket.AF_UNIX)
    try:
        connection.sock.settimeout(10)
        connection.sock.connect(str(SOCKET))
        connection.request("GET", path)
        response = connection.getresponse()
        return response.status, response.read()
    finally:
        connection.close()


def _is_dockerd(pid: int) -> bool:
    try:
        status = Path(f"/proc/{pid}/stat").read_text("utf-8", "replace")
        name, _, rest = status.partition("(")[2].rpartition(")")
        return name == "dockerd" and rest.split()[0] != "Z"
    except FileNotFoundError:
        return False


def _wait(is_so: Callable[[], bool], seconds: float, otherwise: str) -> None:
    end = time.monotonic() + seconds
    while not is_so():
        if time.monotonic() > end:
            raise RuntimeError(otherwise)
        time.sleep(0.05)


def _tail(file: Path) -> str:
    return file.read_text("utf-8", "replace")[-1500:]


@contextmanager
def _locked() -> Iterator[None]:
    """One at a time: test workers start together."""
    FOLDER.mkdir(parents=True, exist_ok=True, mode=0o711)
    with (FOLDER / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def main(arguments: list[str]) -> int:
    """Run one of start, stop and address."""
    if arguments[:1] == ["start"]:
        print(start(*arguments[1:]))
    elif arguments == ["stop"]:
        stop()
    elif arguments == ["address"]:
        if not engine_answers():
            print(f"no engine answers at {address()}", file=sys.stderr)
            return 1
        print(address())
    else:
        print(__doc__, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
