"""How much processor time an import costs: Omniagents beside pluggy, which it stands on, and an empty program."""

from __future__ import annotations

import os
import subprocess
import sys

from _harness import Report, Side, measure, options, package_version

PROGRAMS = {
    "empty program": "pass",
    "import pluggy": "import pluggy",
    "import omniagents": "import omniagents",
    "available()": "import omniagents; omniagents.available()",
    "ten tools": (
        "import omniagents; from omniagents.backends.local_backend import LocalBackend;"
        " omniagents.create_tools(LocalBackend(project_id='bench'))"
    ),
}
PAIRS = [
    ("import omniagents", "import pluggy"),
    ("import omniagents", "empty program"),
    ("available()", "import pluggy"),
    ("ten tools", "import pluggy"),
]
# Nothing of these may come with the plain import.
HEAVY = ("pydantic", "docker", "e2b", "google", "langchain", "pydantic_ai", "smolagents", "click", "rich", "asyncio")


def main() -> None:
    report = Report("bench_import", options(__doc__), {"pluggy": package_version("pluggy")})
    sides = {name: processor_time(program) for name, program in PROGRAMS.items()}
    measured = measure("CPU time", sides, rounds=report.options.counted(30, 5), pairs=PAIRS, warm_up=2)
    report.add(measured)
    medians = {name: sorted(measured.all(name))[len(measured.all(name)) // 2] for name in PROGRAMS}
    own = medians["import omniagents"] - medians["empty program"]
    report.fact("import_omniagents_ms_over_an_empty_program", round(own * 1000, 2))
    report.fact("import_omniagents_goal_ms", 70)
    report.fact("heavy_modules_after_import", heavy_modules("import omniagents"))
    report.fact("heavy_modules_after_available", heavy_modules(PROGRAMS["available()"]))
    report.write()


def processor_time(program: str) -> Side:
    """User and system time of a fresh interpreter that runs ``program``."""

    def run() -> float:
        pid = os.posix_spawn(sys.executable, [sys.executable, "-c", program], os.environ)
        _, status, usage = os.wait4(pid, 0)
        if status:
            raise SystemExit(f"python -c {program!r} failed")
        return usage.ru_utime + usage.ru_stime

    return run


def heavy_modules(program: str) -> list[str]:
    """Those of ``HEAVY`` that are loaded after ``program``."""
    code = f"{program}\nimport sys; print(*sys.modules)"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    return sorted(set(out.split()) & set(HEAVY))


if __name__ == "__main__":
    main()
