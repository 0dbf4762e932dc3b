"""Using everything up: processes, memory, disk, inodes, descriptors. The host and the neighbours stay responsive."""

from __future__ import annotations

import contextlib
import os
import resource
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from omniagents.backends.base import Backend
from omniagents.errors import BackendUnavailableError, GuestCallError, GuestDiedError

_MIB = 1 << 20


class Bystander(threading.Thread):
    """Works beside an attack, over and over: on the host, and as another tenant. Both must get on, all the time."""

    def __init__(self, neighbour: Backend, place: Path) -> None:
        super().__init__()
        self._neighbour, self._place = neighbour, place
        self._is_over = threading.Event()
        self.rounds = 0
        self.error: Exception | None = None

    def run(self) -> None:
        try:
            while not self._is_over.is_set():
                self._work()
                self.rounds += 1
        except Exception as error:
            self.error = error

    def stop(self) -> None:
        self._is_over.set()
        self.join()

    def _work(self) -> None:
        result = self._neighbour.workspace.run("echo here | tee file", timeout_seconds=20)
        assert (result.stdout, result.timed_out) == (b"here\n", False)
        assert self._neighbour.workspace.read_bytes("file") == b"here\n"
        subprocess.run([sys.executable, "-S", "-c", "bytearray(50_000_000)"], check=True, timeout=20)
        (self._place / "file").write_bytes(bytes(_MIB))


@pytest.fixture
def bystander(make, tmp_path) -> Iterator[Bystander]:
    with make("a neighbour") as neighbour:
        thread = Bystander(neighbour, tmp_path)
        thread.start()
        yield thread
        thread.stop()
        assert thread.error is None
        assert thread.rounds >= 1


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
def test_a_fork_bomb_stays_small_and_ends(arena, make, bystander) -> None:
    with make(limits={"processes": 60}) as backend:
        bomb = "import os\nwhile True:\n    try:\n        os.fork()\n    except OSError:\n        pass"
        backend.workspace.write_bytes("bomb.py", bomb.encode())
        try:
            result = backend.workspace.run([*backend.python, "bomb.py"], timeout_seconds=3)
            assert result.timed_out
        except GuestDiedError:
            pass  # the guest could not even start its help; it was replaced
        if arena.name == "bubblewrap" and backend.host_user[0] not in (0, os.geteuid()):
            assert processes_of(backend.host_user[0]) <= 62
        assert works(backend)


# A memory balloon, as private memory.
def test_a_memory_balloon_bursts(make, bystander) -> None:
    with make(limits={"memory_bytes": 200 * _MIB}) as backend:
        assert starved(backend, "x = bytearray(900 << 20); print(len(x))")
        assert works(backend)


# As many processes, each small: the sum counts.
def test_a_memory_balloon_of_many_processes_bursts(arena, make, bystander) -> None:
    with make(limits={"memory_bytes": 200 * _MIB}) as backend:
        if not arena.counts_shared_memory(backend):
            pytest.skip("a documented limit: without a cgroup, each process is counted for itself")
        program = """
import os, time
reading, writing = os.pipe()
for n in range(20):
    if not os.fork():
        x = bytearray(40 << 20)
        os.write(writing, b"x")
        time.sleep(60)
os.close(writing)
while os.read(reading, 1) and os.waitpid(-1, os.WNOHANG) == (0, 0):
    n -= 1
    if n < 0:
        print("all lived")
        break
"""
        try:
            result = backend.workspace.run([*backend.python, "-c", program], timeout_seconds=30)
            assert (result.stdout, result.timed_out) == (b"", False)
        except GuestDiedError:
            pass  # it was the biggest of the small ones
        assert works(backend)


# As shared memory and in files of /tmp and /dev/shm, which rlimits do not count.
@pytest.mark.parametrize("place", ["/tmp", "/dev/shm"])
def test_file_systems_in_memory_are_bounded(make, place: str) -> None:
    with make(limits={"tmp_bytes": 32 * _MIB, "shared_memory_bytes": 32 * _MIB}) as backend:
        result = backend.workspace.run(f"head -c 100M /dev/zero > {place}/balloon; stat -c %s {place}/balloon")
        assert b"No space left on device" in result.stderr
        assert int(result.stdout) <= 32 * _MIB


# Inodes of file systems in memory are the kernel's memory.
def test_empty_files_in_memory_are_bounded(arena, make, bystander) -> None:
    with make(limits={"memory_bytes": 80 * _MIB}) as backend:
        if not arena.counts_shared_memory(backend):
            pytest.skip("a documented limit: without a cgroup, files in memory are not counted")
        program = "for n in range(10_000_000): open(f'/tmp/{n}', 'x').close()\nprint('all made')"
        assert starved(backend, program, timeout_seconds=60)
        assert works(backend)


