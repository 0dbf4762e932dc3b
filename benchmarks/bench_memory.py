"""What an idle session costs: one host process with many started local backends, beside as many idle bash processes."""

from __future__ import annotations

import gc
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from _harness import Measurement, Report, options, scratch

from omniagents.backends.local_backend import LocalBackend

HOST_GOAL_MB = 2
GUEST_GOAL_MB = 20


def main() -> None:
    report = Report("bench_memory", options(__doc__))
    sessions = report.options.choose(100, 5)
    report.note(sessions=sessions)
    found: dict[str, list[dict[str, float]]] = {side: [] for side in STARTERS}
    for number in range(report.options.counted(3)):
        order = list(STARTERS)
        for side in order[number % 3 :] + order[: number % 3]:
            found[side].append(in_new_process(side, sessions))
    for name in ("host RSS", "child PSS", "child RSS", "child private"):
        samples = {side: [[values[name]] for values in rounds] for side, rounds in found.items()}
        report.add(Measurement(f"{name} a session", samples, [("backends", "bash"), ("backends", "python")], "bytes"))
    report.fact("host_threads_a_session", found["backends"][0]["host threads"])
    for name, goal in (("host RSS", HOST_GOAL_MB), ("child PSS", GUEST_GOAL_MB), ("child RSS", GUEST_GOAL_MB)):
        middle = sorted(values[name] for values in found["backends"])[len(found["backends"]) // 2]
        report.fact(f"{name.replace(' ', '_')}_mb_a_session", f"{middle / 1e6:.2f} (goal <= {goal})")
    report.write()


def in_new_process(side: str, sessions: int) -> dict[str, float]:
    """Run this file again as the host process of one side."""
    done = subprocess.run([sys.executable, __file__, "--side", side, str(sessions)], stdout=subprocess.PIPE, check=True)
    values: dict[str, float] = json.loads(done.stdout)
    return values


def host(side: str, sessions: int) -> None:
    """Start ``sessions`` and print what one more of them costs, in bytes."""
    with scratch() as directory:
        start = STARTERS[side]
        end_first = start(directory, 0)  # what is loaded once belongs to nobody
        before, threads = _rss(), _threads()
        ends = [start(directory, number) for number in range(1, sessions + 1)]
        _settle()
        children = _children()
        result = {
            "host RSS": (_rss() - before) / sessions,
            "host threads": (_threads() - threads) / sessions,
            **_of_children(children, sessions + 1),
        }
        for end in [end_first, *ends]:
            end()
    print(json.dumps(result))


def _settle() -> None:
    gc.collect()
    time.sleep(1)  # what was started is idle now; nothing tells when


def _backend(directory: Path, number: int) -> Callable[[], None]:
    backend = LocalBackend(project_id=f"bench {number}", workspace_dir=directory / f"w{number}")
    backend.start()
    backend.workspace.run("true")  # as a session that has worked
    backend.workspace.write_bytes("a.txt", b"a")
    return backend.shutdown


def _process(*command: str) -> Callable[[Path, int], Callable[[], None]]:
    def start(directory: Path, number: int) -> Callable[[], None]:
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=directory)
        assert process.stdin is not None
        process.stdin.write(b"echo\n" if command[0] == "bash" else b"print()\n")
        process.stdin.flush()

        def end() -> None:
            process.communicate()

        return end

    return start


STARTERS: dict[str, Callable[[Path, int], Callable[[], None]]] = {
    "backends": _backend,
    "bash": _process("bash"),
    # What an idle interpreter costs that has only read one line: the floor of any guest written in Python.
    "python": _process(sys.executable, "-I", "-S", "-c", "import sys; exec(sys.stdin.readline()); sys.stdin.read()"),
}


def _children() -> list[int]:
    """Every process below this one."""
    parents: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue  # it has ended meanwhile
            parents.setdefault(int(fields[1]), []).append(int(entry.name))
    found, waiting = [], [os.getpid()]
    while waiting:
        below = parents.get(waiting.pop(), [])
        found += below
        waiting += below
    return found


def _of_children(children: list[int], sessions: int) -> dict[str, float]:
    totals = {"Rss": 0, "Pss": 0, "Private_Dirty": 0, "Private_Clean": 0}
    for child in children:
        for line in Path(f"/proc/{child}/smaps_rollup").read_text().splitlines()[1:]:
            name, _, value = line.partition(":")
            if name in totals:
                totals[name] += int(value.split()[0]) * 1024
    return {
        "child RSS": totals["Rss"] / sessions,
        "child PSS": totals["Pss"] / sessions,
        "child private": (totals["Private_Dirty"] + totals["Private_Clean"]) / sessions,
    }


def _status(name: str) -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(name + ":"):
            return int(line.split()[1])
    raise LookupError(name)


def _rss() -> int:
    gc.collect()
    return _status("VmRSS") * 1024


def _threads() -> int:
    return _status("Threads")


if __name__ == "__main__":
    if sys.argv[1:2] == ["--side"]:
        host(sys.argv[2], int(sys.argv[3]))
    else:
        main()
