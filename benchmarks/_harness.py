"""What every benchmark shares: interleaved rounds, ratios, the table, the JSON, and where generated inputs lie.

A benchmark measures several *sides* of the same work in one run. In every round each side runs once, in an order
that moves on from round to round, and a ratio compares two sides of the same round: what slows the whole machine
down for a while slows both. The first round is not counted.
"""

from __future__ import annotations

import argparse
import contextlib
import gc
import importlib.metadata
import json
import os
import platform
import shutil
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

__all__ = [
    "Measurement",
    "Options",
    "Report",
    "Side",
    "cache_directory",
    "cores",
    "measure",
    "options",
    "package_version",
    "program_version",
    "repeated",
    "scratch",
    "timed",
]

#: One run of a side: seconds (or another unit), one number or one for each of several calls.
Side = Callable[[], float | Sequence[float]]

RESULTS = Path(__file__).with_name("results")
_DIGITS = 6  # of seconds: microseconds


@dataclass(frozen=True)
class Options:
    """How a benchmark was asked to run.

    Attributes:
        quick: Small inputs and few rounds, to try the benchmark itself; nothing is written without ``output``.
        rounds: Counted rounds, or None for the benchmark's own number.
        output: The file to write instead of ``results/<benchmark>.json``.
    """

    quick: bool = False
    rounds: int | None = None
    output: Path | None = None

    def choose(self, full: int, quick: int) -> int:
        """One of two sizes."""
        return quick if self.quick else full

    def counted(self, full: int, quick: int = 2) -> int:
        """The number of rounds."""
        return self.rounds or self.choose(full, quick)


def options(description: str | None) -> Options:
    """Parse the command line every benchmark has."""
    parser = argparse.ArgumentParser(description=(description or "").partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="small inputs, few rounds, nothing written")
    parser.add_argument("--rounds", type=int, help="counted rounds of each measurement")
    parser.add_argument("--output", type=Path, help="write the JSON here instead of results/<benchmark>.json")
    given = parser.parse_args()
    return Options(given.quick, given.rounds, given.output)


@dataclass(frozen=True)
class Measurement:
    """The same work done by several sides.

    Attributes:
        samples: By side, one list for each counted round.
        pairs: Which sides are compared, ``(over, under)``; the ratio is over / under.
        unit: Of the samples: ``s`` or ``bytes``.
        goal: What the first pair's ratio should not exceed.
    """

    name: str
    samples: Mapping[str, Sequence[Sequence[float]]]
    pairs: Sequence[tuple[str, str]]
    unit: str = "s"
    goal: float | None = None

    def all(self, side: str) -> list[float]:
        """Every sample of a side."""
        return [sample for samples in self.samples[side] for sample in samples]

    def ratios(self, over: str, under: str) -> list[float]:
        """The ratio of medians, for each round."""
        return [_median(ours) / _median(theirs) for ours, theirs in self._rounds(over, under)]

    def differences(self, over: str, under: str) -> list[float]:
        """The difference of medians, for each round."""
        return [_median(ours) - _median(theirs) for ours, theirs in self._rounds(over, under)]

    def _rounds(self, over: str, under: str) -> list[tuple[Sequence[float], Sequence[float]]]:
        return [*zip(self.samples[over], self.samples[under], strict=True)]

    def as_json(self) -> dict[str, Any]:
        """Raw samples, medians and ratios."""
        sides = {
            side: {
                "median": _rounded(_median(self.all(side))),
                "p95": _rounded(_p95(self.all(side))),
                "samples": [[_rounded(sample) for sample in samples] for samples in rounds],
            }
            for side, rounds in self.samples.items()
        }
        compared = [
            {
                "over": over,
                "under": under,
                **_spread("ratio", [round(ratio, 3) for ratio in self.ratios(over, under)]),
                **_spread("difference", [_rounded(value) for value in self.differences(over, under)]),
            }
            for over, under in self.pairs
        ]
        goal = {} if self.goal is None else {"goal_ratio": self.goal}
        return {"name": self.name, "unit": self.unit, **goal, "compared": compared, "sides": sides}