# memfd_create: memory that belongs to no file system.
def test_memory_without_a_name_counts_too(arena, make) -> None:
    with make(limits={"memory_bytes": 200 * _MIB}) as backend:
        if not arena.counts_shared_memory(backend):
            pytest.skip("a documented limit: without a cgroup, shared memory is not counted")
        program = (
            "import os\nfd = os.memfd_create('x')\nfor _ in range(900): os.write(fd, bytes(1 << 20))\nprint('done')"
        )
        assert starved(backend, program)


# Filling the host's disk. Looked at now and then, so it is bounded by what is written in that time.
def test_filling_the_disk_ends_what_fills_it(arena, make, bystander) -> None:
    with make(limits={"workspace_bytes": 20 * _MIB}) as backend:
        filler = "for n in $(seq 1 3000); do head -c 1M /dev/zero > fill$n; sleep 0.02; done"
        with pytest.raises(BackendUnavailableError) as caught:
            backend.workspace.run(filler, timeout_seconds=60)
        assert "20" in arena.why_it_was_ended(backend, caught.value)
        backend.workspace.remove(*[entry.path for entry in backend.workspace.list()])
        assert works(backend)


# Using up the processes first keeps whoever measures from the inside from starting; killing it, from answering.
@pytest.mark.only("docker")
@pytest.mark.parametrize(
    "trick",
    ["import os, time\nwhile True:\n    try: os.fork() or time.sleep(300)\n    except OSError: time.sleep(300)",
     "import os\nwhile True:\n    for pid in filter(str.isdigit, os.listdir('/proc')):\n        try:\n"
     "            if b'scandir' in open(f'/proc/{pid}/cmdline', 'rb').read() and int(pid) != os.getpid():\n"
     "                os.kill(int(pid), 9)\n        except OSError: pass"],
    ids=["no process is left", "it is killed"],
)  # fmt: skip
def test_a_workspace_that_cannot_be_measured_is_ended_too(arena, make, trick: str) -> None:
    with make(limits={"processes": 60}) as backend:
        with pytest.raises(BackendUnavailableError) as caught:
            backend.workspace.run([*backend.python, "-c", trick], timeout_seconds=60)
        assert "a size that nobody can measure" in arena.why_it_was_ended(backend, caught.value)
        assert works(backend)


# Who may write in a directory and not list it, or writes below more directories than a path can name, hides what it
# writes from others of the same user.
@pytest.mark.parametrize(
    "place",
    ["os.mkdir('hidden'); os.chdir('hidden'); os.chmod('.', 0o300)",
     "for n in range(30):\n    os.mkdir('d' * 250); os.chdir('d' * 250)"],
    ids=["not listed", "deep"],
)  # fmt: skip
def test_what_fills_the_disk_cannot_be_hidden(arena, make, place: str) -> None:
    with make(limits={"workspace_bytes": 20 * _MIB}) as backend:
        filler = f"import os, time\n{place}\nfor n in range(600):\n    open(str(n), 'wb').write(bytes({_MIB}))\n"
        with pytest.raises(BackendUnavailableError) as caught:
            backend.workspace.run([*backend.python, "-c", filler + "    time.sleep(0.02)"], timeout_seconds=60)
        assert "20" in arena.why_it_was_ended(backend, caught.value)
        assert works(backend)


# A file that is open and has no name any more takes its space all the same; a thread may have descriptors of its own.
@pytest.mark.parametrize(
    "place", ["", "    import ctypes; ctypes.CDLL(None).unshare(0x400)\n"], ids=["of the process", "of a thread"]
)
def test_what_fills_the_disk_cannot_be_without_a_name(arena, make, place: str) -> None:
    with make(limits={"workspace_bytes": 20 * _MIB}) as backend:
        filler = f"""
import os, threading, time
def fill():
{place}
    held = []
    while True:
        held.append(os.open("file", os.O_CREAT | os.O_RDWR)); os.unlink("file")
        for n in range(10):
            os.write(held[-1], bytes({_MIB})); time.sleep(0.02)
threading.Thread(target=fill).start()
"""
        with pytest.raises(BackendUnavailableError) as caught:
            backend.workspace.run([*backend.python, "-c", filler], timeout_seconds=30)
        assert "20" in arena.why_it_was_ended(backend, caught.value)
        assert works(backend)


# fallocate takes all that the disk has in one call; with FALLOC_FL_KEEP_SIZE past each file's own limit, too.
# Programs that want it for speed do without. Docker's own filter allows it: documented.
@pytest.mark.only("bubblewrap")
def test_space_cannot_be_taken_without_writing(sandbox, attack) -> None:
    told = attack(
        sandbox,
        """
fd = os.open("space", os.O_CREAT | os.O_RDWR)
os.write(fd, bytes(8192))
modes = (0, 1, 0x10, 0x11, 0x20)  # allocate, KEEP_SIZE, ZERO_RANGE, both, INSERT_RANGE
tell([call(285, 47, fd, mode, 0, 4096) for mode in modes]
     + [call(285, 47, fd, 3, 0, 4096), os.fstat(fd).st_size])  # PUNCH_HOLE
os.unlink("space")
""",
    )
    assert told == ["ENOTSUP"] * 5 + ["worked", 8192]


