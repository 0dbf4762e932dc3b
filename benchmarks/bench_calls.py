"""Tool calls on a started local backend beside the same work done in this process; start and shutdown."""

from __future__ import annotations

import asyncio
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import count
from pathlib import Path

from _harness import Measurement, Report, measure, options, repeated, scratch, timed

from omniagents import create_tools
from omniagents.backends.local_backend import LocalBackend

TEXT = "".join(f"line {number:04d} with some words in it\n" for number in range(130))[:4096]
AT_ONCE = 16
PAIR = [("omniagents", "in-process")]


def main() -> None:
    report = Report("bench_calls", options(__doc__))
    report.note(bytes_read_and_written=len(TEXT), concurrent_calls=AT_ONCE)
    with scratch() as directory:
        workspace = directory / "workspace"
        fill(workspace)
        with LocalBackend(project_id="bench", workspace_dir=workspace) as backend:
            one_by_one(report, backend, workspace)
            shell(report, backend)
            concurrently(report, backend, workspace)
        start_and_shutdown(report, directory)
    extra = {found.name: milliseconds(found.differences(*found.pairs[0])) for found in report.measurements}
    report.fact("p50_ms_over_the_bare_work", extra)
    report.write()


def milliseconds(seconds: list[float]) -> float:
    return round(statistics.median(seconds) * 1000, 3)


def fill(workspace: Path) -> None:
    for number in range(60):
        path = workspace / f"package{number % 5}" / f"module{number}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(TEXT, encoding="utf-8")
    (workspace / "ours.txt").write_text(TEXT, encoding="utf-8")
    (workspace / "theirs.txt").write_text(TEXT, encoding="utf-8")


def one_by_one(report: Report, backend: LocalBackend, workspace: Path) -> None:
    """File tools and the workspace's own stat; the other side is what a Python program would write without us."""
    tools = {tool.name: tool.execute for tool in create_tools(backend)}
    ours, theirs = workspace / "ours.txt", workspace / "theirs.txt"
    numbers = count()
    works: dict[str, tuple[Callable[[], object], Callable[[], object]]] = {
        "stat": (partial(backend.workspace.stat, "ours.txt"), partial(os.stat, theirs)),
        "read_file 4 KB": (partial(tools["read_file"], absolute_path="ours.txt"), partial(theirs.read_text, "utf-8")),
        "write_file 4 KB": (
            lambda: tools["write_file"](absolute_path="ours.txt", content=TEXT + str(next(numbers))),
            lambda: replace_file(theirs, TEXT + str(next(numbers))),
        ),
        "replace": (partial(alternate, tools["replace"]), partial(edit, theirs)),
        "list_directory": (partial(tools["list_directory"], path="package1"), partial(listed, workspace / "package1")),
        "glob 60 files": (partial(tools["glob"], pattern="**/*.py"), lambda: sorted(workspace.rglob("*.py"))),
        "search 60 files": (
            partial(tools["search_file_content"], pattern="line 0109"),
            partial(searched, workspace, "line 0109"),
        ),
    }
    ours.write_text(TEXT, encoding="utf-8")
    for name, (tool, work) in works.items():
        sides = {"omniagents": repeated(tool, 50), "in-process": repeated(work, 50)}
        report.add(measure(name, sides, rounds=report.options.counted(12), pairs=PAIR))


def replace_file(path: Path, content: str) -> None:
    """As the tool writes: beside it, then over it."""
    beside = path.with_suffix(".new")
    beside.write_text(content, encoding="utf-8")
    beside.replace(path)


def alternate(replace: Callable[..., object], old: list[str] = ["line 0005", "LINE 0005"]) -> None:  # noqa: B006
    """One edit, and the next call takes it back."""
    result = replace(absolute_path="package2/module2.py", old_string=old[0], new_string=old[1])
    if getattr(result, "is_error", False):
        raise SystemExit(str(result))
    old.reverse()


def edit(path: Path) -> None:
    replace_file(path, path.read_text(encoding="utf-8").replace("line 0005", "LINE 0005"))


def listed(directory: Path) -> list[tuple[str, int]]:
    with os.scandir(directory) as entries:
        return sorted((entry.name, entry.stat().st_size) for entry in entries)


def searched(workspace: Path, text: str) -> list[str]:
    return [str(path) for path in workspace.rglob("*") if path.is_file() and text in path.read_text(encoding="utf-8")]