def measure(
    name: str,
    sides: Mapping[str, Side],
    *,
    rounds: int,
    pairs: Sequence[tuple[str, str]] | None = None,
    warm_up: int = 1,
    goal: float | None = None,
    unit: str = "s",
) -> Measurement:
    """Run every side once a round.

    Args:
        pairs: By default the first side over each of the others.
        warm_up: Rounds that are not counted.
    """
    names = list(sides)
    samples: dict[str, list[list[float]]] = {side: [] for side in names}
    for number in range(-warm_up, rounds):
        first = number % len(names)
        for side in names[first:] + names[:first]:
            gc.collect()
            sample = sides[side]()
            if number >= 0:
                samples[side].append([*sample] if isinstance(sample, Sequence) else [sample])
    chosen = pairs if pairs is not None else [(names[0], other) for other in names[1:]]
    return Measurement(name, samples, chosen, unit, goal)


def timed(work: Callable[[], object]) -> Callable[[], float]:
    """A side that is the wall-clock time of one call."""

    def run() -> float:
        started = time.perf_counter()
        work()
        return time.perf_counter() - started

    return run


def repeated(work: Callable[[], object], times: int) -> Callable[[], list[float]]:
    """A side that is the wall-clock times of several calls in a row."""
    once = timed(work)

    def run() -> list[float]:
        return [once() for _ in range(times)]

    return run


@dataclass
class Report:
    """Everything one benchmark found: prints each measurement as it comes, and writes all of them.

    Attributes:
        versions: Of what was measured, beside Python and Omniagents.
        inputs: What it was measured on.
        facts: Findings that are no comparison.
    """

    benchmark: str
    options: Options
    versions: dict[str, str] = field(default_factory=dict)
    inputs: dict[str, Any] = field(default_factory=dict)
    facts: dict[str, Any] = field(default_factory=dict)
    measurements: list[Measurement] = field(default_factory=list)

    def __post_init__(self) -> None:
        ours = {"python": platform.python_version(), "omniagents": package_version("omniagents")}
        self.versions = {**ours, **self.versions}
        quick = " (quick: the numbers mean little)" if self.options.quick else ""
        print(f"\n{self.benchmark}{quick}", flush=True)

    def note(self, **inputs: Any) -> None:
        """Say what is measured on."""
        self.inputs.update(inputs)
        said = (f"{name.replace('_', ' ')}: {_brief(value)}" for name, value in inputs.items())
        print(f"  {', '.join(said)}", flush=True)

    def add(self, measurement: Measurement) -> Measurement:
        """Take in and print one measurement."""
        if not self.measurements:
            print(f"  {'':34} {'median':>11} {'p95':>11}      {'compared with':26} {'ratio':>6}  (spread)")
        self.measurements.append(measurement)
        for line in _table_lines(measurement):
            print(line, flush=True)
        return measurement

    def fact(self, name: str, value: Any) -> None:
        """Take in and print one finding."""
        self.facts[name] = value
        print(f"  {name.replace('_', ' ')}: {_brief(value)}", flush=True)

    def write(self) -> None:
        """Write the JSON; a quick run only where it was asked to."""
        path = self.options.output or (None if self.options.quick else RESULTS / f"{self.benchmark}.json")
        if path is None:
            return
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(_json(self.as_json()), encoding="utf-8")

    def as_json(self) -> dict[str, Any]:
        return {
            "benchmark": self.benchmark,
            "quick": self.options.quick,
            "created_at": datetime.now(UTC).isoformat(timespec="seconds"),
            "machine": machine(),
            "versions": self.versions,
            "inputs": self.inputs,
            "facts": self.facts,
            "measurements": [measurement.as_json() for measurement in self.measurements],
        }


