"""What bubblewrap adds to the contract: nothing survives the host process but the workspace; who files belong to."""

from __future__ import annotations

import os
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import warnings
from pathlib import Path

import pytest

from omniagents import create_state_manager
from omniagents.errors import BackendStartError, BackendUnavailableError
from omniagents.guest.kernel import descendants, is_alive
from omniagents_bubblewrap import spawner
from omniagents_bubblewrap.backend import BubblewrapBackend

# Starts a session, does something in it, says so, and waits to be killed.
_HOST = """
import os, signal, sys
from omniagents_bubblewrap.backend import BubblewrapBackend
backend = BubblewrapBackend(project_id=sys.argv[1])
backend.start()
backend.workspace.write_bytes("a.txt", b"kept")
backend.workspace.run(sys.argv[2])
print("ready", flush=True)
signal.pause()
"""


def until(condition) -> None:
    end = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < end
        os.sched_yield()


@pytest.mark.parametrize(
    "left_running",
    ["setsid sleep 300 & sleep 300 & true", "(sleep 0.2; kill -STOP -1) > /dev/null 2>&1 & sleep 300 & true"],
    ids=["daemons", "a stopped guest"],
)
def test_a_killed_host_leaves_its_workspace_and_no_process(works, make, left_running: str) -> None:
    project_id = f"killed with {left_running}"
    host = subprocess.Popen([sys.executable, "-c", _HOST, project_id, left_running], stdout=subprocess.PIPE)
    assert host.stdout is not None
    assert host.stdout.readline() == b"ready\n"
    inside = descendants(host.pid)
    assert len(inside) >= 4
    host.send_signal(signal.SIGKILL)
    host.communicate()
    until(lambda: not any(is_alive(pid) for pid in inside))
    with make(project_id) as backend:
        assert backend.workspace.read_bytes("a.txt") == b"kept"


def test_a_session_outlives_the_thread_that_started_it(make) -> None:
    backend = make()
    thread = threading.Thread(target=backend.start)
    thread.start()
    thread.join()
    guest = backend.workspace.run("echo $PPID; cut -d' ' -f22 /proc/$PPID/stat").stdout
    assert backend.workspace.run("echo $PPID; cut -d' ' -f22 /proc/$PPID/stat").stdout == guest


def test_a_forked_process_starts_sandboxes_of_its_own(make) -> None:
    with make("parent's"):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # forking with threads: what a host may do all the same
            child = os.fork()
        if not child:
            code = 1
            try:
                backend = BubblewrapBackend(project_id="child's")
                backend.start()
                code = 0 if backend.workspace.run("echo on").stdout == b"on\n" else 2
                backend.shutdown()
            finally:
                os._exit(code)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_a_shut_down_session_leaves_nothing_on_disk_or_in_the_groups(make) -> None:
    backend = make()
    backend.start()
    base = backend._base()
    assert sorted(path.name for path in base.iterdir()) == ["home", "workspace"]
    backend.shutdown()
    assert not base.exists()
    assert [*Path("/sys/fs/cgroup").rglob(f"omniagents-{os.getpid()}-*")] == []


# The sandbox sees an empty directory then: what is saved would be nothing, as the latest snapshot.
def test_a_workspace_removed_behind_our_back_is_not_saved_as_empty(make) -> None:
    store = create_state_manager("directory")
    with make(state_manager=store) as backend:
        backend.workspace.write_bytes("a.txt", b"kept")
        backend.checkpoint()
        shutil.rmtree(backend._directory)
        with pytest.raises(BackendUnavailableError) as caught:
            backend.checkpoint()
    assert str(caught.value) == (
        f"{backend}: {backend._directory} was removed or replaced; start() again for a new workspace"
    )
    assert [snapshot.files for snapshot in store.history(backend.project_id)] == [1]
    with make(state_manager=store) as backend:
        assert backend.workspace.read_bytes("a.txt") == b"kept"


# A program that runs as its owner, in a directory open to everybody, gives another user of the host this user's rights.
def test_nobody_else_on_the_host_reaches_what_it_leaves(make) -> None:
    with make() as backend:
        backend.workspace.run("cp /bin/sh .; chmod 4755 sh; chmod 755 . ~")
        assert (backend._directory / "sh").stat().st_mode & 0o7777 == 0o4755
        assert backend._base().stat().st_mode & 0o777 == 0o700


# What still ran could write into the workspace while it is saved or removed, or beside the next guest.
def test_a_closed_sandbox_has_no_process_left(make, monkeypatch) -> None:
    monkeypatch.setattr("omniagents_bubblewrap.backend.make_cgroup", lambda wanted: None)  # its removal waits, too
    backend = make()
    backend.start()
    backend.workspace.run("for n in $(seq 200); do sleep 300 & done; true")
    (stream,) = backend._streams
    inside = descendants(stream._child.pid)
    stream.end("a limit")
    stream.close()
    assert len(inside) > 200
    assert [pid for pid in inside if is_alive(pid)] == []


def test_a_host_with_thousands_of_open_files_starts_sandboxes(make) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    opened = [os.open("/dev/null", os.O_RDONLY) for _ in range(1100)]
    try:
        with make() as backend:
            assert backend.workspace.run("echo on").stdout == b"on\n"
    finally:
        for fd in opened:
            os.close(fd)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_what_killed_hosts_left_in_tmp_is_swept_up() -> None:
    left, used = Path("/tmp/omniagents-stage-999999999-x"), Path(f"/tmp/omniagents-stage-{os.getpid()}-x")
    left.mkdir()
    used.mkdir()
    spawner._sweep()
    assert (left.exists(), used.exists()) == (False, True)
    used.rmdir()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be root")
