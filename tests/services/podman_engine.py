"""Podman's Docker-compatible socket, with storage of the tests' own and the image they need.

python tests/services/podman_engine.py start    installs what is missing, starts, prints its address
python tests/services/podman_engine.py stop     stops what start started; the image stays

In the folder ``podman`` beside that of ``docker_engine.py``, whose cached root file systems it uses.
"""

from __future__ import annotations

import contextlib
import fcntl
import http.client
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # as a script, this folder is the only one

from tests.services.daemon import Daemon
from tests.services.session import note_start

__all__ = ["IMAGE", "address", "folder", "start", "stop"]

IMAGE = "omniagents-test:python"

_COMMANDS = ("podman", "catatonit", "runc", "mmdebstrap")
_START_SECONDS = 60.0

# As docker_engine.py's; Podman also asks for a limit of processes that a machine without the capability cannot set.
_RUNTIME = """\
#!/bin/sh
before=
for argument do
  case $before in
    --process | -p) file=$argument ;;
    --bundle | -b) file=$argument/config.json ;;
    *) file= ;;
  esac
  [ -z "$file" ] || sed -i -e 's/"CAP_SYS_RESOURCE",//g' \\
    -e 's/,{"type":"RLIMIT_NPROC","hard":[0-9]*,"soft":[0-9]*}//' "$file"
  before=$argument
done
exec runc "$@"
"""


def folder() -> Path:
    """Its folder."""
    return Path(os.environ.get("OMNIAGENTS_SERVICES", "/var/tmp/omniagents-services")) / "podman"


def address() -> str:
    """What DOCKER_HOST is for it."""
    return f"unix://{folder() / 'podman.sock'}"


def start(archive: Path) -> str:
    """Start it unless it runs, import ``archive`` as IMAGE, return the address.

    Raises:
        RuntimeError: Something is missing and this user may not install it, or it does not come up.
    """
    _need_commands()
    place = folder()
    place.mkdir(parents=True, exist_ok=True)
    with (place / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not _answers():
            _launch(place)
        if subprocess.run([*_podman(), "image", "exists", IMAGE], check=False).returncode:
            subprocess.run([*_podman(), "import", "--quiet", str(archive), IMAGE], check=True, capture_output=True)
    return address()


def stop() -> None:
    """Stop it, by its process id."""
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        os.kill(int((folder() / "pid").read_text("ascii")), signal.SIGTERM)
        (folder() / "pid").unlink()


def _need_commands() -> None:
    if any(shutil.which(name) is None for name in _COMMANDS):
        subprocess.run([sys.executable, Path(__file__).with_name("apt.py"), *_COMMANDS], check=True)
    missing = [name for name in _COMMANDS if shutil.which(name) is None]
    if missing or os.geteuid() != 0:
        raise RuntimeError(f"not installed, or not root: {', '.join(missing)}; as root: python tests/services/apt.py")


def _podman() -> list[str]:
    place = folder()
    runtime = place / "runc-here"
    runtime.write_text(_RUNTIME, encoding="ascii")
    runtime.chmod(0o755)
    return ["podman", "--runtime", str(runtime), "--root", str(place / "data"), "--runroot", str(place / "run")]


def _launch(folder: Path) -> None:
    command = [*_podman(), "system", "service", "--time=0", address()]
    engine = Daemon(command, folder / "service.log")
    (folder / "pid").write_text(str(engine.pid), encoding="ascii")
    note_start(folder)
    end = time.monotonic() + _START_SECONDS
    while not _answers():
        if engine.poll() is not None or time.monotonic() > end:
            raise RuntimeError(f"podman does not answer; see {folder / 'service.log'}")
        time.sleep(0.05)


def _answers() -> bool:
    connection = http.client.HTTPConnection("podman", timeout=10)
    connection.sock = socket.socket(socket.AF_UNIX)
    try:
        connection.sock.connect(str(folder() / "podman.sock"))
        connection.request("GET", "/_ping")
        return connection.getresponse().status == 200
    except OSError:
        return False
    finally:
        connection.close()


def main(arguments: list[str]) -> int:
    """Run one of start and stop."""
    if arguments == ["start"]:
        import docker_engine  # type: ignore[import-not-found,unused-ignore]

        print(start(docker_engine.archive_of(IMAGE)))
    elif arguments == ["stop"]:
        stop()
    else:
        print(__doc__, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
