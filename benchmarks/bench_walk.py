"""glob and scan beside find, on the same tree with a warm cache."""

from __future__ import annotations

import os
import subprocess
from functools import partial
from pathlib import Path

from _harness import Report, measure, options, program_version, scratch, timed
from _trees import search_tree

from omniagents.backends.local_backend import LocalBackend
from omniagents.tools.glob_tool import GlobTool

# The directories that .gitignore and the defaults leave out; find has no word for the rest of .gitignore.
PRUNED = "-name node_modules -o -name .git -o -path ./build".split()


def main() -> None:
    report = Report("bench_walk", options(__doc__), {"find": program_version("find", "--version")})
    tree = search_tree(report.options.quick)
    report.note(**tree.described())
    rounds = report.options.counted(15, 3)
    with scratch(), LocalBackend(project_id="bench", workspace_dir=tree.path) as backend:
        tool = GlobTool(backend=backend)
        for pattern, name in (("**/*.py", "*.py"), ("**/f4321*", "f4321*"), ("**/nothing-like-it", "nothing-like-it")):
            condition = ["(", *PRUNED, ")", "-prune", "-o", "-name", name, "-print"]
            sides = {
                "glob": timed(partial(tool.execute, pattern=pattern)),
                "find -name": timed(partial(find, tree.path, *condition)),
                "os.walk": timed(partial(walk, tree.path)),
            }
            report.add(measure(f"glob {pattern}", sides, rounds=rounds))
        scan = partial(backend.workspace.scan)
        everything = "%p\\t%y\\t%s\\t%m\\t%T@\\t%C@\\t%i\\t%l\\n"
        sides = {
            "scan": timed(scan),
            "find -printf": timed(partial(find, tree.path, "-printf", everything)),
            "os.walk + lstat": timed(partial(walk, tree.path, look=True)),
        }
        report.add(measure("scan", sides, rounds=rounds))
        report.fact("entries_scanned", len(scan().entries))
    report.write()


def find(tree: Path, *arguments: str) -> None:
    # LC_ALL: as the guest, by bytes.
    environment = {**os.environ, "LC_ALL": "C"}
    subprocess.run(["find", ".", *arguments], cwd=tree, env=environment, stdout=subprocess.PIPE, check=True)


def walk(tree: Path, look: bool = False) -> int:
    """The same work in this process, without rules, order or protocol."""
    count = 0
    for parent, directories, files in os.walk(tree):
        if not look:
            directories[:] = [name for name in directories if name not in {"node_modules", ".git"}]
        for name in files + (directories if look else []):
            count += 1
            if look:
                os.lstat(f"{parent}/{name}")
    return count


if __name__ == "__main__":
    main()
