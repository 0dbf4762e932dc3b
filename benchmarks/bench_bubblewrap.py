"""A bubblewrap session beside bare ``bwrap`` and the local backend: start, shutdown, a shell command, a file read."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import count

from _harness import Measurement, Report, measure, options, program_version, repeated, scratch, timed

from omniagents.backends.base import Backend
from omniagents.backends.local_backend import LocalBackend
from omniagents_bubblewrap.backend import BubblewrapBackend

AT_ONCE = 20
# What a sandbox of ours is made of, as far as one can say it in a line, around a program that does nothing.
BARE = ["bwrap", "--unshare-all", "--ro-bind", "/usr", "/usr", "--symlink", "usr/bin", "/bin", "--symlink", "usr/lib",
        "/lib", "--symlink", "usr/lib64", "/lib64", "--proc", "/proc", "--dev", "/dev", "--tmpfs", "/tmp",
        "--die-with-parent", "--new-session"]  # fmt: skip
PYTHON = ["/usr/bin/python3", "-I", "-S", "-c", "pass"]


def main() -> None:
    report = Report("bench_bubblewrap", options(__doc__))
    report.note(bwrap=program_version("bwrap", "--version"), sessions_at_once=AT_ONCE)
    with scratch():
        lives(report)
        at_once(report)
        calls(report)
    report.write()


def lives(report: Report) -> None:
    """Ours begins when ``start`` is called and ends when the guest has answered."""
    bubblewrap, local = living(BubblewrapBackend), living(partial(LocalBackend, python=PYTHON[0]))
    sides = {
        "bubblewrap start": timed(lambda: next(bubblewrap)),
        "bubblewrap shutdown": timed(lambda: next(bubblewrap)),
        "local start": timed(lambda: next(local)),
        "local shutdown": timed(lambda: next(local)),
        "bwrap true": timed(partial(subprocess.run, [*BARE, "true"], check=True)),
        "bwrap python": timed(partial(subprocess.run, [*BARE, *PYTHON], check=True)),
    }
    pairs = [
        ("bubblewrap start", "local start"),
        ("bubblewrap start", "bwrap true"),
        ("bubblewrap start", "bwrap python"),
        ("bubblewrap shutdown", "local shutdown"),
    ]
    samples: dict[str, list[list[float]]] = {name: [] for name in sides}
    for number in range(report.options.counted(30, 3) + 1):
        for name, side in sides.items():  # in this order: what is started is shut down
            sample = side()
            if number:
                samples[name].append([sample])
    life = report.add(Measurement("life of a session", samples, pairs))
    report.fact("fastest_start_ms", round(min(life.all("bubblewrap start")) * 1000, 1))


def living(make: Callable[..., Backend]) -> Iterator[None]:
    """Started at the first ``next``, shut down at the second, another started at the third."""
    for number in count():
        backend = make(project_id=f"bench {number}")
        backend.start()
        yield
        backend.shutdown()
        yield


def at_once(report: Report) -> None:
    """Twenty sessions started and shut down at once."""

    def one(make: Callable[..., Backend], number: int) -> None:
        with make(project_id=f"at once {number}"):
            pass

    with ThreadPoolExecutor(AT_ONCE) as pool:
        sides = {
            "bubblewrap": timed(lambda: [*pool.map(partial(one, BubblewrapBackend), range(AT_ONCE))]),
            "local": timed(lambda: [*pool.map(partial(one, LocalBackend), range(AT_ONCE))]),
        }
        pairs = [("bubblewrap", "local")]
        report.add(measure(f"{AT_ONCE} sessions", sides, rounds=report.options.counted(5), pairs=pairs))


def calls(report: Report) -> None:
    """Once it runs, a call costs what it costs on the local backend."""
    with BubblewrapBackend(project_id="calls") as ours, LocalBackend(project_id="calls") as local:
        for backend in (ours, local):
            backend.workspace.write_bytes("a.txt", bytes(4096))
        works: dict[str, Callable[[Backend], object]] = {
            "shell true": lambda backend: backend.workspace.run("true"),
            "read 4 KB": lambda backend: backend.workspace.read_bytes("a.txt"),
            "write 4 KB": lambda backend: backend.workspace.write_bytes("a.txt", bytes(4096)),
        }
        for name, work in works.items():
            sides = {"bubblewrap": repeated(partial(work, ours), 30), "local": repeated(partial(work, local), 30)}
            pairs = [("bubblewrap", "local")]
            if name == "shell true":
                bare = repeated(partial(subprocess.run, [*BARE, "bash", "-c", "true"], check=True), 10)
                sides["a bwrap for each"] = bare
                pairs.append(("bubblewrap", "a bwrap for each"))
            report.add(measure(name, sides, rounds=report.options.counted(10), pairs=pairs))


if __name__ == "__main__":
    main()
