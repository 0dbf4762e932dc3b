"""What befalls an environment from outside and inside: prompt typed errors, nothing hangs, nothing is lost."""

from __future__ import annotations

import gc
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.services import docker_engine

from omniagents.backends import base
from omniagents.errors import BackendError, BackendStartError, BackendUnavailableError, GuestDiedError
from omniagents_docker.backend import DockerBackend
from omniagents_docker.engine import Engine
from omniagents_docker.hardening import HardeningProfile
from omniagents_docker.naming import container_name

pytestmark = pytest.mark.service

NewBackend = Callable[..., DockerBackend]


@pytest.fixture
def container(running: DockerBackend) -> str:
    return container_name(running.project_id)


def killed_meanwhile(backend: DockerBackend, act: Callable[[], object]) -> BackendUnavailableError:
    """The error of a call under way when ``act`` is done."""
    process = backend.workspace.start_process("echo started; sleep 300")
    assert next(iter(process.output()))
    act()
    with pytest.raises(BackendUnavailableError) as caught:
        process.wait()
    return caught.value


def goes_on(backend: DockerBackend) -> bytes:
    backend.start()
    return backend.workspace.read_bytes("work.txt")


def test_a_killed_container_ends_the_call_and_the_next_start_has_the_workspace(
    running: DockerBackend, engine: Engine, container: str
) -> None:
    error = killed_meanwhile(running, lambda: docker("kill", container))
    assert "its container ended with exit code 137; start() goes on with its workspace" in str(error)
    assert running.status == "failed"
    assert goes_on(running) == b"unsaved"


def test_a_removed_container_ends_the_call_and_the_next_start_has_the_workspace(
    running: DockerBackend, engine: Engine, container: str
) -> None:
    error = killed_meanwhile(running, lambda: engine.remove(container))
    # Whether it is gone by now, or only dead.
    assert re.search(r"its container (was removed|ended with exit code 137); start\(\) goes on with its", str(error))
    assert goes_on(running) == b"unsaved"


def test_a_container_paused_behind_our_back_ends_the_call_at_once(
    running: DockerBackend, engine: Engine, container: str
) -> None:
    error = killed_meanwhile(running, lambda: engine.pause(container))
    assert "its container was paused; start() resumes it" in str(error)
    assert goes_on(running) == b"unsaved"


@pytest.mark.parametrize("what", ["kill", "rm -f", "pause", "stop -t 0"])
def test_shutdown_after_the_container_was_lost_works_and_may_be_repeated(
    running: DockerBackend, engine: Engine, container: str, what: str
) -> None:
    docker(*what.split(), container)
    running.shutdown(save=False)
    running.shutdown(save=False)
    assert running.status == "stopped"
    assert engine.inspect(container) is None
    assert not engine.has_volume(container)


def test_too_much_memory_ends_the_command_and_not_the_environment(new_backend: NewBackend) -> None:
    backend = new_backend(hardening=HardeningProfile(memory_bytes=256 << 20))
    backend.start()
    result = backend.workspace.run(["python3", "-c", "x = bytearray(1 << 30)"], timeout_seconds=60)
    assert result.signal == 9
    assert backend.workspace.run("echo alive").stdout == b"alive\n"


def test_a_fork_bomb_meets_the_limit_of_processes(new_backend: NewBackend) -> None:
    backend = new_backend(hardening=HardeningProfile(pids=64))
    backend.start()
    bomb = "import os,time\nfor _ in range(200):\n if os.fork() == 0: time.sleep(60)"
    result = backend.workspace.run(["python3", "-c", bomb], timeout_seconds=20)
    assert b"BlockingIOError" in result.stderr
    assert backend.workspace.write_bytes("after.txt", b"x")


def test_a_full_disk_inside_is_an_error_with_a_name(running: DockerBackend) -> None:
    result = running.workspace.run("head -c 700M /dev/zero > /tmp/full", merge_streams=True)
    assert b"No space left on device" in result.stdout
    with pytest.raises(OSError, match="No space left"):
        running.workspace.write_bytes("/tmp/more", b"x" * (1 << 20), outside=True)


def test_a_workspace_over_its_size_has_its_commands_killed_where_no_quota_stops_them(new_backend: NewBackend) -> None:
    backend = new_backend(hardening=HardeningProfile(workspace_bytes=20 << 20, quota_check_seconds=0.2))
    backend.start()
    with pytest.raises(GuestDiedError):
        backend.workspace.run("for i in 1 2 3 4 5; do head -c 8M /dev/zero > full$i; done; sleep 300")
    assert "the workspace has" in str(backend.last_limit_error)
    backend.workspace.remove(*[entry.path for entry in backend.workspace.list()])
    assert backend.workspace.run("echo works").stdout == b"works\n"


