"""search_file_content, from call to result, beside ripgrep: same tree, same ignore rules, same cores, warm cache.

Every pattern's matches are also compared with those of a plain Python walk: ``re.search`` on each decoded line.
"""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from _harness import Report, Side, cores, measure, options, program_version, scratch, timed
from _trees import NEEDLE, search_tree

from omniagents.backends.local_backend import LocalBackend
from omniagents.tools.search_file_content_tool import SearchFileContentTool

GOAL = 2.0


@dataclass(frozen=True)
class Case:
    """One search: as the tool takes it, and as ripgrep does."""

    name: str
    pattern: str
    case_sensitive: bool = True
    fixed_strings: bool = False
    names_only: bool = False
    max_matches: int = 5_000
    first: int | None = None  # ripgrep is stopped after so many lines, as the tool stops after max_matches

    def for_tool(self) -> dict[str, Any]:
        names = ("pattern", "case_sensitive", "fixed_strings", "names_only", "max_matches")
        return {name: getattr(self, name) for name in names}

    def for_ripgrep(self) -> list[str]:
        flags = ["--fixed-strings"] if self.fixed_strings else []
        flags += [] if self.case_sensitive else ["--ignore-case"]
        flags += ["--files-with-matches"] if self.names_only else ["--line-number", "--no-heading"]
        # What the tool honours: .gitignore without a repository, and .git left out; hidden files are searched.
        rules = "--no-config --hidden --no-require-git --no-ignore-global --no-ignore-parent --no-ignore-dot".split()
        return ["rg", *rules, "--glob=!.git", f"--threads={cores()}", "--no-messages", *flags, "-e", self.pattern, "."]


CASES = [
    Case("rare literal", NEEDLE, fixed_strings=True),
    Case("no match", "Quetzalcoatl_nowhere", fixed_strings=True),
    Case("common word, first 100", "return", max_matches=100, first=100),
    Case("common word, names only", r"\byield\b", names_only=True),
    Case("regex with a literal", r"def _check_[a-z]+\("),
    Case("regex of classes", r"\b[A-Z][a-z]+[0-9]+[A-Z][a-z]+\b"),
    Case("literal ignoring case", NEEDLE.upper(), case_sensitive=False, fixed_strings=True),
    Case("words ignoring case", "deprecationwarning|keyboardinterrupt", case_sensitive=False, names_only=True),
]


def main() -> None:
    report = Report("bench_search", options(__doc__), {"ripgrep": program_version("rg", "--version")})
    tree = search_tree(report.options.quick)
    report.note(**tree.described(), cores=cores())
    with scratch(), LocalBackend(project_id="bench", workspace_dir=tree.path) as backend:
        tool = SearchFileContentTool(backend=backend)
        for case in CASES:
            sides: dict[str, Side] = {
                "omniagents": timed(partial(search, tool, case)),
                "ripgrep": timed(partial(ripgrep, tree.path, case)),
            }
            report.add(measure(case.name, sides, rounds=report.options.counted(9), goal=GOAL))
        compared = {case.name: same_matches(backend, tree.path, case) for case in CASES}
    report.fact("matches_equal_to_a_plain_python_walk", compared)
    report.write()


def search(tool: SearchFileContentTool, case: Case) -> None:
    result = tool.execute(**case.for_tool())
    if result.is_error:
        raise SystemExit(f"{case.name}: {result.content}")


def ripgrep(tree: Path, case: Case) -> None:
    with subprocess.Popen(case.for_ripgrep(), cwd=tree, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        if case.first is None:
            process.stdout.read()
        else:
            for _, _line in zip(range(case.first), process.stdout, strict=False):
                continue
            process.stdout.close()
    if process.returncode not in (0, 1, -13) and case.first is None:  # 1: no match; -13: SIGPIPE
        raise SystemExit(f"ripgrep failed on {case.pattern!r} with {process.returncode}")


def same_matches(backend: LocalBackend, tree: Path, case: Case) -> int:
    """Compare every match (file and line number, or file) with the plain walk's; returns how many there are."""
    wanted = set(walked(tree, case))
    found = set(requested(backend, tree, case, tree))
    if found != wanted:
        missing, extra = sorted(wanted - found)[:5], sorted(found - wanted)[:5]
        raise SystemExit(f"{case.name}: matches differ from a plain walk's: missing {missing}, extra {extra}")
    return len(wanted)


def requested(backend: LocalBackend, tree: Path, case: Case, part: Path) -> Iterator[tuple[str, int]]:
    """Every match at or below ``part``; where one reply cannot hold them, by one request for each entry."""
    arguments = {**case.for_tool(), "path": os.path.relpath(part, tree), "context": 0, "max_matches": 10**9}
    value = backend.workspace.request("grep", arguments).result().value
    if value["more"]:
        for entry in part.iterdir():
            if not is_ignored(tree, str(part), entry.name):
                yield from requested(backend, tree, case, entry)
        return
    for file in value["files"]:
        lines = [line[0] for line in file["lines"] if line[1]]
        yield from ((file["path"], number) for number in lines or [0])


def walked(tree: Path, case: Case) -> Iterator[tuple[str, int]]:
    """Plain Python: no prefilter, no cores, no cleverness; the ignore rules are those of the generated tree."""
    source = re.escape(case.pattern) if case.fixed_strings else case.pattern
    search = re.compile(source, 0 if case.case_sensitive else re.IGNORECASE).search
    for path in searched_files(tree):
        content = Path(path).read_bytes()
        if b"\0" in content[:8192]:
            continue
        matching = matching_lines(content.decode("utf-8", "replace"), search)
        name = os.path.relpath(path, tree)
        if case.names_only:
            yield from ((name, 0) for _ in matching[:1])
        else:
            yield from ((name, number) for number in matching)


def searched_files(tree: Path) -> Iterator[str]:
    for parent, directories, files in os.walk(tree):
        directories[:] = [name for name in directories if not is_ignored(tree, parent, name)]
        yield from (f"{parent}/{name}" for name in files if not is_ignored(tree, parent, name))


def is_ignored(tree: Path, parent: str, name: str) -> bool:
    """The rules of the generated tree's .gitignore, and .git."""
    if name == "build":
        return Path(parent) == tree
    return name in {".git", "node_modules"} or (name.endswith(".log") and name != "keep.log")


def matching_lines(text: str, search: Callable[[str], object]) -> list[int]:
    lines = text.split("\n")
    if not lines[-1]:
        lines.pop()
    return [number for number, line in enumerate(lines, 1) if search(line.removesuffix("\r"))]


if __name__ == "__main__":
    main()
