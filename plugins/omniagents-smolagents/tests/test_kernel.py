"""The program sent into environments runs on the Python they have."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

from omniagents_smolagents import kernel

SOURCE = Path(kernel.__file__)


def test_it_imports_only_the_standard_library() -> None:
    nodes = list(ast.walk(ast.parse(SOURCE.read_text(encoding="utf-8"))))
    names = {alias.name.partition(".")[0] for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    names |= {str(node.module).partition(".")[0] for node in nodes if isinstance(node, ast.ImportFrom)}
    assert names - sys.stdlib_module_names == set()


def test_it_uses_no_feature_newer_than_python_3_8() -> None:
    """With ``from __future__ import annotations``, annotations are not evaluated."""
    command = [sys.executable, "-c", "import vermin; vermin.main()", "--no-tips", "--violations", "-t=3.8-", SOURCE]
    finished = subprocess.run(command, capture_output=True, text=True, check=False)
    assert finished.returncode == 0, finished.stdout + finished.stderr