def _json(value: dict[str, Any]) -> str:
    """Indented, but a list of numbers on one line: a result is read as a diff, too."""
    lists: list[str] = []

    def stand_in(part: Any) -> Any:
        if isinstance(part, dict):
            return {name: stand_in(inner) for name, inner in part.items()}
        if isinstance(part, list):
            if part and all(isinstance(inner, int | float) for inner in part):
                lists.append(json.dumps(part))
                return f"\0{len(lists) - 1}\0"
            return [stand_in(inner) for inner in part]
        return part

    text = json.dumps(stand_in(value), indent=1, ensure_ascii=False)
    for number, numbers in enumerate(lists):
        text = text.replace(f'"\\u0000{number}\\u0000"', numbers, 1)
    return text + "\n"


def machine() -> dict[str, Any]:
    """What was measured on; nothing that tells whose machine it is."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return {
        "cpu": _cpu_model(),
        "cores": cores(),
        "memory_gib": round(memory / (1 << 30), 1),
        "kernel": platform.release(),
        "system": platform.system(),
        "load_average_at_end": [round(load, 2) for load in os.getloadavg()],
    }


def cores() -> int:
    """The cores this process may use."""
    return len(os.sched_getaffinity(0))


def program_version(*command: str) -> str:
    """The first line a program says of its version.

    Raises:
        SystemExit: It is not installed; says which package brings it.
    """
    if shutil.which(command[0]) is None:
        raise SystemExit(f"{command[0]!r} is not installed; python tests/services/apt.py installs what benchmarks run")
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()[0].strip()


def cache_directory() -> Path:
    """Where generated inputs stay from run to run: in the system's temporary directory."""
    directory = Path(tempfile.gettempdir()) / "omniagents-benchmarks"
    directory.mkdir(mode=0o700, exist_ok=True)
    if directory.stat().st_uid != os.getuid():
        raise SystemExit(f"{directory} belongs to another user; set TMPDIR to a directory of your own")
    return directory


@contextlib.contextmanager
def scratch() -> Iterator[Path]:
    """A directory for one run; the user's own data and cache directories are out of reach while it is there."""
    with tempfile.TemporaryDirectory(prefix="run-", dir=cache_directory(), ignore_cleanup_errors=True) as name:
        for variable in ("XDG_DATA_HOME", "XDG_CACHE_HOME", "XDG_STATE_HOME", "XDG_CONFIG_HOME"):
            os.environ[variable] = str(Path(name) / variable.lower())
        yield Path(name)


def _table_lines(measurement: Measurement) -> Iterator[str]:
    for number, (over, under) in enumerate(measurement.pairs):
        ratios = sorted(measurement.ratios(over, under))
        samples = measurement.all(over)
        shown, high, other = (
            _shown(value, measurement.unit)
            for value in (_median(samples), _p95(samples), _median(measurement.all(under)))
        )
        label = measurement.name if len(measurement.pairs) == 1 else f"{measurement.name}: {over}"
        goal = "" if measurement.goal is None or number else f"  goal <= {measurement.goal:g}"
        yield (
            f"  {label:34} {shown:>11} {high:>11}      {under + ' ' + other:26}"
            f" {_median(ratios):6.2f}  ({ratios[0]:.2f} to {ratios[-1]:.2f}){goal}"
        )


def _shown(value: float, unit: str) -> str:
    if unit == "bytes":
        return f"{value / 1e6:,.2f} MB"
    if value < 0.001:
        return f"{value * 1e6:,.0f} µs"
    return f"{value * 1e3:,.2f} ms" if value < 1 else f"{value:,.2f} s"


def _brief(value: Any) -> str:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return str(value)
    return f"{value:,}"


def _median(samples: Sequence[float]) -> float:
    return statistics.median(samples)


def _p95(samples: Sequence[float]) -> float:
    return sorted(samples)[min(len(samples) - 1, int(len(samples) * 0.95))]


def _rounded(value: float) -> float:
    return value if isinstance(value, int) else round(value, _DIGITS)


def _spread(name: str, values: Sequence[float]) -> dict[str, Any]:
    middle = round(_median(values), _DIGITS)
    return {name: middle, f"{name}_lowest": min(values), f"{name}_highest": max(values), f"{name}s": [*values]}


def package_version(distribution: str) -> str:
    """The installed version of a Python distribution."""
    return importlib.metadata.version(distribution)


def _cpu_model() -> str:
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