def shell(report: Report, backend: LocalBackend) -> None:
    """A command that does nothing, blocking and on an event loop."""
    tools = {tool.name: tool for tool in create_tools(backend, ["run_shell_command"])}
    run = tools["run_shell_command"].execute
    shells = ["bash", "-c", "true"]
    sides = {
        "run_shell_command": repeated(partial(run, command="true", description="nothing"), 20),
        "workspace.run": repeated(partial(backend.workspace.run, "true"), 20),
        "subprocess.run": repeated(partial(subprocess.run, shells, capture_output=True), 20),
    }
    pairs = [("run_shell_command", "subprocess.run"), ("workspace.run", "subprocess.run")]
    report.add(measure("shell true", sides, rounds=report.options.counted(12), pairs=pairs))
    sides = {
        "omniagents": awaited(lambda: backend.workspace.arun("true"), 20),
        "in-process": awaited(asynchronous_true, 20),
    }
    report.add(measure("arun true", sides, rounds=report.options.counted(12), pairs=PAIR))


async def asynchronous_true() -> None:
    process = await asyncio.create_subprocess_exec("bash", "-c", "true", stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    await process.communicate()


def awaited(work: Callable[[], Awaitable[object]], times: int) -> Callable[[], list[float]]:
    """A side of several awaited calls in a row, on one event loop."""

    async def run() -> list[float]:
        samples = []
        for _ in range(times):
            started = time.perf_counter()
            await work()
            samples.append(time.perf_counter() - started)
        return samples

    return lambda: asyncio.run(run())


def concurrently(report: Report, backend: LocalBackend, workspace: Path) -> None:
    """Sixteen calls at once, by threads and by tasks: the time until the last has its answer."""
    (read, run) = create_tools(backend, ["read_file", "run_shell_command"])
    small = workspace / "theirs.txt"

    def read_one(_: int) -> object:
        return read.execute(absolute_path="ours.txt")

    async def read_all() -> None:
        await asyncio.gather(*(read.aexecute(absolute_path="ours.txt") for _ in range(AT_ONCE)))

    async def run_all() -> None:
        await asyncio.gather(*(run.aexecute(command="true", description="nothing") for _ in range(AT_ONCE)))

    async def run_here() -> None:
        await asyncio.gather(*(asynchronous_true() for _ in range(AT_ONCE)))

    with ThreadPoolExecutor(AT_ONCE) as executor:
        sides = {
            "threads": repeated(lambda: [*executor.map(read_one, range(AT_ONCE))], 10),
            "tasks": awaited(read_all, 10),
            "in-process": repeated(lambda: [*executor.map(lambda _: small.read_text("utf-8"), range(AT_ONCE))], 10),
        }
        pairs = [("threads", "in-process"), ("tasks", "in-process")]
        report.add(measure(f"{AT_ONCE} x read_file", sides, rounds=report.options.counted(12), pairs=pairs))
    sides = {"omniagents": awaited(run_all, 5), "in-process": awaited(run_here, 5)}
    report.add(measure(f"{AT_ONCE} x shell true", sides, rounds=report.options.counted(8), pairs=PAIR))


def start_and_shutdown(report: Report, directory: Path) -> None:
    """The guest is a Python process, so an interpreter that starts and ends is the floor."""
    backends = living_and_dying(directory)
    sides = {
        "start": timed(lambda: next(backends)),
        "shutdown": timed(lambda: next(backends)),
        "python -c pass": timed(partial(subprocess.run, [sys.executable, "-c", "pass"], check=True)),
    }
    pairs = [("start", "python -c pass"), ("shutdown", "python -c pass")]
    samples: dict[str, list[list[float]]] = {name: [] for name in sides}
    for number in range(report.options.counted(20, 3) + 1):
        for name, side in sides.items():  # in this order: what is started is shut down
            sample = side()
            if number:
                samples[name].append([sample])
    report.add(Measurement("life of a backend", samples, pairs))


def living_and_dying(directory: Path) -> Iterator[None]:
    """Started at the first ``next``, shut down at the second, another started at the third."""
    for number in count():
        backend = LocalBackend(project_id=f"bench {number}", workspace_dir=directory / "short")
        backend.start()
        yield
        backend.shutdown()
        yield


if __name__ == "__main__":
    main()