@pytest.mark.platform
def test_a_workspace_that_root_owns_is_worth_a_warning(make, tmp_path, caplog) -> None:
    with make("p", workspace_dir=tmp_path) as backend:
        assert backend.host_user == (0, 0)
        assert backend.workspace.run("id -u").stdout == b"1000\n"
    assert caplog.messages == [
        f"processes of project 'p' run as root outside of their namespaces: root owns {tmp_path}; "
        "give it to another user (chown) for a second wall"
    ]


def test_a_directory_of_the_users_is_used_and_kept(make, tmp_path) -> None:
    (tmp_path / "mine").mkdir()
    if os.geteuid() == 0:
        os.chown(tmp_path / "mine", 1001, 1001)
    (tmp_path / "mine" / "a.txt").write_bytes(b"before")
    backend = make(workspace_dir=tmp_path / "mine")
    with backend:
        assert backend.workspace.read_bytes("a.txt") == b"before"
        backend.workspace.write_bytes("b.txt", b"after")
    assert (tmp_path / "mine" / "b.txt").read_bytes() == b"after"
    assert (tmp_path / "mine" / "b.txt").stat().st_uid == (tmp_path / "mine").stat().st_uid


def test_home_and_workspace_outlive_the_guest_and_tmp_does_not(make) -> None:
    with make() as backend:
        backend.workspace.run("touch here ~/here /tmp/here")
        with pytest.raises(BackendUnavailableError):
            backend.workspace.run("kill -9 $PPID $(cut -d' ' -f4 /proc/$PPID/stat); sleep 300")
        assert backend.workspace.run("ls here ~/here /tmp/here").stdout == b"/home/user/here\nhere\n"


def test_what_enforces_each_limit_is_told(make) -> None:
    with make(limits={"processes": 100, "workspace_bytes": None}) as backend:
        told = dict(backend.limits_applied)
    assert told["memory_bytes"] in ("cgroup v1", "cgroup v2", "rlimit, of each process")
    assert told["processes"] in ("cgroup v1", "cgroup v2", "rlimit")
    del told["memory_bytes"], told["processes"]
    assert told == {
        "cpus": "none",
        "open_files": "rlimit, of each process",
        "tmp_bytes": "tmpfs",
        "shared_memory_bytes": "tmpfs",
        "workspace_bytes": "none",
        "workspace_files": "checked",
        "host_free_bytes": "checked",
    }


def test_without_a_cgroup_rlimits_hold(make, monkeypatch) -> None:
    monkeypatch.setattr("omniagents_bubblewrap.backend.make_cgroup", lambda wanted: None)
    with make(limits={"processes": 40, "memory_bytes": 300 << 20}) as backend:
        assert backend.limits_applied["processes"] == "rlimit"
        balloon = backend.workspace.run([*backend.python, "-c", "x = bytearray(900 << 20)"])
        assert b"MemoryError" in balloon.stderr
        if backend.host_user[0]:
            bomb = "import os, time\nfor n in range(100):\n    if not os.fork(): time.sleep(60)"
            assert b"Resource temporarily unavailable" in backend.workspace.run([*backend.python, "-c", bomb]).stderr


def test_processors_cannot_be_limited_without_a_cgroup_and_that_is_an_error(make, monkeypatch) -> None:
    monkeypatch.setattr("omniagents_bubblewrap.backend.make_cgroup", lambda wanted: None)
    backend = make("p", limits={"cpus": 1})
    with pytest.raises(BackendStartError) as caught:
        backend.start()
    assert str(caught.value) == (
        "BubblewrapBackend(project_id='p'): cpus=1 needs a cgroup, and this user may not make one here; run under "
        "`systemd-run --user --scope -p Delegate=yes`, or leave cpus out"
    )


@pytest.fixture
def toolchain(place: Path) -> Path:
    """A program in a directory of its own."""
    tool = place / "bin" / "mytool"
    tool.parent.mkdir()
    tool.write_text("#!/bin/sh\necho mine\n")
    tool.chmod(0o755)
    return place


def test_a_toolchain_that_the_user_names_is_visible_and_first_in_path(make, toolchain: Path) -> None:
    with make(visible=[toolchain]) as backend:
        assert backend.workspace.run("mytool").stdout == b"mine\n"
        assert backend.workspace.run(f"touch {toolchain}/x").exit_code == 1


def test_another_python_can_run_the_guest(make) -> None:
    python = os.path.realpath(sys.executable)
    with make(visible=[sys.base_prefix], python=python) as backend:
        assert backend.workspace.run([*backend.python, "-c", "import sys; print(sys.version_info[:2])"]).stdout == (
            f"{sys.version_info[:2]}\n".encode()
        )


_ORDINARY = """
import os, sys
from omniagents_bubblewrap.backend import BubblewrapBackend
def told(project_id):
    with BubblewrapBackend(project_id=project_id) as backend:
        return backend.workspace.run("id -u").stdout_text.strip(), backend.host_user
told("imports everything while it can be read")
os.setgroups([])
os.setgid(65534)
os.setuid(65534)
os.environ["XDG_DATA_HOME"] = os.environ["HOME"] = sys.argv[1]
print(*told("ordinary"))
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
@pytest.mark.platform
def test_an_ordinary_user_needs_no_privileges(works) -> None:
    with tempfile.TemporaryDirectory(dir="/tmp") as data:
        os.chown(data, 65534, 65534)
        result = subprocess.run([sys.executable, "-c", _ORDINARY, data], capture_output=True, text=True, check=False)
    assert (result.stdout, result.stderr) == ("1000 (65534, 65534)\n", "")
