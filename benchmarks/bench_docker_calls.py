"""Calls on a started Docker backend beside the same work through docker-py and the docker command; starts as well.

All sides use containers of one image, on one real engine. docker-py writes and reads files with put_archive and
get_archive, and runs what has no call of its own (glob, search) as a command, as its users do.
"""

from __future__ import annotations

import io
import statistics
import subprocess
import sys
import tarfile
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

import docker
from _harness import Report, measure, options, package_version, repeated, scratch, timed

from omniagents import create_tools
from omniagents_docker.backend import DockerBackend
from omniagents_docker.warm_pool import WarmPool

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from tests.services import docker_engine

IMAGE = "omniagents-test:python"
TEXT = "".join(f"line {number:04d} with some words in it\n" for number in range(130))[:4096]
FILL = f"""
import os
for number in range(1000):
    os.makedirs(f"package{{number % 20}}", exist_ok=True)
    with open(f"package{{number % 20}}/module{{number}}.py", "w") as file:
        file.write({TEXT!r})
"""


def main() -> None:
    report = Report("bench_docker_calls", options(__doc__), {"docker (Python)": package_version("docker")})
    address = docker_engine.start(IMAGE)
    client = docker.DockerClient(base_url=address)
    engine = client.version()
    report.note(engine=engine["Version"], files=1000, bytes_read_and_written=len(TEXT))
    with scratch() as directory:
        starts(report, address, client, directory)
        peer = client.containers.run(IMAGE, ["sleep", "infinity"], detach=True, init=True, working_dir="/tmp")
        try:
            with DockerBackend(f"bench {uuid.uuid4()}", docker_host=address, image=IMAGE) as backend:
                calls(report, backend, peer, address)
        finally:
            peer.remove(force=True)
        at_once(report, address)
    client.close()
    report.write()


def calls(report: Report, backend: DockerBackend, peer: Any, address: str) -> None:
    tools = {tool.name: tool.execute for tool in create_tools(backend)}
    numbers = count()
    backend.workspace.run(["python3", "-c", FILL])
    peer.exec_run(["python3", "-c", FILL])
    tools["write_file"](absolute_path="note.txt", content=TEXT)
    put(peer, TEXT)

    def command(*argv: str) -> None:
        subprocess.run(["docker", "--host", address, "exec", peer.id, *argv], check=True, capture_output=True)

    def theirs(*argv: str) -> Callable[[], object]:
        return lambda: peer.exec_run(list(argv), workdir="/tmp")

    work: dict[str, tuple[Callable[[], object], Callable[[], object], tuple[str, ...] | None]] = {
        "shell true": (partial(tools["run_shell_command"], command="true"), theirs("sh", "-c", "true"), ("true",)),
        "read 4 KB": (
            partial(tools["read_file"], absolute_path="note.txt"),
            lambda: b"".join(peer.get_archive("/tmp/note.txt")[0]),
            ("cat", "/tmp/note.txt"),
        ),
        "write 4 KB": (
            lambda: tools["write_file"](absolute_path="note.txt", content=TEXT + str(next(numbers))),
            lambda: put(peer, TEXT + str(next(numbers))),
            None,
        ),
        "glob 1,000 files": (
            partial(tools["glob"], pattern="**/*.py"),
            theirs("find", ".", "-name", "*.py"),
            ("find", "/tmp", "-name", "*.py"),
        ),
        "search 1,000 files": (
            partial(tools["search_file_content"], pattern="line 0109"),
            theirs("grep", "-rn", "line 0109", "."),
            ("grep", "-rn", "line 0109", "/tmp"),
        ),
    }
    for name, (ours, sdk, argv) in work.items():
        sides = {"docker-py": repeated(sdk, 5), "omniagents": repeated(ours, 20)}
        if argv is not None:
            sides["docker exec"] = repeated(partial(command, *argv), 5)
        pairs = [(side, "omniagents") for side in sides if side != "omniagents"]
        report.add(measure(name, sides, rounds=report.options.counted(8), pairs=pairs))
    mixed = [ours for ours, _, _ in work.values()], [sdk for _, sdk, _ in work.values()]
    sides = {name: timed(partial(fifty, each)) for name, each in zip(("omniagents", "docker-py"), mixed, strict=True)}
    pairs = [("docker-py", "omniagents")]
    report.add(measure("50 mixed calls", sides, rounds=report.options.counted(4), pairs=pairs))


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


def starts(report: Report, address: str, client: Any, directory: Path) -> None:
    """From nothing to the first answer; the other side's container is only started, and asked nothing."""
    made: list[DockerBackend] = []

    def cold() -> None:
        made.append(DockerBackend(f"bench {uuid.uuid4()}", docker_host=address, image=IMAGE))
        made[-1].start()

    def run() -> None:
        argv = ["docker", "--host", address, "run", "--detach", "--init", "--label", "bench", IMAGE, "sleep", "300"]
        subprocess.run(argv, check=True, capture_output=True)

    sides = {"omniagents": timed(cold), "docker run -d": timed(run)}
    found = report.add(measure("cold start", sides, rounds=report.options.counted(8)))
    over = statistics.median(found.differences("omniagents", "docker run -d"))
    report.fact("cold_start_ms_over_docker_run", round(over * 1000, 1))
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

        found = measure("warm start", {"omniagents": round_}, rounds=report.options.counted(8), pairs=[])
        report.measurements.append(found)
        report.fact("warm_start_ms", round(statistics.median(found.all("omniagents")) * 1000, 1))
        end(made)


def at_once(report: Report, address: str) -> None:
    """Twenty sessions, each started, and then each with ten commands."""
    sessions = report.options.choose(20, 4)
    backends = [DockerBackend(f"bench {uuid.uuid4()}", docker_host=address, image=IMAGE) for _ in range(sessions)]
    with ThreadPoolExecutor(sessions) as threads:
        started = timed(lambda: list(threads.map(DockerBackend.start, backends)))()

        def work(backend: DockerBackend) -> None:
            for _ in range(10):
                backend.workspace.run("true")

        worked = timed(lambda: list(threads.map(work, backends)))()
        list(threads.map(partial(DockerBackend.shutdown, save=False), backends))
    report.fact("sessions_at_once", sessions)
    report.fact("seconds_to_start_all", round(started, 2))
    report.fact("seconds_for_ten_commands_in_each", round(worked, 2))


def end(backends: list[DockerBackend]) -> None:
    for backend in backends:
        backend.shutdown(save=False)


if __name__ == "__main__":
    main()