def test_a_workspace_with_too_many_files_has_its_commands_killed(new_backend: NewBackend) -> None:
    backend = new_backend(hardening=HardeningProfile(workspace_files=500, quota_check_seconds=0.2))
    backend.start()
    fill = "for n in range(2000): open('f%d' % n, 'w').close()\nimport time; time.sleep(300)"
    with pytest.raises(GuestDiedError):
        backend.workspace.run(["python3", "-c", fill])
    assert re.search(r"the workspace has \d+ files and may have 500; its commands were", str(backend.last_limit_error))
    backend.workspace.remove(*[entry.path for entry in backend.workspace.list()])
    assert backend.workspace.run("echo works").stdout == b"works\n"


def test_no_single_file_grows_past_the_size_of_the_workspace(new_backend: NewBackend) -> None:
    backend = new_backend(hardening=HardeningProfile(workspace_bytes=20 << 20))
    backend.start()
    result = backend.workspace.run(["python3", "-c", "open('big', 'wb').write(b'x' * (30 << 20))"])
    assert b"File too large" in result.stderr


def test_killing_everything_inside_ends_the_guest_and_not_the_environment(running: DockerBackend) -> None:
    with pytest.raises(GuestDiedError):
        running.workspace.run("kill -9 -1")
    assert running.workspace.read_bytes("work.txt") == b"unsaved"


def test_a_missing_image_that_cannot_be_pulled_is_named_with_the_cure(new_backend: NewBackend) -> None:
    backend = new_backend(image="omniagents-test:no-such-image")
    with pytest.raises(BackendStartError, match=r"the engine has no image 'omniagents-test:no-such-image' and cannot"):
        backend.start()


def test_an_image_without_python_is_refused_with_the_cure(new_backend: NewBackend, engine: Engine) -> None:
    backend = new_backend(image="omniagents-test:busybox")
    with pytest.raises(BackendStartError) as caught:
        backend.start()
    assert str(caught.value) == (
        "image 'omniagents-test:busybox' has no python3, which the guest needs: use an image that has Python 3.8 or "
        "newer as `python3` (such as python:3.12-slim or astral/uv:python3.12-bookworm), or add it to yours "
        "(Debian: `RUN apt-get update && apt-get install -y python3`, Alpine: `RUN apk add python3`)"
    )
    assert engine.inspect(container_name(backend.project_id)) is None
    assert not engine.has_volume(container_name(backend.project_id))


def test_an_interpreter_that_is_too_old_is_refused_with_the_cure(new_backend: NewBackend, engine: Engine) -> None:
    backend = new_backend(image="omniagents-test:python3.9", python="python2.7")
    with pytest.raises(BackendStartError) as caught:
        backend.start()
    assert str(caught.value).startswith(
        "image 'omniagents-test:python3.9': python2.7 is no Python 3, it does not know the option -I; use an image"
    )
    assert engine.inspect(container_name(backend.project_id)) is None


def test_no_engine_is_a_prompt_error(new_backend: NewBackend) -> None:
    backend = new_backend(docker_host="unix:///nowhere/docker.sock")
    with pytest.raises(BackendStartError, match=r"no Docker Engine at unix:///nowhere/docker.sock"):
        backend.start()


@pytest.fixture
def second_engine(engine_address: str) -> Iterator[Callable[[str], str]]:
    """Starts and stops an engine that no other test uses."""
    # Not pytest's: the names of the engine's sockets would be longer than the 107 bytes of unix(7).
    folder = Path(tempfile.mkdtemp(prefix="engine-"))
    (folder / "docker").mkdir()
    (folder / "docker/images").symlink_to(docker_engine.CACHE)
    environment = {**os.environ, "OMNIAGENTS_SERVICES": str(folder)}

    def order(word: str) -> str:
        command = [
            sys.executable,
            docker_engine.__file__,
            word,
            *(["omniagents-test:python"] if word == "start" else []),
        ]
        return subprocess.run(command, env=environment, check=True, capture_output=True, text=True).stdout.strip()

    yield order
    order("stop")
    shutil.rmtree(folder)


def test_an_engine_that_restarts_ends_the_call_and_the_next_start_has_the_workspace(
    new_backend: NewBackend, second_engine: Callable[[str], str]
) -> None:
    backend = new_backend(docker_host=second_engine("start"), hardening=HardeningProfile(network="none"))
    backend.start()
    backend.workspace.write_bytes("work.txt", b"unsaved")
    error = killed_meanwhile(backend, lambda: second_engine("stop"))
    assert "the environment is gone" in str(error)
    with pytest.raises(BackendStartError, match="engine does not answer"):
        backend.start()
    second_engine("start")
    assert goes_on(backend) == b"unsaved"
    backend.shutdown(save=False)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)  # the SDK leaks each socket that finds nobody
        del error
        gc.collect()


