"""Using everything up: processes, memory, disk, descriptors. The host and the neighbours stay responsive."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from omniagents.errors import BackendUnavailableError, GuestDiedError

_MIB = 1 << 20


@pytest.fixture
def neighbour(make):
    """Another tenant, who must not notice."""
    with make("a neighbour") as backend:
        yield backend
        assert backend.workspace.run("echo here").stdout == b"here\n"


def processes_of(user: int) -> int:
    """How many processes a user of the host has."""
    count = 0
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                count += entry.stat().st_uid == user
            except OSError:
                continue  # it ended meanwhile
    return count


# The oldest joke: :(){ :|:& };:
def test_a_fork_bomb_stays_small_and_ends(make, neighbour) -> None:
    with make(limits={"processes": 60}) as backend:
        bomb = "import os\nwhile True:\n    try:\n        os.fork()\n    except OSError:\n        pass"
        backend.workspace.write_bytes("bomb.py", bomb.encode())
        try:
            result = backend.workspace.run([*backend.python, "bomb.py"], timeout_seconds=3)
            assert result.timed_out
        except GuestDiedError:
            pass  # the guest could not even start its help; it was replaced
        if backend.host_user[0] not in (0, os.geteuid()):
            assert processes_of(backend.host_user[0]) <= 62
        assert neighbour.workspace.run("echo here").stdout == b"here\n"
        assert backend.workspace.run("echo back").stdout == b"back\n"


# A memory balloon, as private memory.
def test_a_memory_balloon_bursts(make, neighbour) -> None:
    with make(limits={"memory_bytes": 200 * _MIB}) as backend:
        assert starved(backend, "x = bytearray(900 << 20); print(len(x))")
        assert backend.workspace.run("echo back").stdout == b"back\n"


# As shared memory and in files of /tmp and /dev/shm, which rlimits do not count.
@pytest.mark.parametrize("place", ["/tmp", "/dev/shm"])
def test_file_systems_in_memory_are_bounded(make, place: str) -> None:
    with make(limits={"tmp_bytes": 32 * _MIB, "shared_memory_bytes": 32 * _MIB}) as backend:
        result = backend.workspace.run(f"head -c 100M /dev/zero > {place}/balloon; stat -c %s {place}/balloon")
        assert b"No space left on device" in result.stderr
        assert int(result.stdout) <= 32 * _MIB


# memfd_create: memory that belongs to no file system.
def test_memory_without_a_name_counts_too(make) -> None:
    with make(limits={"memory_bytes": 200 * _MIB}) as backend:
        if "cgroup" not in _means_of(backend, "memory_bytes"):
            pytest.skip("a documented limit: without a cgroup, shared memory is not counted")
        program = (
            "import os\nfd = os.memfd_create('x')\nfor _ in range(900): os.write(fd, bytes(1 << 20))\nprint('done')"
        )
        assert starved(backend, program)


# Filling the host's disk. Checked about once a second, so it is bounded by what is written in that time.
def test_filling_the_disk_ends_what_fills_it(make, neighbour) -> None:
    with make(limits={"workspace_bytes": 20 * _MIB}) as backend:
        filler = "for n in $(seq 1 3000); do head -c 1M /dev/zero > fill$n; sleep 0.02; done"
        with pytest.raises(
            BackendUnavailableError, match=r"workspace and home take \d+ MiB of disk and may take 20 MiB"
        ):
            backend.workspace.run(filler, timeout_seconds=60)
        assert backend.workspace.run("rm fill*; echo removed").stdout == b"removed\n"


# Using up the disk's inodes with empty files.
def test_filling_the_disk_with_empty_files_ends_what_does_it(make, neighbour) -> None:
    with make(limits={"workspace_files": 500}) as backend:
        program = "import time\nfor n in range(100000):\n    open('f%d' % n, 'w').close(); time.sleep(0.001)"
        with pytest.raises(BackendUnavailableError, match=r"workspace and home hold \d+ files and may hold 500"):
            backend.workspace.run([*backend.python, "-c", program], timeout_seconds=60)
        assert backend.workspace.run("find . -name 'f*' -delete; echo removed").stdout == b"removed\n"


# Descriptors are a resource of the whole machine (fs.file-max).
def test_descriptors_run_out_for_the_process_alone(make, attack) -> None:
    with make(limits={"open_files": 256}) as backend:
        told = attack(
            backend,
            """
opened = []
try:
    while True:
        opened.append(os.open("/dev/null", os.O_RDONLY))
except OSError as error:
    answer = errno.errorcode[error.errno]
for fd in opened:
    os.close(fd)
import resource
def raise_it():
    resource.setrlimit(resource.RLIMIT_NOFILE, (4096, 4096))
try:
    raise_it()
    raised = "worked"
except (ValueError, OSError):
    raised = "refused"
tell([answer, len(opened) < 256, raised])
""",
        )
        assert told == ["EMFILE", True, "refused"]


# Processor time, where a cgroup can be had: two busy loops get one fifth of a processor.
def test_a_busy_loop_gets_its_share(make) -> None:
    backend = make(limits={"cpus": 0.2})
    backend.start()
    program = (
        "import os, time\nchild = os.fork()\nend = time.monotonic() + 2\nwhile time.monotonic() < end: pass\n"
        "if not child: os._exit(0)\nos.wait()\nprint(sum(os.times()[:4]))"
    )
    assert float(backend.workspace.run([*backend.python, "-c", program]).stdout) < 1.5


def starved(backend, program: str) -> bool:
    """Whether the program, or the guest with it, was killed for want of memory before it printed anything."""
    try:
        result = backend.workspace.run([*backend.python, "-c", program])
    except GuestDiedError as error:
        return "the environment was out of memory" in str(error)
    return result.stdout == b"" and result.exit_code != 0


def _means_of(backend, limit: str) -> str:
    return str(backend.limits_applied[limit])
