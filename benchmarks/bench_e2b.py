"""Tool calls and a workspace of 1,000 files at 50 ms a request: the e2b backend beside the SDK's one call a file.

Against the local server of the tests, which adds the latency to every request; the cloud's own time is not in it.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

from _harness import Report, measure, options, package_version, repeated, scratch, timed

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from tests.services.e2b.server import E2BServer

import omniagents
from omniagents_e2b.backend import E2BBackend
from omniagents_snapshot.directory import DirectoryStateManager

LATENCY_SECONDS = 0.05
CALLS = 5
HOME = "/home/user/workspace"
FOUR_KB = "x" * 4096


def main() -> None:
    report = Report("bench_e2b", options(__doc__), versions={"e2b": package_version("e2b")})
    files = report.options.choose(1000, 50)
    report.note(latency_ms=LATENCY_SECONDS * 1000, files=files)
    with scratch() as directory, E2BServer() as server:
        os.environ.update(server.variables)
        server.faults.latency_seconds = LATENCY_SECONDS
        with E2BBackend("calls", idle_timeout_seconds=None, checkpoint_interval_seconds=None) as backend:
            calls(report, server, backend, files)
        sessions(report, server, directory, files)
    report.write()


def requests(server: E2BServer, work: Callable[[], object]) -> int:
    """How many requests it makes."""
    before = len(server.faults.recorded)
    work()
    return len(server.faults.recorded) - before


def calls(report: Report, server: E2BServer, backend: E2BBackend, files: int) -> None:
    """Each tool beside what a user of the SDK would call instead."""
    sdk = backend.sandbox
    assert sdk is not None
    backend.workspace.run(f"seq {files} | xargs -I N sh -c 'echo line N > fN.txt'; echo {FOUR_KB} > a.txt")
    ours: dict[str, Callable[[], object]] = {
        name: partial(omniagents.create_tools(backend, [name])[0].execute, **arguments)
        for name, arguments in {
            "run_shell_command": {"command": "true"},
            "read_file": {"absolute_path": "a.txt"},
            "write_file": {"absolute_path": "b.txt", "content": FOUR_KB},
            "list_directory": {"path": "."},
            "glob": {"pattern": "*.txt"},
            "search_file_content": {"pattern": "line 7$"},
        }.items()
    }
    theirs: dict[str, Callable[[], object]] = {
        "run_shell_command": lambda: sdk.commands.run("true"),
        "read_file": lambda: sdk.files.read(f"{HOME}/a.txt"),
        "write_file": lambda: sdk.files.write(f"{HOME}/b.txt", FOUR_KB),
        "list_directory": lambda: sdk.files.list(HOME),
        "glob": lambda: sdk.commands.run(f"find {HOME} -name '*.txt'"),
        "search_file_content": lambda: sdk.commands.run(f"grep -rn 'line 7$' {HOME}"),
    }
    rounds = report.options.counted(7)
    for name in ours:
        sides = {"omniagents": repeated(ours[name], CALLS), "SDK": repeated(theirs[name], CALLS)}
        report.add(measure(name, sides, rounds=rounds))
    report.fact("requests_a_call", {name: requests(server, ours[name]) for name in ours})
    report.fact("requests_a_call_of_the_sdk", {name: requests(server, theirs[name]) for name in theirs})


def sessions(report: Report, server: E2BServer, directory: Path, files: int) -> None:
    """A workspace saved to this machine and loaded into a new sandbox; the SDK's side reads and writes each file."""
    state = DirectoryStateManager(directory / "states")
    backend = E2BBackend("saved", state, idle_timeout_seconds=None, checkpoint_interval_seconds=None)
    backend.start()
    sdk = backend.sandbox
    assert sdk is not None
    backend.workspace.run(f"mkdir s; seq {files} | xargs -I N sh -c 'head -c 2000 /dev/urandom > s/N.bin'")
    read: dict[str, bytes] = {}

    def read_each() -> None:
        for entry in sdk.files.list(f"{HOME}/s"):
            read[entry.path] = bytes(sdk.files.read(entry.path, format="bytes"))

    def write_each() -> None:
        for path, content in read.items():
            sdk.files.write(path, content)

    def write_at_once() -> None:
        sdk.files.write_files([{"path": path, "data": content} for path, content in read.items()])

    counted: dict[str, int] = {}

    def counting(name: str, work: Callable[[], object]) -> Callable[[], object]:
        return lambda: counted.update({name: requests(server, work)})

    def load() -> None:
        state.restore("saved", state.history("saved")[0].id, backend.workspace)

    def save() -> None:
        state.delete("saved")
        state.save("saved", backend.workspace, "")

    sides = {"omniagents": timed(counting("save", save)), "SDK, file by file": timed(counting("read", read_each))}
    report.add(measure("save", sides, rounds=report.options.counted(2, 1), warm_up=0))
    backend.workspace.run("rm -r s")
    sides = {
        "omniagents": timed(counting("load", load)),
        "SDK, file by file": timed(counting("write", write_each)),
        "SDK, one upload": timed(counting("upload", write_at_once)),
    }
    emptied = {name: _after(lambda: backend.workspace.run("rm -rf s"), side) for name, side in sides.items()}
    report.add(measure("load", emptied, rounds=report.options.counted(2, 1), warm_up=0))
    report.fact("requests", counted)
    backend.shutdown(save=False)


def _after(prepare: Callable[[], object], side: Callable[[], float]) -> Callable[[], float]:
    def run() -> float:
        prepare()
        return side()

    return run


if __name__ == "__main__":
    main()
