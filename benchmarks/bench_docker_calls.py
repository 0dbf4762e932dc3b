"""Calls on a started Docker backend beside the same work through docker-py, the docker command, and others' sandboxes.

All sides use containers of one image, on one real engine. docker-py writes and reads files with put_archive and
get_archive, and runs what has no call of its own (glob, search) as a command, as its users do; the other sandboxes
are driven by docker_peers.py, each in a process of its own, and do what they have calls for.
"""

from __future__ import annotations

import io
import statistics
import subprocess
import sys
import tarfile
import uuid
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

import docker
from _docker_peers import Peer, peers, versions
from _harness import Measurement, Report, Side, measure, options, package_version, repeated, scratch, timed
from docker_peers import COMMANDS, FILL, TEXT

from omniagents import create_tools
from omniagents_docker import naming
from omniagents_docker.backend import DockerBackend
from omniagents_docker.warm_pool import WarmPool

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from tests.services import docker_engine

IMAGE = "omniagents-test:python"
OURS = "omniagents"

# What DockerBackend asks the engine for, as flags: its network, a volume, file systems in memory, limits.
HARDENED = (
    "--network", naming.NETWORK, "--read-only", "--cap-drop", "ALL", "--security-opt", "no-new-privileges",
    "--user", "65534", "--volume", "/workspace", "--tmpfs", "/home/agent", "--tmpfs", "/tmp", "--tmpfs", "/var/tmp",
    "--memory", "2g", "--memory-swap", "2g", "--pids-limit", "512", "--cpus", "2", "--log-driver", "none",
    "--sysctl", "net.ipv6.conf.all.disable_ipv6=1",
)  # fmt: skip


def main() -> None:
    report = Report(
        "bench_docker_calls", options(__doc__), {"docker (Python)": package_version("docker"), **versions()}
    )
    address = docker_engine.start(IMAGE)
    client = docker.DockerClient(base_url=address)
    report.note(engine=client.version()["Version"], files=1000, bytes_read_and_written=len(TEXT))
    with scratch(), peers(IMAGE, address) as others:
        starts(report, address, client, others)
        sdk = client.containers.run(IMAGE, ["sleep", "infinity"], detach=True, init=True, working_dir="/tmp")
        try:
            with DockerBackend(f"bench {uuid.uuid4()}", docker_host=address, image=IMAGE) as backend:
                calls(report, backend, sdk, address, others)
        finally:
            sdk.remove(force=True)
        at_once(report, address, client, others)
    client.close()
    report.write()


def calls(report: Report, backend: DockerBackend, sdk: Any, address: str, others: Sequence[Peer]) -> None:
    """Each kind of work by every side, then all kinds in turns."""
    ours, theirs = our_works(backend), sdk_works(sdk)
    command_line = ["docker", "--host", address, "exec", "--workdir", "/tmp", sdk.id]
    by_command = {**COMMANDS, "shell true": ["true"], "read 4 KB": ["cat", "note.txt"]}
    for kind in ours:
        sides: dict[str, Side] = {"docker-py": repeated(theirs[kind], 3), OURS: repeated(ours[kind], 20)}
        if kind in by_command:
            run = partial(subprocess.run, [*command_line, *by_command[kind]], check=True, capture_output=True)
            sides["docker exec"] = repeated(run, 3)
        sides |= {other.name: other.side(kind, 3) for other in others}
        found = report.add(measure(kind, sides, rounds=report.options.counted(8), pairs=pairs(sides)))
        report.fact(f"times_faster_than_the_fastest: {kind}", fastest(found))
    mixed: dict[str, Side] = {
        OURS: timed(partial(fifty, [*ours.values()])),
        "docker-py": timed(partial(fifty, [*theirs.values()])),
        **{other.name: other.side("50 mixed calls", 1) for other in others},
    }
    report.add(measure("50 mixed calls", mixed, rounds=report.options.counted(3), pairs=pairs(mixed)))


def pairs(sides: dict[str, Side]) -> list[tuple[str, str]]:
    """Every other side over ours."""
    return [(side, OURS) for side in sides if side != OURS]


def fastest(found: Measurement) -> float:
    """The lowest of the other sides' ratios to ours."""
    return round(min(statistics.median(found.ratios(*pair)) for pair in found.pairs), 1)


def our_works(backend: DockerBackend) -> dict[str, Callable[[], object]]:
    tools = {tool.name: tool.execute for tool in create_tools(backend)}
    numbers = count()
    backend.workspace.run(["python3", "-c", FILL])
    tools["write_file"](absolute_path="note.txt", content=TEXT)
    return {
        "shell true": partial(tools["run_shell_command"], command="true"),
        "read 4 KB": partial(tools["read_file"], absolute_path="note.txt"),
        "write 4 KB": lambda: tools["write_file"](absolute_path="note.txt", content=TEXT + str(next(numbers))),
        "glob 1,000 files": partial(tools["glob"], pattern="**/*.py"),
        "search 1,000 files": partial(tools["search_file_content"], pattern="line 0109"),
    }


def sdk_works(container: Any) -> dict[str, Callable[[], object]]:
    numbers = count()
    container.exec_run(["python3", "-c", FILL], workdir="/tmp")
    put(container, TEXT)
    works: dict[str, Callable[[], object]] = {
        kind: partial(container.exec_run, argv, workdir="/tmp") for kind, argv in COMMANDS.items()
    }
    return {
        **works,
        "read 4 KB": lambda: b"".join(container.get_archive("/tmp/note.txt")[0]),
        "write 4 KB": lambda: put(container, TEXT + str(next(numbers))),
    }