def test_a_host_killed_with_9_loses_nothing_and_leaves_nothing_running(
    new_backend: NewBackend, engine_address: str, project_id: str
) -> None:
    program = f"""
import os, signal
from omniagents_docker.backend import DockerBackend
backend = DockerBackend({project_id!r}, docker_host={engine_address!r}, image="omniagents-test:python")
backend.start()
backend.workspace.write_bytes("work.txt", b"unsaved")
backend.workspace.run("sleep 300 & echo $! > pid")
os.kill(os.getpid(), signal.SIGKILL)
"""
    assert subprocess.run([sys.executable, "-c", program]).returncode == -9
    backend = new_backend()
    backend.start()
    assert backend.workspace.read_bytes("work.txt") == b"unsaved"
    assert backend.workspace.run("pgrep sleep").stdout == b""


def test_a_host_killed_before_the_workspace_was_filled_does_not_hide_the_snapshot(
    new_backend: NewBackend, engine: Engine, project_id: str
) -> None:
    marker = base._LOADING_MARKER
    backend = new_backend()
    backend._lease.acquire(takeover=False, owner="test")
    backend._provision()
    assert backend._waiting is not None
    backend._waiting.close()
    backend._lease.release()
    found = engine.run(container_name(project_id), ["ls", "-A", "/workspace"], user="1000:1000")
    assert found.output.strip() == marker
    engine.remove(container_name(project_id))
    engine.remove_volume(container_name(project_id))


def test_other_settings_replace_the_container_and_keep_the_workspace(
    running: DockerBackend, new_backend: NewBackend, engine: Engine, container: str
) -> None:
    before = engine.inspect(container)
    running._disconnect("as if the host had died")
    running._lease.release()
    changed = new_backend(hardening=HardeningProfile(uid=2000, gid=2000, pids=100))
    changed.start()
    after = engine.inspect(container)
    assert before is not None
    assert after is not None
    assert before["Id"] != after["Id"]
    assert changed.workspace.read_bytes("work.txt") == b"unsaved"
    assert changed.workspace.run("stat -c %u work.txt").stdout == b"2000\n"


def test_an_idle_environment_goes_and_its_workspace_stays(new_backend: NewBackend, engine: Engine) -> None:
    backend = new_backend(idle_timeout_seconds=0.5)
    backend.start()
    backend.workspace.write_bytes("work.txt", b"unsaved")
    until(lambda: backend.status == "stopped")
    assert engine.inspect(container_name(backend.project_id)) is None
    assert goes_on(backend) == b"unsaved"


def test_an_environment_past_its_age_goes_although_it_is_used(new_backend: NewBackend, engine: Engine) -> None:
    backend = new_backend(max_age_seconds=0.5)
    backend.start()
    backend.workspace.write_bytes("work.txt", b"unsaved")
    with pytest.raises(BackendError, match="the backend was shut down"):
        backend.workspace.run("while true; do sleep 0.1; done")
    until(lambda: backend.status == "stopped")
    assert engine.inspect(container_name(backend.project_id)) is None
    assert goes_on(backend) == b"unsaved"


def test_nothing_that_ends_stays_as_a_zombie(running: DockerBackend) -> None:
    running.workspace.run("for i in $(seq 50); do (sleep 0.01 & exec true) & done; wait", cwd="/", outside=True)
    orphan = "import os\nif not os.fork():\n os.setsid()\n if not os.fork(): os._exit(0)\n os._exit(0)\nos.wait()"
    running.workspace.run(["python3", "-c", orphan])
    with pytest.raises(GuestDiedError):
        running.workspace.run("(setsid sleep 0.05 &); kill -9 $PPID $(cut -d' ' -f4 /proc/$PPID/stat); sleep 300")
    look = "while grep -l '^State:.Z' /proc/[0-9]*/status; do sleep 0.01; done 2> /dev/null; echo none"
    assert running.workspace.run(look, timeout_seconds=30).stdout.endswith(b"none\n")


@pytest.fixture
def door(engine_address: str) -> Iterator[Path]:
    """The engine's socket under another name, which can go away alone."""
    with tempfile.TemporaryDirectory(prefix="door-") as folder:
        path = Path(folder, "docker.sock")
        path.symlink_to(engine_address.removeprefix("unix://"))
        yield path


def test_an_engines_socket_that_vanishes_hurts_only_what_needs_the_engine(
    new_backend: NewBackend, engine: Engine, door: Path
) -> None:
    backend = new_backend(docker_host=f"unix://{door}")
    backend.start()
    target = door.readlink()
    door.unlink()
    assert backend.workspace.run("echo works").stdout == b"works\n"
    with pytest.raises(BackendError, match="the engine does not answer"):
        backend.shutdown()
    assert engine.inspect(container_name(backend.project_id)) is not None
    door.symlink_to(target)
    backend.shutdown()
    assert engine.inspect(container_name(backend.project_id)) is None
    assert not engine.has_volume(container_name(backend.project_id))


def until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.05)


def docker(*arguments: str) -> None:
    subprocess.run(["docker", "--host", docker_engine.address(), *arguments], check=True, capture_output=True)