# A file grows by gigabytes between two looks at the disk; each file's own limit is the kernel's.
def test_no_file_grows_without_end(make) -> None:
    with make(limits={"workspace_bytes": 20 * _MIB}) as backend:
        with contextlib.suppress(BackendUnavailableError):  # at the limit, the next look may end everything
            backend.workspace.run("head -c 2000M /dev/zero > big", timeout_seconds=60)
        assert backend.workspace.stat("big").size <= 20 * _MIB


# Using up the disk's inodes with empty files.
def test_filling_the_disk_with_empty_files_ends_what_does_it(arena, make, bystander) -> None:
    with make(limits={"workspace_files": 500}) as backend:
        program = "import time\nfor n in range(100000):\n    open('f%d' % n, 'w').close(); time.sleep(0.001)"
        with pytest.raises(BackendUnavailableError) as caught:
            backend.workspace.run([*backend.python, "-c", program], timeout_seconds=60)
        assert "files and may" in arena.why_it_was_ended(backend, caught.value)
        backend.workspace.remove(*[entry.path for entry in backend.workspace.list()])
        assert works(backend)


# Descriptors are a resource of the whole machine (fs.file-max).
def test_descriptors_run_out_for_the_process_alone(make, attack, bystander) -> None:
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


# Processor time, where a cgroup can be had: two busy loops get one fifth of a processor. The kernel's own count says
# that they wanted more: on a machine with much to do they might get little without any limit.
def test_a_busy_loop_gets_its_share(arena, make) -> None:
    with make(limits={"cpus": 0.2}) as backend:
        program = (
            "import os, time\nchild = os.fork()\nend = time.monotonic() + 2\nwhile time.monotonic() < end: pass\n"
            "if not child: os._exit(0)\nos.wait()\nprint(sum(os.times()[:4]))"
        )
        assert float(backend.workspace.run([*backend.python, "-c", program]).stdout) < 1.5
        share, held_back = processor_time(arena.first_process(backend))
        assert share == 0.2
        assert held_back > 0


# The same for who asked for nothing. (With bubblewrap a limit is asked for: documented.)
@pytest.mark.only("docker")
def test_no_environment_has_all_processors_unless_asked_for(arena, make) -> None:
    with make() as backend:
        assert processor_time(arena.first_process(backend))[0] == 2.0


# Output without end fills the host's memory, if the host keeps it.
def test_output_without_end_is_kept_in_bounds(make, bystander) -> None:
    with make() as backend:
        result = backend.workspace.run("yes | head -c 500M", timeout_seconds=60)
        assert result.truncated
        assert len(result.stdout) <= 64 * _MIB


# A tree is described to the host path by path: few directories in each other make each of many paths very long.
def test_paths_without_end_do_not_fill_the_hosts_memory(make, bystander) -> None:
    with make() as backend:
        nest = "import os\nfor n in range(60): os.mkdir('d' * 250); os.chdir('d' * 250)\n"
        fill = "for n in range(20_000): open(str(n), 'x')"
        assert backend.workspace.run([*backend.python, "-c", nest + fill]).exit_code == 0
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        with pytest.raises(GuestCallError, match="256 MiB of paths"):
            backend.workspace.scan()
        assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 600 << 10
        assert works(backend)


def processor_time(pid: int) -> tuple[float | None, int]:
    """How many processors a process of the host and its group may use, and how often the kernel held them back."""
    groups = [line.split(":", 2)[1:] for line in Path(f"/proc/{pid}/cgroup").read_text().splitlines()]
    controller, path = next(
        ((name, path) for name, path in groups if "cpu" in name.split(",")), ("", dict(groups).get("", ""))
    )
    mounts = [line.split() for line in Path("/proc/self/mounts").read_text().splitlines()]
    kind = "cgroup" if controller else "cgroup2"
    place = next(each[1] for each in mounts if each[2] == kind and (not controller or "cpu" in each[3].split(",")))
    group = Path(place + path)
    if controller:
        names = ("cpu.cfs_quota_us", "cpu.cfs_period_us")
        quota, period = ((group / name).read_text().strip() for name in names)
    else:
        quota, period = (group / "cpu.max").read_text().split()
    counts = dict(line.split() for line in (group / "cpu.stat").read_text().splitlines())
    share = None if quota in ("max", "-1") else int(quota) / int(period)
    return share, int(counts["nr_throttled"])


def works(backend: Backend) -> bool:
    """The environment gets on, though what an attack left may take a first call with it."""
    try:
        return backend.workspace.run("echo back").stdout == b"back\n"
    except GuestDiedError:
        return backend.workspace.run("echo back").stdout == b"back\n"


def starved(backend: Backend, program: str, **options: float) -> bool:
    """Whether the program, or the guest with it, was killed for want of memory before it printed anything."""
    try:
        result = backend.workspace.run([*backend.python, "-c", program], **options)
    except GuestDiedError:
        return True
    return result.stdout == b"" and result.exit_code != 0 and not result.timed_out