def fifty(works: list[Callable[[], object]]) -> None:
    for number in range(50):
        works[number % len(works)]()


def put(container: Any, text: str) -> None:
    data = text.encode()
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as tar:
        entry = tarfile.TarInfo("note.txt")
        entry.size = len(data)
        tar.addfile(entry, io.BytesIO(data))
    container.put_archive("/tmp", archive.getvalue())


def starts(report: Report, address: str, client: Any, others: Sequence[Peer]) -> None:
    """From nothing to the first answer; what ``docker run -d`` starts is asked nothing.

    The last two sides are what no cold start can go below here: the engine starting a container with the settings
    that a hardened one has, and one privileged exec, which puts the network's rules in force before anything runs.
    """
    made: list[DockerBackend] = []

    def cold() -> None:
        made.append(DockerBackend(f"bench {uuid.uuid4()}", docker_host=address, image=IMAGE))
        made[-1].start()

    def run(*flags: str) -> None:
        argv = ["docker", "--host", address, "run", "--detach", "--init", "--label", "bench", *flags, IMAGE]
        subprocess.run([*argv, "sleep", "300"], check=True, capture_output=True)

    run("--name", "bench-exec")
    executed = client.containers.get("bench-exec")
    sides: dict[str, Side] = {
        OURS: timed(cold),
        "docker run -d": timed(run),
        "docker run -d, hardened alike": timed(partial(run, *HARDENED)),
        "an exec of python3": timed(lambda: executed.exec_run(["python3", "-ISc", ""], privileged=True)),
        **{other.name: other.side("start", 1) for other in others},
    }
    cold()  # makes the network that the third side names
    compared = [(OURS, side) for side in sides if side not in (OURS, "an exec of python3")]
    found = report.add(measure("cold start", sides, rounds=report.options.counted(8), pairs=compared))
    for side in ("docker run -d", "docker run -d, hardened alike"):
        over = statistics.median(found.differences(OURS, side))
        report.fact(f"cold_start_ms_over: {side}", round(over * 1000, 1))
    end(made)
    for container in client.containers.list(all=True, filters={"label": "bench"}):
        container.remove(force=True)
    warm(report, address)


def warm(report: Report, address: str) -> None:
    made: list[DockerBackend] = []
    with WarmPool(2, docker_host=address, image=IMAGE) as pool:

        def acquire() -> None:
            made[-1].start()

        def round_() -> float:
            pool.wait_until_full(60)
            made.append(DockerBackend(f"bench {uuid.uuid4()}", docker_host=address, image=IMAGE, warm_pool=pool))
            return timed(acquire)()

        found = measure("warm start", {OURS: round_}, rounds=report.options.counted(8), pairs=[])
        report.measurements.append(found)
        report.fact("warm_start_ms", round(statistics.median(found.all(OURS)) * 1000, 1))
        report.fact("warm_start_ms_fastest", round(min(found.all(OURS)) * 1000, 1))
        end(made)


def at_once(report: Report, address: str, client: Any, others: Sequence[Peer]) -> None:
    """Twenty sessions, each started, and then each with ten commands; ours also with their containers made before."""
    sessions = report.options.choose(20, 4)
    report.fact("sessions_at_once", sessions)
    found = {OURS: our_sessions(address, sessions, None), "docker-py": sdk_sessions(client, sessions)}
    with WarmPool(sessions, docker_host=address, image=IMAGE) as pool:
        pool.wait_until_full(300)
        found[f"{OURS}, warm"] = our_sessions(address, sessions, pool)
    for other in others:
        started, worked = other.seconds("at once", sessions)
        found[other.name] = (started, worked)
    for name, (started, worked) in found.items():
        report.fact(f"seconds_to_start_all: {name}", round(started, 2))
        report.fact(f"seconds_for_ten_commands_in_each: {name}", round(worked, 2))


def our_sessions(address: str, sessions: int, pool: WarmPool | None) -> tuple[float, float]:
    options: dict[str, Any] = {"docker_host": address, "image": IMAGE, "warm_pool": pool}
    backends = [DockerBackend(f"bench {uuid.uuid4()}", **options) for _ in range(sessions)]

    def work(backend: DockerBackend) -> None:
        for _ in range(10):
            backend.workspace.run("true")

    with ThreadPoolExecutor(sessions) as threads:
        started = timed(lambda: list(threads.map(DockerBackend.start, backends)))()
        worked = timed(lambda: list(threads.map(work, backends)))()
        list(threads.map(partial(DockerBackend.shutdown, save=False), backends))
    return started, worked


def sdk_sessions(client: Any, sessions: int) -> tuple[float, float]:
    def start(_: int) -> Any:
        return client.containers.run(IMAGE, ["sleep", "infinity"], detach=True, init=True)

    def work(container: Any) -> None:
        for _ in range(10):
            container.exec_run(COMMANDS["shell true"])

    containers: list[Any] = []
    with ThreadPoolExecutor(sessions) as threads:
        started = timed(lambda: containers.extend(threads.map(start, range(sessions))))()
        worked = timed(lambda: list(threads.map(work, containers)))()
        list(threads.map(lambda container: container.remove(force=True), containers))
    return started, worked


def end(backends: list[DockerBackend]) -> None:
    for backend in backends:
        backend.shutdown(save=False)


if __name__ == "__main__":
    main()
